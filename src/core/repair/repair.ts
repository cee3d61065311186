/**
 * Repairs a store that nobody has open. It is opened as always, which brings back what the manifest has forgotten and ends what a crash has left
 * half done; then everything in it is read, and made good from other copies, or from its own frames. So each step is one that a running
 * store does as well: it can be cut short at any point and begun anew. Nothing is deleted that is not proven to be somewhere else.
 *
 * A plan does the same above the disk, in memory, and tells what would be different.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { AofManagerConfig } from "../../model/config.ts"
import type { AofError } from "../../model/errors.ts"
import type { RepairChange, RepairEntry, RepairReport } from "../../model/repair.ts"
import { makeScrubPlan, type ScrubFinding, type ScrubProgress } from "../../model/scrub.ts"
import type { Compressor } from "../../port/compressor.ts"
import { Directory } from "../../port/directory.ts"
import type { EventLoop } from "../../port/event_loop.ts"
import type { ObjectStore } from "../../port/object_store.ts"
import { RootLock } from "../../port/root_lock.ts"
import { rootFilePath } from "../files/paths.ts"
import { missingRoot } from "../files/root.ts"
import type { KeptJournalDamage } from "../journal/journal_open.ts"
import type { CoreManager } from "../manager.ts"
import { openManager } from "../open_manager.ts"
import type { Recovery, RecoveryEntry } from "../recovery/recovery_report.ts"
import { repairRoot } from "./repair_root.ts"

/** What a repair works on. */
export interface RepairInput {
  /** As the store is opened, with budgets that move nothing. */
  readonly config: AofManagerConfig
  readonly store: ObjectStore | undefined
  readonly isPlan: boolean
  /** What would be different, of a plan. */
  readonly changes: () => ReadonlyArray<RepairChange>
  readonly onProgress: ((progress: ScrubProgress) => void) | undefined
}

/** As fast as the disk gives it: nobody else uses the store. */
const bytesPerSecond = 2 ** 36

/** Repairs a root; of a plan, the services are those of an overlay. Fails like opening, and `NotFound` when there is no store. */
export const repairStore: (
  input: RepairInput,
) => Effect.Effect<RepairReport, AofError, Directory | RootLock | EventLoop | Compressor> = Effect.fnUntraced(
  function* (input) {
    const { config, store, onProgress, isPlan } = input
    const directory = yield* Directory
    const clock = yield* Clock.Clock
    const startMs = clock.currentTimeMillisUnsafe()
    if ((yield* directory.kind(config.root)) !== "directory") return yield* Effect.fail(missingRoot(config.root))
    const entries: Array<RepairEntry> = []
    const rootProblem = yield* Effect.scoped(
      Effect.andThen((yield* RootLock).acquire(config.root), repairRoot(directory, config.root)),
    )
    if (rootProblem !== undefined) entries.push(rootEntry(config.root, rootProblem))
    const opened = Effect.acquireUseRelease(
      Scope.make(),
      (scope) =>
        Effect.flatMap(Scope.provide(openManager(config, store), scope), (manager) => check(manager, onProgress)),
      (scope, exit) => Scope.close(scope, exit),
    )
    const { recovery, journalDamage, scrub, streams } = yield* opened
    entries.push(
      ...journalDamage.map(journalEntry),
      ...recoveryEntries(recovery, journalDamage),
      ...scrub.findings.map(findingEntry),
    )
    const skipped = scrub.skipped.map(({ place, reason }) => ({ place, reason }))
    return {
      root: config.rootGiven,
      isPlan,
      isClean: entries.length === 0 && skipped.length === 0,
      isWhole: entries.every(({ outcome }) => outcome !== "lost") && skipped.length === 0,
      entries,
      skipped,
      changes: isPlan ? input.changes() : [],
      streams,
      segments: scrub.segments,
      bytes: scrub.bytes,
      durationMs: Math.max(0, clock.currentTimeMillisUnsafe() - startMs),
    }
  },
)

/** Reads everything, and closes the store, so that all that was done is durable. */
const check = Effect.fnUntraced(function* (manager: CoreManager, onProgress: RepairInput["onProgress"]) {
  const { recovery, journalDamage } = manager
  const scrub = yield* manager.scrub(makeScrubPlan({ bytesPerSecond, onProgress }))
  const streams = manager.names()
  yield* manager.close
  return { recovery, journalDamage, scrub, streams }
})

const rootEntry = (root: string, detail: string): RepairEntry => ({
  outcome: "repaired",
  stream: null,
  segmentIndex: null,
  place: rootFilePath(root),
  from: 0,
  to: 0,
  detail,
  action: "it was made anew from what other files of the root say",
})

const journalEntry = ({ detail, isLost, place }: KeptJournalDamage): RepairEntry => ({
  outcome: isLost ? "lost" : "repaired",
  stream: null,
  segmentIndex: null,
  place,
  from: 0,
  to: 0,
  detail,
  action: !isLost
    ? "what it held is in the segments; the file is in the quarantine"
    : place === null
      ? "nothing can be done"
      : "what checks is in the segments; the file, with what could not be read of it, is in the quarantine",
})

const recoveryEntries = (
  { trimmed, quarantined, restored, lost, manifestDamage }: Recovery,
  journalDamage: ReadonlyArray<KeptJournalDamage>,
): ReadonlyArray<RepairEntry> => {
  const entry =
    (outcome: RepairEntry["outcome"], action: string) =>
    (one: RecoveryEntry): RepairEntry => ({
      outcome,
      stream: one.stream,
      segmentIndex: one.from > 0 ? Math.floor(one.from / 2 ** 28) : null,
      place: null,
      from: one.from,
      to: one.to,
      detail: one.reason,
      action,
    })
  const ofJournal = new Set(journalDamage.map(({ detail }) => detail))
  const ofManifest = manifestDamage.filter((detail) => !ofJournal.has(detail))
  const manifest = ofManifest.map(
    (detail): RepairEntry => ({
      outcome: "repaired",
      stream: null,
      segmentIndex: null,
      place: null,
      from: 0,
      to: 0,
      detail: `manifest: ${detail}`,
      action: "a snapshot of what is known now has taken the place of its files, which are in the quarantine",
    }),
  )
  return [
    ...manifest,
    ...restored.map(entry("forgotten", "it is known again")),
    ...trimmed.map(entry("cut", "it was cut off or put into the quarantine")),
    ...quarantined.map(entry("lost", "reading it is an error; what lies around it is read")),
    ...lost.map(entry("lost", "it never reached the bucket")),
  ].sort(inPlace)
}

/** By stream and place: streams are opened side by side, and a plan is to be compared with what is done. */
const inPlace = (one: RepairEntry, other: RepairEntry): number => {
  const [stream, next] = [one.stream ?? "", other.stream ?? ""]
  return stream === next ? one.from - other.from : stream < next ? -1 : 1
}

const findingEntry = (finding: ScrubFinding): RepairEntry => {
  const { stream, segmentIndex, place, from, to, detail, action, isHealed } = finding
  return {
    outcome: isHealed ? "repaired" : "lost",
    stream: stream ?? null,
    segmentIndex: segmentIndex ?? null,
    place,
    from,
    to,
    detail,
    action,
  }
}
