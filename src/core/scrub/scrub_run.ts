/** What the parts of one scrub share: what was asked for, what was found, and who is told. */
import * as Effect from "effect/Effect"
import { type AofError, isMissingFile } from "../../model/errors.ts"
import type { ScrubFinding, ScrubPlan, ScrubSkip } from "../../model/scrub.ts"
import type { TierServices } from "../tiers/tier_services.ts"
import type { Tiers } from "../tiers/tiers.ts"
import type { ScrubPace } from "./scrub_pace.ts"

/** One scrub under way. */
export interface ScrubRun {
  readonly plan: ScrubPlan
  readonly tiers: Tiers
  readonly services: TierServices
  readonly pace: ScrubPace
  readonly findings: Array<ScrubFinding>
  readonly skipped: Array<ScrubSkip>
  /** Files and objects looked at. */
  files: number
}

/** Notes a finding and tells of it. */
export const report = (run: ScrubRun, finding: ScrubFinding): void => {
  run.findings.push(finding)
  const { stream, segmentIndex, place, detail, action, isHealed, tier } = finding
  run.services.emit({
    name: "scrub_finding",
    level: isHealed ? "warn" : "error",
    ...(stream === undefined ? {} : { stream }),
    ...(segmentIndex === undefined ? {} : { segmentIndex }),
    ...(tier === "tier2" ? { key: place } : {}),
    reason: `${place}: ${detail}; ${action}`,
  })
}

/** Notes what could not be looked at. */
export const skip = (run: ScrubRun, skipped: ScrubSkip): void => {
  run.skipped.push(skipped)
}

/** True when a file is not there (any more). */
export const isMissing = (error: AofError): boolean => error._tag === "NotFound" || isMissingFile(error)

/** Of a store that is only read: learns what its writer has done to a stream, before what looks wrong is believed. */
export const lookAgain = ({ services }: ScrubRun, streamId: number): Effect.Effect<void> =>
  services.isReadOnly
    ? Effect.ignore(services.segments.stream(streamId)?.look ?? services.manifest.refresh)
    : Effect.void

/** What was done, and whether it helped. */
export interface Healing {
  readonly isHealed: boolean
  readonly action: string
}

/** Nothing could be done. */
export const notHealed = (action: string): Healing => ({ isHealed: false, action })

/** Runs what heals; its failure is what is reported. */
export const tryHeal = (work: Effect.Effect<string, AofError>): Effect.Effect<Healing> =>
  Effect.match(work, {
    onFailure: (error): Healing => notHealed(`could not be made good: ${error.message}`),
    onSuccess: (action): Healing => ({ isHealed: true, action }),
  })
