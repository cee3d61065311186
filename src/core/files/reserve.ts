/**
 * A file without data that a full disk is given room by: trims, deletions and evictions write a little to the manifest before they
 * free anything. Small stores do without, and so does a closed one.
 */
import * as Effect from "effect/Effect"
import type { Unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { reserveName } from "../../port/root_lock.ts"
import { attempt } from "../flow/attempt.ts"

/** Length of the file. */
const reserveBytes = 4 * 1024 * 1024
/** What a store holds before it keeps a reserve. */
export const heldBytesMin: number = 16 * 1024 * 1024
const stepBytes = 1024 * 1024

export class Reserve {
  readonly #directory: Directory
  readonly #path: string
  #isThere = false
  #isBusy = false
  #isClosed = false

  constructor(directory: Directory, root: string) {
    this.#directory = directory
    this.#path = `${root}/${reserveName}`
  }

  /** Makes the file when the store has grown to need it and it is not there. Where there is no room for it, a later call may find some. */
  tend(heldBytes: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (heldBytes < heldBytesMin || this.#isThere || this.#isBusy || this.#isClosed) return Effect.void
      this.#isBusy = true
      const made = Effect.tapError(this.#make, () => this.#remove)
      return Effect.ensuring(
        Effect.ignore(Effect.andThen(this.#remove, made)),
        Effect.sync(() => {
          this.#isBusy = false
        }),
      )
    })
  }

  /** Gives the room to whoever needs it now; true when there was some. */
  readonly give: Effect.Effect<boolean> = Effect.suspend(() => {
    this.#isThere = false
    const length = Effect.orElseSucceed(this.#directory.sizeOf(this.#path), () => undefined)
    return Effect.flatMap(length, (bytes) => Effect.as(this.#remove, (bytes ?? 0) > 0))
  })

  /** Removes the file. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.#isClosed = true
    const isLeft = this.#isThere || this.#isBusy
    this.#isThere = false
    return isLeft ? this.#remove : Effect.void
  })

  readonly #make: Effect.Effect<void, Unavailable> = Effect.gen({ self: this }, function* () {
    const file = yield* attempt(() => this.#directory.openUnsafe(this.#path, "create")) as Effect.Effect<
      ReturnType<Directory["openUnsafe"]>,
      Unavailable
    >
    const filled = Effect.gen({ self: this }, function* () {
      for (let from = 0; from < reserveBytes; from += stepBytes) yield* file.zeroFill(from, from + stepBytes)
      this.#isThere = true
    })
    yield* Effect.ensuring(
      filled,
      Effect.sync(() => file.closeUnsafe()),
    )
  })

  readonly #remove: Effect.Effect<void> = Effect.suspend(() => Effect.ignore(this.#directory.remove(this.#path)))
}
