/**
 * Calls that may run for hours, which closing ends: each fails `Closed` as soon as what it is in the midst of can be left. What cannot be left
 * just then has some time, and is cut off when that is over.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { type AofError, closed } from "../../model/errors.ts"

export class LongCalls {
  readonly #what: string
  readonly #ending = Deferred.makeUnsafe<never, AofError>()
  readonly #cut = Deferred.makeUnsafe<never, AofError>()
  readonly #running: Set<Deferred.Deferred<void>> = new Set()

  /** `what` is named by `Closed`. */
  constructor(what: string) {
    this.#what = what
  }

  /** Fails `Closed` once a call may not even finish what must not be left half-way. */
  get cut(): Effect.Effect<never, AofError> {
    return Deferred.await(this.#cut)
  }

  /** Runs a call. Fails `Closed` from `end` on; then it has been interrupted and has ended, also what of it cannot be interrupted. */
  run<A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E | AofError> {
    return Effect.suspend(() => {
      const ended = Deferred.makeUnsafe<void>()
      this.#running.add(ended)
      return Effect.ensuring(
        // In this order: a call that comes too late is not even begun.
        Effect.raceFirst(Deferred.await(this.#ending), call),
        Effect.suspend(() => {
          this.#running.delete(ended)
          return Deferred.succeed(ended, undefined)
        }),
      )
    })
  }

  /** Ends all calls, and those that come later. Waits for their ends: `cutMs` until they are cut off, and `leftMs()` behind that. */
  end(cutMs: number, leftMs: () => number): Effect.Effect<void> {
    const allEnded = Effect.suspend(() =>
      Effect.forEach([...this.#running], (ended) => Deferred.await(ended), { discard: true }),
    )
    return Effect.gen({ self: this }, function* () {
      yield* Deferred.fail(this.#ending, closed(this.#what))
      if (this.#running.size > 0) yield* Effect.timeoutOption(allEnded, cutMs)
      yield* Deferred.fail(this.#cut, closed(this.#what))
      if (this.#running.size > 0) yield* Effect.timeoutOption(allEnded, leftMs())
    })
  }
}
