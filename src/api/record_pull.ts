/** Sources of records as pulls of Streams: chunks of what is at hand, and a wait where nothing is. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { attempt } from "../core/flow/attempt.ts"
import type { RecordSource } from "../core/read/read.ts"
import type { AofRecord } from "../core/read/record.ts"
import type { AofError } from "../model/errors.ts"

/** Records handed to a Stream at once at most. */
const chunkMax = 256

type Records<V> = readonly [AofRecord<V>, ...Array<AofRecord<V>>]

/** A pull of chunks; what a source throws after it gave records comes with the next pull. */
export const recordPull = <V>(source: RecordSource<V>): Effect.Effect<Records<V>, AofError | Cause.Done> => {
  let failure: AofError | undefined
  const pull: Effect.Effect<Records<V>, AofError | Cause.Done> = Effect.suspend(() => {
    if (failure !== undefined) return Effect.fail(failure)
    const records: Array<AofRecord<V>> = []
    const collected = attempt(() => {
      for (let record = source.pull(); record !== undefined; record = source.pull()) {
        records.push(record)
        if (records.length === chunkMax) break
      }
    })
    return Effect.matchEffect(collected, {
      onFailure: (error) => {
        failure = error
        return records.length === 0 ? Effect.fail(error) : Effect.succeed(records as unknown as Records<V>)
      },
      onSuccess: () => {
        if (records.length > 0) return Effect.succeed(records as unknown as Records<V>)
        return source.isDone() ? Cause.done() : Effect.andThen(source.ready, pull)
      },
    })
  })
  return pull
}
