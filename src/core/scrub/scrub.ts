/**
 * Reads everything that a root holds and checks it, at a bounded rate, by hand or again and again in the background. What another
 * copy can make good is made good; what has none is reported and left as it is. One scrub runs at a time.
 *
 * Reading goes past every cache and holds no pin: what is moved or trimmed meanwhile is passed over.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { RootFile } from "../../format/root_file.ts"
import { type AofError, closed, notFound } from "../../model/errors.ts"
import type { ScrubConfig, ScrubPlan, ScrubReport } from "../../model/scrub.ts"
import { refreshStream } from "../read/read_only.ts"
import type { StreamServices, StreamState } from "../stream/stream_state.ts"
import type { Residency } from "../tiers/residency.ts"
import { scrubManifest, scrubRootFile } from "./scrub_manifest.ts"
import { ScrubPace } from "./scrub_pace.ts"
import type { ScrubRun } from "./scrub_run.ts"
import { scrubSegment } from "./scrub_segment.ts"
import { scrubClosedSegment, scrubOpenSegments, scrubPointer } from "./scrub_unsealed.ts"

/** What a scrubber works on. */
export interface ScrubberOptions {
  readonly services: StreamServices
  readonly rootFile: RootFile
  /** The streams that are open now. */
  readonly openStreams: () => ReadonlyArray<StreamState>
  readonly isClosed: () => boolean
}

export class Scrubber {
  readonly #options: ScrubberOptions
  readonly #clock: Clock.Clock
  /** For pauses: a scrub does not wait for a clock that was put back. */
  readonly #steady: Clock.Clock
  readonly #gate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)

  constructor(options: ScrubberOptions) {
    this.#options = options
    this.#clock = options.services.clock
    this.#steady = options.services.tiers.services.clock
  }

  /**
   * Scrubs once, after the one that runs. Fails `NotFound` for a stream that is not there and `Closed` when the manager is closed meanwhile;
   * interrupting it ends it after what it reads just now, and leaves nothing half done.
   */
  scrub(plan: ScrubPlan): Effect.Effect<ScrubReport, AofError> {
    return this.#gate.withPermit(Effect.suspend(() => this.#scrub(plan)))
  }

