/**
 * Keeps a writer out of what has taken the place of its root: a root that is moved away, or removed, while it is open leaves its path behind,
 * and what is made at that path afterwards belongs to somebody else. So before any name in the root is made, changed or taken away, and before a
 * file is opened to be written, the lock file is looked at. Files that are open already are the right ones, wherever they are now.
 *
 * Invariants: once the root is known to be elsewhere, or was given back, nothing is changed at its path any more, for good.
 */
import * as Effect from "effect/Effect"
import { type AofError, closed, type Unavailable } from "../../model/errors.ts"
import type { Compressor } from "../../port/compressor.ts"
import type { Directory } from "../../port/directory.ts"
import type { HeldLock } from "../../port/root_lock.ts"
import { attempt, caught } from "../flow/attempt.ts"

/** Says whether the root is where it was opened. One for each manager. */
export class RootGuard {
  /** Defined once the root is known to be elsewhere. */
  error: Unavailable | undefined = undefined
  /** Called once. */
  onLost: (error: Unavailable) => void = () => {}
  /** Undefined before the root is held, and when it is only read. */
  #lock: HeldLock | undefined = undefined
  #isOver = false

  /** From now on the root is this lock's. */
  watch(lock: HeldLock): void {
    this.#lock = lock
  }

  /** The lock is about to be given back: from then on the root may be anybody's. */
  end(): void {
    this.#isOver = true
  }

  /** Throws `Unavailable`, with code `ESTALE` once the root is elsewhere, and `Closed` once it was given back. */
  checkUnsafe(): void {
    if (this.error !== undefined) throw this.error
    if (this.#isOver) throw closed("manager")
    if (this.#lock === undefined) return
    const error = caught(() => this.#lock!.checkUnsafe())
    if (error === undefined) return
    if (error._tag === "Unavailable" && error.code === "ESTALE") {
      this.error = error
      this.onLost(error)
    }
    throw error
  }

  /** The same as an effect. What a closed manager has left behind meets `Closed` where it looks for a failure of the disk. */
  readonly check: Effect.Effect<void, Unavailable> = attempt(() => this.checkUnsafe()) as Effect.Effect<
    void,
    Unavailable
  >
}

const behind = <A, E extends AofError>(
  guard: RootGuard,
  call: Effect.Effect<A, E>,
): Effect.Effect<A, E | Unavailable> => Effect.andThen(guard.check, call)

/** The same file system, in which nothing is changed once the root is elsewhere. */
export const guardedDirectory = (directory: Directory, guard: RootGuard): Directory => {
  const guarded =
    <Arguments extends ReadonlyArray<unknown>, A>(call: (...given: Arguments) => A) =>
    (...given: Arguments): A => {
      guard.checkUnsafe()
      return call(...given)
    }
  const guardedEffect =
    <Arguments extends ReadonlyArray<unknown>, A>(call: (...given: Arguments) => Effect.Effect<A, Unavailable>) =>
    (...given: Arguments): Effect.Effect<A, Unavailable> =>
      behind(guard, call(...given))
  const [openUnsafe, open] = [guarded(directory.openUnsafe), guardedEffect(directory.open)]
  return {
    ...directory,
    openBatchWriter: (path) => {
      const writer = directory.openBatchWriter?.(path)
      if (writer === undefined) return undefined
      const write = guardedEffect(writer.write)
      return {
        ...writer,
        get isResting() {
          return writer.isResting
        },
        write,
      }
    },
    openUnsafe: (path, mode) => (mode === "read" ? directory.openUnsafe(path, mode) : openUnsafe(path, mode)),
    open: (path, mode) => (mode === "read" ? directory.open(path, mode) : open(path, mode)),
    renameUnsafe: guarded(directory.renameUnsafe),
    rename: guardedEffect(directory.rename),
    link: guardedEffect(directory.link),
    makeDirectory: guardedEffect(directory.makeDirectory),
    makeDirectoryUnsafe: guarded(directory.makeDirectoryUnsafe),
    makeSubdirectory: guardedEffect(directory.makeSubdirectory),
    remove: guardedEffect(directory.remove),
    removeDirectory: guardedEffect(directory.removeDirectory),
  }
}

/** The same compressor, which makes no file once the root is elsewhere. */
export const guardedCompressor = (compressor: Compressor, guard: RootGuard): Compressor => ({
  ...compressor,
  compress: (job) => behind(guard, compressor.compress(job)),
  decompress: (job) => behind(guard, compressor.decompress(job)),
})
