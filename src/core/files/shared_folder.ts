/** A directory in which many make entries: one sync serves all whose entry was made before it began. */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"

export class SharedFolder {
  readonly #directory: Directory
  readonly #path: string
  readonly #gate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  /** Counts the changes; what an earlier process has changed is the first. */
  #changes = 1
  #syncedChanges = 0

  constructor(directory: Directory, path: string) {
    this.#directory = directory
    this.#path = path
  }

  /** An entry was made. */
  noteChange(): void {
    this.#changes++
  }

  /** Returns when all entries that were there before the call are durable. */
  get sync(): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      const wanted = this.#changes
      const one = Effect.suspend(() => {
        if (this.#syncedChanges >= wanted) return Effect.void
        const changes = this.#changes
        return Effect.map(this.#directory.sync(this.#path), () => {
          this.#syncedChanges = changes
        })
      })
      return this.#syncedChanges >= wanted ? Effect.void : this.#gate.withPermit(one)
    })
  }
}