  /** Scrubs again and again for as long as the manager is open. */
  background({ intervalMs, plan }: ScrubConfig): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (!this.#options.isClosed()) {
        yield* Effect.sleep(intervalMs)
        yield* Effect.ignore(this.scrub(plan))
      }
    })
  }

  #scrub(plan: ScrubPlan): Effect.Effect<ScrubReport, AofError> {
    return Effect.gen({ self: this }, function* () {
      yield* this.#lookAgain
      yield* this.#checkStreams(plan)
      const { tiers } = this.#options.services
      const startedMs = this.#clock.currentTimeMillisUnsafe()
      const beganMs = this.#steady.currentTimeMillisUnsafe()
      const pace = new ScrubPace(this.#steady, plan.bytesPerSecond)
      const run: ScrubRun = { plan, tiers, services: tiers.services, pace, findings: [], skipped: [], files: 0 }
      tiers.services.emit({ name: "scrub_started", level: "info" })
      if (plan.tiers.has("manifest") && plan.streams === undefined) {
        yield* scrubRootFile(run, this.#options.rootFile)
        yield* scrubManifest(run)
      }
      const segments = yield* this.#scrubSegments(run)
      yield* this.#checkOpen
      const { findings, skipped, files } = run
      const durationMs = this.#steady.currentTimeMillisUnsafe() - beganMs
      const isClean = findings.length === 0 && skipped.length === 0
      const reason = `${segments} segments, ${findings.length} findings, ${skipped.length} skipped`
      const level = isClean ? ("info" as const) : ("warn" as const)
      tiers.services.emit({ name: "scrub_done", level, bytes: pace.bytes, durationMs, reason })
      return { startedMs, durationMs, segments, files, bytes: pace.bytes, findings, skipped, isClean }
    })
  }

  /** Read-only: what is scrubbed is what the writer has now. */
  readonly #lookAgain: Effect.Effect<void, AofError> = Effect.suspend(() => {
    const { services, openStreams } = this.#options
    if (!services.config.readOnly) return Effect.void
    return Effect.forEach(openStreams(), (stream) => Effect.ignore(refreshStream(stream)), { discard: true })
  })

  #scrubSegments(run: ScrubRun): Effect.Effect<number, AofError> {
    return Effect.gen({ self: this }, function* () {
      const { plan, pace, findings } = run
      const groups = this.#groups(plan)
      const segmentsTotal = groups.reduce((sum, { sealed, unsealed }) => sum + sealed.length + unsealed.length, 0)
      const bytesTotal = groups.reduce((sum, { sealed }) => sum + bytesOf(sealed, plan), 0)
      let segments = 0
      const tell = (stream: string): void => {
        segments++
        plan.onProgress?.({
          segments,
          segmentsTotal,
          bytes: pace.bytes,
          bytesTotal,
          findings: findings.length,
          stream,
        })
      }
      for (const { streamId, name, sealed, unsealed } of groups) {
        for (const residency of sealed) {
          yield* this.#checkOpen
          if (!residency.isGone) yield* scrubSegment(run, residency)
          tell(name)
        }
        yield* this.#checkOpen
        if (!plan.tiers.has("tier0")) continue
        if (sealed.length > 0) yield* scrubPointer(run, { streamId, name })
        const open = this.#options.openStreams().find((stream) => stream.streamId === streamId)
        if (open !== undefined) yield* scrubOpenSegments(run, open)
        else for (const residency of unsealed) yield* scrubClosedSegment(run, residency)
        for (const _ of unsealed) tell(name)
      }
      return segments
    })
  }

  /** All segments there are now, by stream and in order. */
  #groups({ streams: wanted, tiers: wantedTiers }: ScrubPlan): ReadonlyArray<Group> {
    const { tiers, manifest } = this.#options.services
    const groups: Array<Group> = []
    const streams = [...manifest.state.streams.values()].filter(({ name }) => name !== "")
    for (const { streamId, name } of streams.sort((one, other) => one.streamId - other.streamId)) {
      if (wanted !== undefined && !wanted.has(name)) continue
      const all = [...tiers.segments.ofStream(streamId).values()].sort((one, other) => one.index - other.index)
      const sealed = all.filter(({ seal }) => seal !== undefined)
      const unsealed = wantedTiers.has("tier0") ? all.filter(({ seal, isHot }) => seal === undefined && isHot) : []
      groups.push({ streamId, name, sealed, unsealed })
    }
    return groups
  }

  #checkStreams({ streams }: ScrubPlan): Effect.Effect<void, AofError> {
    const { streamsByName } = this.#options.services.manifest.state
    const missing = [...(streams ?? [])].find((name) => !streamsByName.has(name))
    if (missing === undefined) return this.#checkOpen
    const names = [...streamsByName.keys()].sort().slice(0, 10).join(", ")
    return Effect.fail(notFound("stream", missing, names === "" ? "no stream" : names))
  }

  readonly #checkOpen: Effect.Effect<void, AofError> = Effect.suspend(() =>
    this.#options.isClosed() ? Effect.fail(closed("manager")) : Effect.void,
  )
}

interface Group {
  readonly streamId: number
  readonly name: string
  readonly sealed: ReadonlyArray<Residency>
  readonly unsealed: ReadonlyArray<Residency>
}

/** Bytes of the copies that will be looked at. */
const bytesOf = (sealed: ReadonlyArray<Residency>, { tiers }: ScrubPlan): number => {
  let bytes = 0
  for (const { seal, isHot, isWarm, form, cold } of sealed) {
    if (tiers.has("tier0") && isHot) bytes += seal?.fileBytes ?? 0
    if (tiers.has("tier1") && isWarm) bytes += form?.fileBytes ?? 0
    if (tiers.has("tier2") && cold !== undefined) bytes += form?.fileBytes ?? 0
  }
  return bytes
}
