/**
 * Files that are not objects yet: `<path>/.temp/<nonce>/<number>`, in a folder that one store has for itself and holds the lock of.
 *
 * Invariants: a folder whose lock can be taken belongs to nobody who lives, and is removed with all that is in it by the next store
 * that puts something. Whoever finds its folder gone makes another one.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { Unavailable, unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import type { RootLock } from "../port/root_lock.ts"
import type { SegmentFile } from "../port/segment_file.ts"

const attemptsMax = 16

export class TempFolder {
  readonly #directory: Directory
  readonly #lock: RootLock
  readonly #parent: string
  readonly #scope: Scope.Scope
  /** One at a time looks for a folder; the others get the same. */
  readonly #gate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  #folder: string | undefined
  #next = 1

  /** `scope` is how long the folder is held. */
  constructor(
    ports: { readonly directory: Directory; readonly lock: RootLock },
    options: { readonly path: string; readonly scope: Scope.Scope },
  ) {
    this.#directory = ports.directory
    this.#lock = ports.lock
    this.#parent = `${options.path}/.temp`
    this.#scope = options.scope
  }

  /** Makes an empty file. The caller owns it, closes it, and removes its name when it has no use for it. */
  readonly open: Effect.Effect<SegmentFile, Unavailable> = Effect.suspend(() => this.#open())

  #open = Effect.fnUntraced(function* (this: TempFolder): Effect.fn.Return<SegmentFile, Unavailable> {
    for (let attempt = 1; ; attempt++) {
      const folder = this.#folder ?? (yield* this.#gate.withPermit(Effect.suspend(() => this.#find())))
      const path = `${folder}/${this.#next++}`
      const made = yield* Effect.result(openFile(this.#directory, path))
      if (made._tag === "Success") return made.success
      const { code } = made.failure
      if (attempt >= attemptsMax || (code !== "ENOENT" && code !== "EEXIST")) return yield* Effect.fail(made.failure)
      if (code === "ENOENT" && this.#folder === folder) this.#folder = undefined
    }
  })

  #find = Effect.fnUntraced(function* (this: TempFolder): Effect.fn.Return<string, Unavailable> {
    if (this.#folder !== undefined) return this.#folder
    yield* Effect.ignore(this.#clean())
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const folder = `${this.#parent}/${yield* nonce}`
      yield* this.#directory.makeDirectory(folder)
      const held = yield* Effect.uninterruptible(Effect.result(this.#hold(folder)))
      if (held._tag === "Success") return folder
      // Another store took the folder for a left-over between these two steps.
      if (held.failure.code !== "EBUSY" && held.failure.code !== "ENOENT") return yield* Effect.fail(held.failure)
    }
    return yield* Effect.fail(unavailable("making a folder for unfinished objects", "EBUSY", this.#parent))
  })

  #hold = Effect.fnUntraced(function* (this: TempFolder, folder: string): Effect.fn.Return<void, Unavailable> {
    yield* Scope.provide(this.#lock.acquire(folder), this.#scope)
    // Added after the lock, so that it runs before the lock is given back.
    yield* Scope.addFinalizer(this.#scope, Effect.ignore(this.#directory.removeDirectory(folder)))
    this.#folder = folder
  })

  /** Removes what stores left that are no more. What cannot be judged stays. */
  #clean = Effect.fnUntraced(function* (this: TempFolder): Effect.fn.Return<void, Unavailable> {
    for (const { name, isDirectory } of yield* this.#directory.list(this.#parent)) {
      const path = `${this.#parent}/${name}`
      const removed = isDirectory
        ? Effect.scoped(Effect.andThen(this.#lock.acquire(path), this.#directory.removeDirectory(path)))
        : this.#directory.remove(path)
      yield* Effect.ignore(removed)
    }
  })
}

/** Opens a new file as an effect; what is not a failure of the file system is a defect. */
const openFile = (directory: Directory, path: string): Effect.Effect<SegmentFile, Unavailable> =>
  Effect.try({ try: () => directory.openUnsafe(path, "create"), catch: onlyUnavailable })

/** What a port threw, typed; anything else goes on as a defect. */
export const onlyUnavailable = (error: unknown): Unavailable => {
  if (error instanceof Unavailable) return error
  throw error
}

const chance: Effect.Effect<string> = Effect.map(Random.next, (value) =>
  Math.floor(value * 2 ** 32)
    .toString(16)
    .padStart(8, "0"),
)

/** A name that no other store has: the time and 64 bits of chance. */
const nonce: Effect.Effect<string> = Effect.gen(function* () {
  const timeMs = yield* Clock.currentTimeMillis
  return `${timeMs.toString(36)}-${yield* chance}${yield* chance}`
})
