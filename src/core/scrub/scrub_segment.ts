/**
 * Checks every copy of a sealed segment, and makes good what another copy can make good. A copy is given up only when another one
 * has just been read whole and checks; where none does, it stays as it is, and is reported.
 */
import * as Effect from "effect/Effect"
import { warmFolder } from "../files/paths.ts"
import { quarantineMove } from "../files/quarantine.ts"
import { rebuildSealed } from "../repair/repair_sealed.ts"
import { replaceObject } from "../tier2/replace_object.ts"
import { forgetDamage } from "../tiers/hydrate_segment.ts"
import { hydrationPriority } from "../tiers/hydrator.ts"
import type { Residency } from "../tiers/residency.ts"
import { type BadCopy, checkCopy, objectOf, type Verdict } from "./scrub_copies.ts"
import { type Healing, lookAgain, notHealed, report, type ScrubRun, skip, tryHeal } from "./scrub_run.ts"

type CopyTier = "tier0" | "tier1" | "tier2"

/** Colder copies first: what is found of them decides what may be given up. */
const order: ReadonlyArray<CopyTier> = ["tier2", "tier1", "tier0"]

/** Checks the copies in the tiers that were asked for. Never fails: what stands in the way is noted. */
export const scrubSegment = (run: ScrubRun, residency: Residency): Effect.Effect<void> =>
  new SegmentScrub(run, residency).run()

class SegmentScrub {
  readonly #run: ScrubRun
  readonly #residency: Residency
  /** What is known by now, of tiers that were not asked for too, when it was needed. */
  readonly #verdicts: Map<CopyTier, Verdict> = new Map()

  constructor(run: ScrubRun, residency: Residency) {
    this.#run = run
    this.#residency = residency
  }

  run(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { tiers } = this.#run.plan
      for (const tier of order) {
        if (!tiers.has(tier)) continue
        const verdict = yield* this.#verify(tier)
        if (verdict.kind === "unread") this.#skip(tier, verdict.reason)
        if (verdict.kind === "bad") yield* this.#handle(tier, verdict)
      }
      if (this.#residency.tier === undefined) yield* lookAgain(this.#run, this.#residency.streamId)
      if (this.#residency.tier === undefined && !this.#residency.isGone) this.#reportLost()
    })
  }

  #verify(tier: CopyTier): Effect.Effect<Verdict> {
    return Effect.suspend(() => {
      const known = this.#verdicts.get(tier)
      if (known !== undefined) return Effect.succeed(known)
      return Effect.tap(checkCopy(this.#run, this.#residency, tier), (verdict) =>
        Effect.sync(() => {
          this.#verdicts.set(tier, verdict)
          // What readers found wrong with it was so for a moment.
          if (tier === "tier2" && verdict.kind === "good") forgetDamage(this.#run.services, this.#residency)
        }),
      )
    })
  }

  #isGood(tier: CopyTier): Effect.Effect<boolean> {
    return Effect.map(this.#verify(tier), ({ kind }) => kind === "good")
  }

  #handle(tier: CopyTier, found: BadCopy): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { isReadOnly } = this.#run.services
      // Where it lies is asked before: what heals it may change that.
      const where = this.#where(tier)
      const heal = { tier0: this.#healHot, tier1: this.#healWarm, tier2: this.#healCold }[tier]
      const healing = found.isOriginal
        ? notHealed("nothing can be done: it was so when the segment was sealed")
        : isReadOnly
          ? notHealed("nothing was done: the store is read-only")
          : yield* heal.call(this, found.problem === "missing" ? "Missing" : "Corrupt")
      if (healing.isHealed) this.#verdicts.set(tier, { kind: "gone" })
      const { problem, detail, from, to } = found
      report(this.#run, { ...where, problem, detail, from, to, ...healing })
    })
  }

