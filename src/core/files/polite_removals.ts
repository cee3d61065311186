/**
 * Large files that nobody waits for go one after the other: taking one away keeps every sync of the disk waiting for some milliseconds, and of several at
 * once they wait for all. While somebody waits for syncs the disk is left to them after each for as long as it took. Where somebody waits for the
 * room, or for the end, there are no turns.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"

/** A shorter one is not noticed by anybody, and a timer could not wait for so little. */
const restMsMin = 2
/** One that takes longer hangs, and keeps no other for more than this. */
const waitMsMax = 250

/** One that was asked for. */
class Removal {
  readonly begun: Deferred.Deferred<void> = Deferred.makeUnsafe()
  readonly ended: Deferred.Deferred<void> = Deferred.makeUnsafe()

  /** Over, or hanging. */
  readonly over: Effect.Effect<void> = Effect.andThen(
    Deferred.await(this.begun),
    Effect.raceFirst(Deferred.await(this.ended), Effect.sleep(waitMsMax)),
  )
}

export interface RemovalManners {
  /** True while somebody waits for syncs. */
  readonly isDiskWanted: () => boolean
  /** True while somebody waits for the room of what goes. */
  readonly isRoomWanted: () => boolean
  readonly nowMs: () => number
}

export class PoliteRemovals {
  readonly #directory: Pick<Directory, "remove">
  readonly #manners: RemovalManners
  readonly #hurry: Deferred.Deferred<void> = Deferred.makeUnsafe()
  #isHurried = false
  #last: Removal | undefined = undefined
  #restUntilMs = 0

  constructor(directory: Pick<Directory, "remove">, manners: RemovalManners) {
    this.#directory = directory
    this.#manners = manners
  }

  /** From now on none waits for another, nor those that wait already: all is about to end. */
  hurry(): void {
    this.#isHurried = true
    Deferred.doneUnsafe(this.#hurry, Exit.void)
  }

  /** `Directory.remove`, when its turn has come. */
  remove(path: string): Effect.Effect<void, Unavailable> {
    return Effect.suspend(() => {
      if (this.#isHurried || this.#manners.isRoomWanted()) return this.#directory.remove(path)
      const before = this.#last
      const own = new Removal()
      this.#last = own
      const turn = Effect.andThen(before?.over ?? Effect.void, this.#rested)
      const waited = before === undefined ? turn : Effect.raceFirst(turn, Deferred.await(this.#hurry))
      const removed = Effect.andThen(waited, this.#timed(path, own))
      return Effect.ensuring(
        removed,
        Effect.sync(() => {
          if (this.#last === own) this.#last = undefined
          // Also one whose caller went away before its turn.
          Deferred.doneUnsafe(own.begun, Exit.void)
          Deferred.doneUnsafe(own.ended, Exit.void)
        }),
      )
    })
  }

  readonly #rested: Effect.Effect<void> = Effect.suspend(() => {
    const { isDiskWanted, nowMs } = this.#manners
    const leftMs = Math.min(waitMsMax, this.#restUntilMs - nowMs())
    return leftMs > 0 && isDiskWanted() ? Effect.sleep(leftMs) : Effect.void
  })

  #timed(path: string, own: Removal): Effect.Effect<void, Unavailable> {
    return Effect.suspend(() => {
      const { nowMs } = this.#manners
      const startMs = nowMs()
      Deferred.doneUnsafe(own.begun, Exit.void)
      return Effect.map(this.#directory.remove(path), () => {
        const tookMs = nowMs() - startMs
        if (tookMs >= restMsMin) this.#restUntilMs = startMs + 2 * tookMs
      })
    })
  }
}
