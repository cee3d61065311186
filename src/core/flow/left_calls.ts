/**
 * Calls that are answered when closing is over, whatever they are in the midst of: a call of the disk that hangs cannot be interrupted, only left
 * behind. What is left behind finds by itself that all is closed, should it ever go on.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type AofError, closed } from "../../model/errors.ts"

export class LeftCalls {
  readonly #what: string
  readonly #answers: Set<() => void> = new Set()
  #isOver = false

  /** `what` is named by `Closed`. */
  constructor(what: string) {
    this.#what = what
  }

  /** Runs a call in a fiber of its own. Fails `Closed` from `end` on. Interrupting it interrupts the call and waits for its end. */
  run<A>(call: Effect.Effect<A, AofError>): Effect.Effect<A, AofError> {
    return Effect.suspend(() => {
      if (this.#isOver) return Effect.fail(closed(this.#what))
      return Effect.flatMap(Effect.forkDetach(Effect.interruptible(call), { startImmediately: true }), (fiber) =>
        Effect.callback<A, AofError>((resume) => {
          const answer = (): void => resume(Effect.fail(closed(this.#what)))
          this.#answers.add(answer)
          fiber.addObserver((exit) => {
            this.#answers.delete(answer)
            resume(exit)
          })
          if (this.#isOver) answer()
          return Effect.suspend(() => {
            this.#answers.delete(answer)
            return Fiber.interrupt(fiber)
          })
        }),
      )
    })
  }

  /** Answers all calls, and those that come later. */
  end(): void {
    this.#isOver = true
    const answers = [...this.#answers]
    this.#answers.clear()
    for (const answer of answers) answer()
  }
}
