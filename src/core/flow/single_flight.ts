/** One run for all who want the same thing at the same time. It ends when the last of them is interrupted. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { type AofError, closed } from "../../model/errors.ts"
import type { Fork } from "./background.ts"

interface Flight<A> {
  readonly fiber: Fiber.Fiber<A, AofError>
  waiters: number
}

export class SingleFlight<K, A> {
  readonly #flights: Map<K, Flight<A>> = new Map()
  readonly #fork: Fork

  constructor(fork: Fork) {
    this.#fork = fork
  }

  /** True while a run for `key` is under way. */
  has(key: K): boolean {
    return this.#flights.has(key)
  }

  /** Runs `work`, or joins the run for `key` that is under way. Interrupting all who wait interrupts the run. */
  run(key: K, work: Effect.Effect<A, AofError>): Effect.Effect<A, AofError> {
    return Effect.suspend(() => {
      const known = this.#flights.get(key)
      const flight: Flight<A> = known ?? { fiber: this.#fork(work), waiters: 0 }
      if (known === undefined) {
        this.#flights.set(key, flight)
        flight.fiber.addObserver(() => {
          if (this.#flights.get(key) === flight) this.#flights.delete(key)
        })
      }
      flight.waiters++
      const leave = Effect.suspend(() => {
        if (--flight.waiters > 0) return Effect.void
        if (this.#flights.get(key) === flight) this.#flights.delete(key)
        return Fiber.interrupt(flight.fiber)
      })
      return Effect.onInterrupt(
        Effect.flatMap(Fiber.await(flight.fiber), (exit) => {
          if (Exit.isSuccess(exit)) return Effect.succeed(exit.value)
          if (Exit.hasInterrupts(exit)) return Effect.fail(closed("manager"))
          return Effect.failCause(exit.cause)
        }),
        () => leave,
      )
    })
  }

  /** Ends all runs. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const fibers = [...this.#flights.values()].map((flight) => flight.fiber)
    this.#flights.clear()
    return Fiber.interruptAll(fibers)
  })
}
