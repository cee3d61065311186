/** Bytes of the object of a segment, for a reader that goes on with what is left of it. */
import * as Effect from "effect/Effect"
import { type AofError, corrupt, notFound } from "../../model/errors.ts"
import { recordIdOf } from "../../model/record_id.ts"
import type { Tier2ReadOptions } from "../tier2/tier2.ts"
import type { ColdCopy } from "./residency.ts"
import type { TierServices } from "./tier_services.ts"

const readObject = (
  services: TierServices,
  copy: ColdCopy,
  offset: number,
  length: number,
  options?: Tier2ReadOptions,
): Effect.Effect<Uint8Array, AofError> => {
  if (services.tier2 === undefined) {
    return Effect.fail(notFound("segment", copy.residency.index, "no copy of it in any tier"))
  }
  // The object store knows nothing of records; who asked for one is told which cannot be had.
  return Effect.mapError(services.tier2.readRange(copy.cold.key, offset, length, options), (error) =>
    error._tag === "Corrupt" ? lostObject(copy, error.detail) : error,
  )
}

/**
 * Like `readObject`, but of an object that is too short zeros stand for what it lacks, which are no frame: what is left of it counts.
 */
export const readPadded = (
  services: TierServices,
  copy: ColdCopy,
  offset: number,
  length: number,
  options?: Tier2ReadOptions,
): Effect.Effect<Uint8Array, AofError> =>
  Effect.catch(readObject(services, copy, offset, length, options), (error: AofError) => {
    if (error._tag !== "Corrupt" || services.tier2 === undefined) return Effect.fail(error)
    return Effect.flatMap(services.tier2.head(copy.cold.key), (info): Effect.Effect<Uint8Array, AofError> => {
      const left = Math.min(length, (info?.lengthBytes ?? 0) - offset)
      if (info === undefined || left >= length) return Effect.fail(error)
      const padded = new Uint8Array(length)
      if (left <= 0) return Effect.succeed(padded)
      return Effect.map(readObject(services, copy, offset, left), (bytes) => {
        padded.set(bytes)
        return padded
      })
    })
  })

/** The damage of a whole object, in id positions. */
export const lostObject = ({ residency, cold }: ColdCopy, detail: string): AofError => {
  const { index, seal } = residency
  return corrupt(`object ${cold.key}`, detail, recordIdOf(index, 0), recordIdOf(index, seal?.framesEnd ?? 0))
}
