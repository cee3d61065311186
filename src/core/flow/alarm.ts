/** A sleep that somebody else may end: how the loops in the background wait for something to do. */
import * as Effect from "effect/Effect"

const never = (): boolean => false

export class Alarm {
  #ring: (() => void) | undefined = undefined

  /** Ends the sleep, when there is one. */
  ring(): void {
    this.#ring?.()
  }

  /** Sleeps until the next `ring`, at most `delayMs`; not at all when `isRung`. One sleeper at a time. */
  sleep(delayMs: number | undefined, isRung: () => boolean = never): Effect.Effect<void> {
    const rung = Effect.callback<void>((resume) => {
      if (isRung()) return resume(Effect.void)
      this.#ring = () => {
        this.#ring = undefined
        // Never within the caller, who may be half-way through an append.
        resume(Effect.yieldNow)
      }
      return Effect.sync(() => {
        this.#ring = undefined
      })
    })
    return delayMs === undefined ? rung : Effect.raceFirst(rung, Effect.sleep(delayMs))
  }
}
