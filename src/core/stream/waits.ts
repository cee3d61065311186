/** Waiting for a watermark, for room, as effects; interrupting a wait takes the waiter out and changes nothing else. */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import { withOne } from "../../state/nobody.ts"
import type { Waiter, WaitQueue } from "../../state/wait_queue.ts"
import { attempt, caught } from "../flow/attempt.ts"
import { checkOpen, type QueuedAppend, type ReadyWaiter, type StreamState } from "./stream_state.ts"

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

/** Waits until `take` takes something, behind all that wait already. What it answers negatively is asked again. */
export const inTurn = <A>(stream: StreamState, take: () => A | number): Effect.Effect<A, AofError> =>
  Effect.callback<A, AofError>((resume) => {
    const one: QueuedAppend = {
      tryAgain: () => {
        let taken: A | number = -1
        const error = caught(() => {
          taken = take()
        })
        if (error !== undefined) resume(Effect.fail(error))
        else if (typeof taken === "number" && taken < 0) return false
        else resume(Effect.succeed(taken as A))
        return true
      },
      fail: (error) => resume(Effect.fail(error)),
    }
    stream.appendQueue.push(one)
    return Effect.sync(() => {
      const at = stream.appendQueue.indexOf(one)
      if (at >= 0) stream.appendQueue.splice(at, 1)
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
