/** The turn of the runtime's event loop: how the hot path says "after all that runs now" without a fiber or a promise. */
import * as Context from "effect/Context"

/** The event loop as the store sees it. */
export interface EventLoop {
  /** Calls `callback` once in the next turn, after the microtasks of this one. Never at once. */
  readonly nextTurn: (callback: () => void) => void
}

/** The key under which a context holds the event loop. */
export const EventLoop: Context.Service<EventLoop, EventLoop> = Context.Service("bop-aof/port/EventLoop")
