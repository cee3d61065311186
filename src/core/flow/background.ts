/** The fibers that work behind the callers' backs: started from plain code, ended with the manager. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { keepNoContext } from "./plain_fiber.ts"

/** Starts an effect in a fiber that ends with the manager. */
export type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

export interface Background {
  /** Starts an effect for somebody who looks after its end. */
  readonly fork: Fork
  /** Starts an effect. It handles its own failures. */
  readonly run: (effect: Effect.Effect<void>) => void
  /** Asks everything that still runs to end; does not wait for it. */
  readonly stop: () => void
}

/** Makes the background of one manager, with the services of the caller. */
export const makeBackground: Effect.Effect<Background> = Effect.map(Effect.context<never>(), (context) => {
  const start = Effect.runForkWith(context)
  const fibers = new Set<Fiber.Fiber<unknown, unknown>>()
  const fork: Fork = (effect) => {
    const fiber = keepNoContext(start(effect))
    fibers.add(fiber)
    fiber.addObserver(() => fibers.delete(fiber))
    return fiber
  }
  return {
    fork,
    run: (effect) => void fork(effect),
    stop: () => {
      for (const fiber of fibers) fiber.interruptUnsafe()
    },
  }
})
