/**
 * Large files that nobody waits for go one after the other: taking one away keeps every sync of the disk waiting for some milliseconds, and of several at
 * once they wait for all. While somebody waits for syncs the disk is left to them after each for as long as it took.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"

/** A shorter one is not noticed by anybody, and a timer could not wait for so little. */
const restMsMin = 1
/** One that takes longer hangs, and keeps no other for more than this. */
const waitMsMax = 250

export class PoliteRemovals {
  readonly #directory: Pick<Directory, "remove">
  readonly #isDiskWanted: () => boolean
  readonly #nowMs: () => number
  /** The end of the one that was asked for last; undefined when it is over. */
  #last: Deferred.Deferred<void> | undefined = undefined
  #restUntilMs = 0

  constructor(
    directory: Pick<Directory, "remove">,
    options: { readonly isDiskWanted: () => boolean; readonly nowMs: () => number },
  ) {
    this.#directory = directory
    this.#isDiskWanted = options.isDiskWanted
    this.#nowMs = options.nowMs
  }

  /** `Directory.remove`, when its turn has come. */
  remove(path: string): Effect.Effect<void, Unavailable> {
    return Effect.suspend(() => {
      const before = this.#last
      const own = Deferred.makeUnsafe<void>()
      this.#last = own
      const turn = before && Effect.raceFirst(Deferred.await(before), Effect.sleep(waitMsMax))
      const removed = Effect.andThen(Effect.andThen(turn ?? Effect.void, this.#rested), this.#timed(path))
      const ended = Effect.suspend(() => {
        if (this.#last === own) this.#last = undefined
        return Deferred.done(own, Exit.void)
      })
      return Effect.ensuring(removed, ended)
    })
  }

  readonly #rested: Effect.Effect<void> = Effect.suspend(() => {
    const leftMs = Math.min(waitMsMax, this.#restUntilMs - this.#nowMs())
    return leftMs > 0 && this.#isDiskWanted() ? Effect.sleep(leftMs) : Effect.void
  })

  #timed(path: string): Effect.Effect<void, Unavailable> {
    return Effect.suspend(() => {
      const startMs = this.#nowMs()
      return Effect.tap(this.#directory.remove(path), () => {
        const endMs = this.#nowMs()
        if (endMs - startMs >= restMsMin) this.#restUntilMs = endMs + (endMs - startMs)
        return Effect.void
      })
    })
  }
}
