/** The commit journal of a root that is being opened: what a process before has left in it, and a new one that goes on behind it. */
import * as Effect from "effect/Effect"
import { featureJournalInUse, type RootFile } from "../../format/root_file.ts"
import type { AofManagerConfig } from "../../model/config.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { EventLoop } from "../../port/event_loop.ts"
import type { SyncGauge } from "../append/sync_gauge.ts"
import { journalFilePath } from "../files/paths.ts"
import { quarantineLink } from "../files/quarantine.ts"
import { announceJournal, retractJournal } from "../files/root.ts"
import type { SteadyClock } from "../flow/steady_clock.ts"
import type { SharedSync } from "../stream/stream_state.ts"
import { Journal } from "./journal.ts"
import { emptyJournal, type JournalDamage, type LoadedJournal, loadJournal, withMissing } from "./journal_load.ts"
import { JournalSync } from "./journal_sync.ts"

/** What it is opened with. */
export interface JournalOpening {
  readonly config: AofManagerConfig
  readonly directory: Directory
  readonly clock: SteadyClock
  readonly eventLoop: EventLoop
  readonly gauge: SyncGauge
  readonly random32: () => number
  readonly run: (effect: Effect.Effect<void>) => void
}

/** Damage of the journal, and where what is left of the file is kept. */
export interface KeptJournalDamage extends JournalDamage {
  /** Path in the quarantine; null when there was no file. */
  readonly place: string | null
}

/** A journal whose root is being recovered. */
export interface OpenedJournal {
  readonly shared: SharedSync
  /** The root file, which changes when the journal is used for the first time. */
  readonly rootFile: RootFile
  /**
   * All streams have what it held: what is left of the process before is removed. Files in which something does not check stay in the quarantine,
   * and what that was is told; with `isNeeded` all files stay there.
   */
  readonly endRecovery: (isNeeded: boolean) => Effect.Effect<ReadonlyArray<KeptJournalDamage>, AofError>
  readonly close: Effect.Effect<void>
}

const nothing: LoadedJournal = {
  entries: new Map(),
  lastSequence: 0,
  processCount: 0,
  damage: [],
  fileNumbers: [],
  isThere: false,
}

/** Reads what is there; a store that is only read has no journal. */
export const openJournal: (opening: JournalOpening, root: RootFile) => Effect.Effect<OpenedJournal, AofError> =
  Effect.fnUntraced(function* ({ config, directory, clock, eventLoop, gauge, random32, run }, root) {
    const rootFile = { ...root }
    const { rootId } = root
    const load = loadJournal(directory, config.root, rootId)
    const found = config.readOnly ? nothing : yield* load
    const isInUse = !config.readOnly && (root.featuresCompatible & featureJournalInUse) !== 0
    const loaded = isInUse ? withMissing(found) : found
    const journal = new Journal(
      {
        directory,
        root: config.root,
        rootId,
        bytesMax: config.readOnly ? 0 : config.journalBytes,
        nowMs: () => clock.currentTimeMillisUnsafe(),
        wallMs: clock.wallMsUnsafe,
        random32,
        announce: announceJournal(directory, config.root, rootFile),
        retract: retractJournal(directory, config.root, rootFile),
        run,
      },
      loaded,
    )
    const shared = new JournalSync({
      journal,
      streamsMin: config.journalStreamsMin,
      eventLoop,
      gauge,
      clock,
      batchWriter: config.readOnly ? undefined : directory.openBatchWriter?.(config.root),
      run,
      found: loaded.entries,
      processCount: loaded.processCount,
      load: (streamId) => Effect.map(load, ({ entries }) => entries.get(streamId) ?? []),
    })
    const endRecovery = Effect.fnUntraced(function* (isNeeded: boolean) {
      shared.endRecovery()
      if (!loaded.isThere) return []
      const kept = yield* keepFiles(directory, config.root, { ...loaded, isNeeded })
      const { lastSequence: sequence, processCount } = loaded
      const createdMs = clock.wallMsUnsafe()
      const header = { rootId, sequence, createdMs, processCount, checksumSeed: random32() }
      yield* emptyJournal(directory, config.root, header)
      return kept
    })
    return {
      shared,
      rootFile,
      endRecovery,
      close: Effect.andThen(
        shared.settler.close,
        Effect.suspend(() => journal.close(shared.isInOrder)),
      ),
    }
  })

/** Files in which something does not check get a second name in the quarantine: nobody else has what could not be read of them. */
const keepFiles = Effect.fnUntraced(function* (
  directory: Directory,
  root: string,
  { damage, fileNumbers, isNeeded }: LoadedJournal & { readonly isNeeded: boolean },
) {
  const numbers = fileNumbers.filter((number) => isNeeded || damage.some(({ fileNumber }) => fileNumber === number))
  const placed = (places: ReadonlyArray<string>) =>
    damage.map((one): KeptJournalDamage => {
      const at = one.fileNumber === undefined ? -1 : numbers.indexOf(one.fileNumber)
      return { ...one, place: places[at] ?? null }
    })
  if (numbers.length === 0) return placed([])
  const paths = numbers.map((number) => journalFilePath(root, number))
  const places = yield* quarantineLink(directory, { root, paths, prefix: "journal-" })
  return placed(places)
})
