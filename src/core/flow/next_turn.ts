/** The next turn of the event loop as an effect. */
import * as Effect from "effect/Effect"
import type { EventLoop } from "../../port/event_loop.ts"

/** Resumes in the next turn of the event loop. */
export const nextTurn = (eventLoop: EventLoop): Effect.Effect<void> =>
  Effect.callback<void>((resume) => eventLoop.nextTurn(() => resume(Effect.void)))
