/** Waiting for a watermark, for room, as effects; interrupting a wait takes the waiter out and changes nothing else. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import type { QueuedAppend } from "../../state/append_queue.ts"
import { withOne } from "../../state/nobody.ts"
import type { Waiter, WaitQueue } from "../../state/wait_queue.ts"
import { attempt, caught } from "../flow/attempt.ts"
import { checkOpen, type ReadyWaiter, type StreamState, wakeReady } from "./stream_state.ts"

/** Waits until the watermark of `queue` is above `position`. Asks for nothing. */
export const waitAbove = (queue: WaitQueue, position: number): Effect.Effect<void, AofError> =>
  Effect.callback<void, AofError>((resume) => {
    const waiter: Waiter = {
      position,
      recordNumber: 0,
      cancelled: false,
      done: () => resume(Effect.void),
      fail: (error) => resume(Effect.fail(error as AofError)),
    }
    queue.add(waiter)
    return Effect.sync(() => {
      waiter.cancelled = true
    })
  })

/**
 * Puts an append at once behind all that wait already; `code` is what it waits for when it is the first. The effect returns when `take` takes
 * something. What that answers negatively is asked again.
 */
export const inTurn = <A extends object>(
  stream: StreamState,
  take: () => A | number,
  code: number,
): Effect.Effect<A, AofError> => {
  const taken = Deferred.makeUnsafe<A, AofError>()
  const one: QueuedAppend = {
    tryAgain: () => {
      let result: A | number = code
      const error = caught(() => {
        result = take()
      })
      if (error === undefined && typeof result === "number") return result
      Deferred.doneUnsafe(taken, error === undefined ? Effect.succeed(result as unknown as A) : Effect.fail(error))
      return 0
    },
    fail: (error) => void Deferred.doneUnsafe(taken, Effect.fail(error)),
  }
  stream.appendQueue.add(one, code)
  return Effect.onInterrupt(Deferred.await(taken), () =>
    Effect.sync(() => {
      // Those behind it may have found room that it did not.
      if (stream.appendQueue.remove(one)) wakeReady(stream)
    }),
  )
}

/** Returns after the next seal, or after a failed try. */
export const nextSeal = (stream: StreamState): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const waiter = (): void => resume(Effect.void)
    stream.sealWaiters = withOne(stream.sealWaiters, waiter)
    return Effect.sync(() => {
      stream.sealWaiters = stream.sealWaiters.filter((one) => one !== waiter)
    })
  })

/** Resolves when a retry of an append may succeed; at once when nothing is known to stand in the way. */
export const ready = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.andThen(
    attempt(() => checkOpen(stream)),
    Effect.callback<void, AofError>((resume) => {
      const waiter: ReadyWaiter = { done: () => resume(Effect.void), fail: (error) => resume(Effect.fail(error)) }
      stream.readyWaiters = withOne(stream.readyWaiters, waiter)
      return Effect.sync(() => {
        stream.readyWaiters = stream.readyWaiters.filter((one) => one !== waiter)
      })
    }),
  )

/** The same, and no append waits any more: whoever retries then is not behind others. */
export const readyBehindAll = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.flatMap(ready(stream), () => (stream.appendQueue.code < 0 ? readyBehindAll(stream) : Effect.void))
