/** The fibers that work behind the callers' backs: started from plain code, ended with the manager. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

export interface Background {
  /** Starts an effect. It handles its own failures. */
  readonly run: (effect: Effect.Effect<void>) => void
  /** Asks everything that still runs to end; does not wait for it. */
  readonly stop: () => void
}

/** Makes the background of one manager, with the services of the caller. */
export const makeBackground: Effect.Effect<Background> = Effect.map(Effect.context<never>(), (context) => {
  const fork = Effect.runForkWith(context)
  const fibers = new Set<Fiber.Fiber<void>>()
  return {
    run: (effect) => {
      const fiber = fork(effect)
      fibers.add(fiber)
      fiber.addObserver(() => fibers.delete(fiber))
    },
    stop: () => {
      for (const fiber of fibers) fiber.interruptUnsafe()
    },
  }
})
