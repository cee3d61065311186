/**
 * One job after the other, and an end to all of them. Compressions and hydrations have a lane each, so that a hydration never
 * waits behind a compression.
 *
 * Invariant: `cancelAll` ends when no job of the lane touches a file any more.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { type Corrupt, type Unavailable, unavailable } from "../model/errors.ts"
import { type JobRequest, type JobResult, operationOf, sourceOf } from "./job.ts"

/** What a job comes to. */
export type JobEffect = Effect.Effect<JobResult, Unavailable | Corrupt>

/** What a job that `cancelAll` has ended fails with. */
export const canceled = (request: JobRequest): Unavailable =>
  unavailable(operationOf(request), "ECANCELED", sourceOf(request))

/** Jobs in order of arrival. */
export class Lane {
  /** Called by `cancelAll` to end the job that runs. */
  onCancel: (() => void) | undefined
  readonly #turns = Semaphore.makeUnsafe(1)
  #generation = 0

  /** Runs `start` when the jobs before are done; `isCanceled` is true when this one is to fail with `canceled`. */
  run(request: JobRequest, start: (isCanceled: () => boolean) => JobEffect): JobEffect {
    return Effect.suspend(() => {
      const generation = this.#generation
      const isCanceled = (): boolean => generation !== this.#generation
      return this.#turns.withPermit(
        Effect.suspend(() => (isCanceled() ? Effect.fail(canceled(request)) : start(isCanceled))),
      )
    })
  }

  /** Ends all jobs that were given before; they fail. Runs `last` when they have ended. */
  cancelAll(last: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#generation++
      this.onCancel?.()
      return this.#turns.withPermit(last)
    })
  }
}