  #where(tier: CopyTier): {
    readonly tier: CopyTier
    readonly stream: string
    readonly segmentIndex: number
    readonly place: string
  } {
    const { stream, index, hotPath, warmPath } = this.#residency
    const place = { tier0: hotPath, tier1: warmPath, tier2: objectOf(this.#residency)?.key ?? "none" }[tier]
    return { tier, stream, segmentIndex: index, place }
  }

  #skip(tier: CopyTier, reason: string): void {
    skip(this.#run, { ...this.#where(tier), reason })
  }

  #reportLost(): void {
    const { index, seal } = this.#residency
    report(this.#run, {
      ...this.#where("tier0"),
      problem: "missing",
      from: index * 2 ** 28,
      to: index * 2 ** 28 + (seal?.framesEnd ?? 0),
      detail: "no copy of the segment is in any tier",
      ...notHealed("nothing can be done"),
    })
  }

  readonly #noCopy: Healing = notHealed("nothing was done: no other copy checks")

  #healHot(reason: "Missing" | "Corrupt"): Effect.Effect<Healing> {
    return Effect.gen({ self: this }, function* () {
      const from = (yield* this.#isGood("tier1")) ? "tier1" : (yield* this.#isGood("tier2")) ? "tier2" : undefined
      if (from === undefined) return yield* reason === "Corrupt" ? this.#rebuild() : Effect.succeed(this.#noCopy)
      const { coordinator, segments } = this.#run.tiers
      if (reason === "Corrupt") {
        coordinator.onHotDamaged(this.#residency)
        return { isHealed: true, action: `it was put aside, and is read from ${from}` }
      }
      this.#residency.leaveHot()?.release()
      segments.changed(this.#residency)
      coordinator.wake()
      return { isHealed: true, action: `it is read from ${from}` }
    })
  }

  /** The plain file is all there is: header, index and footer can be made of its frames, when these check. */
  #rebuild(): Effect.Effect<Healing> {
    return Effect.suspend(() => {
      const { services } = this.#run
      const residency = this.#residency
      const sealed = services.manifest.state.streams.get(residency.streamId)?.sealed.get(residency.index)
      if (sealed === undefined || residency.isBusy) return Effect.succeed(this.#noCopy)
      residency.isBusy = true
      const rebuilt = Effect.ensuring(
        rebuildSealed(services, residency, sealed),
        Effect.sync(() => {
          residency.isBusy = false
          this.#run.tiers.coordinator.wake()
        }),
      )
      return Effect.match(rebuilt, {
        onFailure: (): Healing => this.#noCopy,
        onSuccess: (action): Healing => {
          // Descriptors and mappings of the file before are let go.
          residency.view?.onHotChange()
          return { isHealed: true, action }
        },
      })
    })
  }

  #healWarm(reason: "Missing" | "Corrupt"): Effect.Effect<Healing> {
    return Effect.gen({ self: this }, function* () {
      const { services, tiers } = this.#run
      const residency = this.#residency
      if (yield* this.#isGood("tier2")) {
        services.reader.loseWarm(residency, reason)
        const fetched = tiers.coordinator.hydrator.request(residency, "tier1", hydrationPriority.repair)
        return yield* tryHeal(Effect.as(fetched, "it was fetched again from tier2"))
      }
      // As long as an object may be there, its form must stay known.
      if (objectOf(residency) !== undefined || !(yield* this.#isGood("tier0"))) return this.#noCopy
      const putAside = Effect.gen(function* () {
        const { directory, root } = services
        const { warmPath: path, streamId, index, stream } = residency
        if (reason === "Corrupt") yield* quarantineMove(directory, { root, path, name: `${streamId}-${index}.seg.zst` })
        yield* directory.sync(warmFolder(root, stream))
        services.reader.loseWarm(residency, reason)
        return "it is made again from the plain file"
      })
      return yield* tryHeal(putAside)
    })
  }

  #healCold(): Effect.Effect<Healing> {
    return Effect.gen({ self: this }, function* () {
      const isLocal = (yield* this.#isGood("tier1")) || (yield* this.#isGood("tier0"))
      if (!isLocal) return this.#noCopy
      return yield* tryHeal(replaceObject(this.#run.tiers, this.#residency))
    })
  }
}
