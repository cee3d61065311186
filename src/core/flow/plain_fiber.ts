/**
 * Fibers that go on for as long as a store is open. Effect keeps the async context of whoever a fiber waits for, by an `AsyncResource` for each wait. On Deno
 * 2.9 each of them holds the one before, some 500 bytes, for as long as the fiber lives: a fiber that waits 500 times a second grows by 0.9 GB an hour. What a
 * store does behind its callers' backs belongs to no request, so it has no such context to keep.
 */
import type * as Fiber from "effect/Fiber"

/** Where Effect 4.1 keeps it; under any other name a fiber stays as it is. */
const name = "_asyncContext"
const none: PropertyDescriptor = { get: () => undefined, set: () => {}, configurable: true }

/** Has a fiber that was started just now keep no async context; returns it. */
export const keepNoContext = <A, E>(fiber: Fiber.Fiber<A, E>): Fiber.Fiber<A, E> => {
  if (!(name in fiber)) return fiber
  const kept = fiber[name] as { readonly emitDestroy?: () => void } | undefined
  Object.defineProperty(fiber, name, none)
  // Who watches async resources is told that nothing comes of it.
  kept?.emitDestroy?.()
  return fiber
}
