/** Who makes, opens or deletes a stream goes through here: one at a time for each name, and nobody while somebody holds all names. */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** More than ever go through at once. */
const permits = 2 ** 30

interface Turn {
  readonly gate: Semaphore.Semaphore
  users: number
}

export class NameGate {
  readonly #all: Semaphore.Semaphore = Semaphore.makeUnsafe(permits)
  /** Names that somebody works with or waits for. */
  readonly #names: Map<string, Turn> = new Map()

  /** Runs `effect` while nobody else works with the name. */
  withName<A, E>(name: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      const turn = this.#names.get(name) ?? { gate: Semaphore.makeUnsafe(1), users: 0 }
      turn.users++
      this.#names.set(name, turn)
      return Effect.ensuring(
        this.#all.withPermits(1)(turn.gate.withPermit(effect)),
        Effect.sync(() => {
          if (--turn.users === 0) this.#names.delete(name)
        }),
      )
    })
  }

  /** Runs `effect` when all that works with any name has ended; who comes meanwhile waits. */
  withAll<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return this.#all.withPermits(permits)(effect)
  }
}
