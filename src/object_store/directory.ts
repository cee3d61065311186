/**
 * An object store in a directory, through the file ports alone. An object is the plain file `<path>/objects/<key>`.
 *
 * Invariants: a body is written to a file of its own and synced before it gets its name, and the name is synced before `put` returns;
 * so after any crash an object is there whole or not at all, and what was acknowledged is there. A put-if-absent is one link(2), which
 * has one winner in all processes. Whatever compares and then changes (replacing, removing, metadata) holds the lock of the store.
 *
 * As a name is a file or a folder and never both, a key cannot be put that is a folder of other keys, nor one below an object: both
 * are `Invalid` (`EISDIR`, `ENOTDIR`). Folders stay when the last object in them is removed. Where file names do not tell case apart,
 * neither do keys. An etag is made of length and checksum, found by reading the object: `head` costs that.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { InvalidArgument, Unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import type { ObjectInfo, ObjectPage, ObjectStore, PutOptions } from "../port/object_store.ts"
import type { RootLock } from "../port/root_lock.ts"
import { type StoreError, storeError } from "../port/store_error.ts"
import { etagOfFile, folderOf, readRange, sizeOfOpen, withObject, writeBody } from "./directory_content.ts"
import { fileError, isMissing, orWhenMissing } from "./directory_error.ts"
import { listPage } from "./directory_list.ts"
import { type Metadata, Sidecars } from "./directory_metadata.ts"
import { TempFolder } from "./directory_temp.ts"
import { listLimitMax, refuseKey, refuseList, refusePut, refuseRange } from "./object_checks.ts"

/** Where a directory store is, and what it stands on. */
export interface DirectoryStoreOptions {
  readonly directory: Directory
  readonly lock: RootLock
  /** The folder of the store; made by the first `put`. */
  readonly path: string
  /** Where the store is, for people; default its path. */
  readonly place?: string | undefined
}

/** Makes a store. Until the scope closes it may hold a folder for unfinished objects; nothing is touched before the first change. */
export const makeDirectoryStore = (options: DirectoryStoreOptions): Effect.Effect<ObjectStore, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => new DirectoryStore(options, scope))

/** Largest answer of one `get`; a larger object is read by ranges. */
const getBytesMax = 2 ** 31 - 1
/** How long a request waits for other processes to give the lock back. */
const lockWaitMsMax = 5000
const lockPauseMsMax = 50
/** Folders that are remembered as durable. */
const folderCountMax = 4096

/** A path without slashes at its end. */
const withoutEnd = (path: string): string => (path.length > 1 ? path.replace(/(?<=.)\/+$/, "") : path)

interface Staged {
  readonly key: string
  /** The synced file. */
  readonly from: string
  readonly etag: string
  readonly metadata: Metadata
  readonly condition: PutOptions["condition"]
}

class DirectoryStore implements ObjectStore {
  readonly kind = "directory"
  readonly place: string
  readonly #path: string
  readonly #directory: Directory
  readonly #lock: RootLock
  readonly #objects: string
  readonly #temp: TempFolder
  readonly #sidecars: Sidecars
  /** One at a time asks for the lock, which is refused to a second one of the same process. */
  readonly #gate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  /** One at a time makes folders: one that could not be synced is taken away again, and nobody may have put anything in it. */
  readonly #folderGate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  /** Folders whose entries are known to be durable. */
  readonly #durableFolders: Set<string> = new Set()

  constructor({ directory, lock, path, place = path }: DirectoryStoreOptions, scope: Scope.Scope) {
    this.place = withoutEnd(place)
    this.#path = withoutEnd(path)
    this.#directory = directory
    this.#lock = lock
    this.#objects = `${this.#path}/objects`
    this.#temp = new TempFolder({ directory, lock }, { path: this.#path, scope })
    const ensureFolder = this.#ensureFolder
    this.#sidecars = new Sidecars({ directory, temp: this.#temp, ensureFolder }, this.#path)
  }

  put: ObjectStore["put"] = (key, body, options = {}) =>
    Effect.suspend((): Effect.Effect<{ readonly etag: string }, StoreError | InvalidArgument> => {
      const refused = refusePut(key, body, options)
      if (refused !== undefined) return Effect.fail(refused)
      const { condition, metadata = {}, checksum64 } = options
      const failed = Effect.mapError((error: Unavailable) => fileError("put", key, error))
      return Effect.acquireUseRelease(
        failed(this.#temp.open),
        (file) =>
          Effect.gen({ self: this }, function* () {
            const etag = yield* writeBody(file, { key, body, checksum64 })
            yield* failed(this.#ensureFolder(folderOf(this.#pathOf(key))))
            yield* this.#commit({ key, from: file.path, etag, metadata, condition })
            return { etag }
          }),
        (file) => {
          file.closeUnsafe()
          return Effect.ignore(this.#directory.remove(file.path))
        },
      )
    })

  get: ObjectStore["get"] = (key, range) =>
    Effect.suspend((): Effect.Effect<Uint8Array, StoreError | InvalidArgument> => {
      const refused = refuseKey(key) ?? refuseRange(range)
      if (refused !== undefined) return Effect.fail(refused)
      const { offset, length } = range ?? { offset: 0, length: Number.MAX_SAFE_INTEGER }
      const read = withObject<Uint8Array, StoreError>(this.#directory, this.#pathOf(key), (file) =>
        Effect.flatMap(sizeOfOpen(file), (size): Effect.Effect<Uint8Array, StoreError | Unavailable> => {
          const bytes = Math.min(length, Math.max(0, size - offset))
          if (bytes > getBytesMax) return Effect.fail(storeError("Invalid", "get", key, "EFBIG"))
          return readRange(file, { offset, length: bytes, into: range?.into })
        }),
      )
      return Effect.flatMap(this.#typed("get", key, read), (bytes) =>
        bytes === undefined ? Effect.fail(storeError("NotFound", "get", key, "ENOENT")) : Effect.succeed(bytes),
      )
    })

  head: ObjectStore["head"] = (key) =>
    Effect.suspend((): Effect.Effect<ObjectInfo | undefined, StoreError | InvalidArgument> => {
      const refused = refuseKey(key)
      if (refused !== undefined) return Effect.fail(refused)
      const read = withObject(this.#directory, this.#pathOf(key), etagOfFile)
      return Effect.flatMap(this.#typed("head", key, read), (found) => {
        if (found === undefined) return Effect.succeed(undefined)
        return Effect.map(this.#sidecars.read(key, found.etag), (metadata) => ({ key, ...found, metadata }))
      })
    })

  remove: ObjectStore["remove"] = (key) =>
    Effect.suspend((): Effect.Effect<void, StoreError | InvalidArgument> => {
      const refused = refuseKey(key)
      if (refused !== undefined) return Effect.fail(refused)
      const folder = folderOf(this.#pathOf(key))
      const isFolder = Effect.map(
        orWhenMissing(this.#directory.kind(folder), "missing"),
        (kind) => kind === "directory",
      )
      return Effect.flatMap(this.#typed("remove", key, isFolder), (isThere) =>
        isThere ? this.#locked("remove", key, this.#typed("remove", key, this.#remove(key))) : Effect.void,
      )
    })

  list: ObjectStore["list"] = (prefix, { after, limit = listLimitMax } = {}) =>
    Effect.suspend((): Effect.Effect<ObjectPage, StoreError | InvalidArgument> => {
      const refused = refuseList(prefix, after, limit)
      if (refused !== undefined) return Effect.fail(refused)
      return this.#typed("list", prefix, listPage(this.#directory, { root: this.#objects, prefix, after, limit }))
    })

  /** Gives a synced file its name, or fails and changes nothing. Not interrupted once it has begun to change something. */
  #commit(staged: Staged): Effect.Effect<void, StoreError> {
    const { key, condition, metadata } = staged
    const isAbsent = condition !== undefined && "absent" in condition
    if (!isAbsent || Object.keys(metadata).length > 0) return this.#locked("put", key, this.#place(staged))
    // Left-over metadata of the same content would come back to life with it, so it is cleared first, under the lock.
    return Effect.flatMap(this.#typed("put", key, this.#sidecars.names(key)), (names) =>
      names.length > 0
        ? this.#locked("put", key, this.#place(staged))
        : Effect.uninterruptible(this.#typed("put", key, this.#link(staged))),
    )
  }

  /** With the lock held: compares, and puts metadata and content in place. */
  #place(staged: Staged): Effect.Effect<void, StoreError> {
    const { key, etag, metadata, condition } = staged
    const path = this.#pathOf(key)
    const placed = Effect.gen({ self: this }, function* () {
      if (condition !== undefined && "absent" in condition) {
        if ((yield* this.#directory.kind(path)) !== "missing") return yield* this.#taken(key)
        yield* this.#sidecars.write(key, etag, metadata)
        // Who puts without metadata does not ask for the lock and may be first; what it put must not get this metadata.
        const undo = Effect.ignore(this.#sidecars.write(key, etag, {}))
        yield* Effect.tapError(this.#link(staged), () => undo)
      } else {
        if (condition !== undefined) {
          const found = yield* withObject(this.#directory, path, etagOfFile)
          if (found?.etag !== condition.etag) return yield* this.#taken(key)
        }
        if ((yield* this.#directory.kind(path)) === "directory") {
          return yield* Effect.fail(storeError("Invalid", "put", key, "EISDIR"))
        }
        yield* this.#sidecars.write(key, etag, metadata)
        yield* this.#directory.rename(staged.from, path)
        yield* this.#directory.sync(folderOf(path))
        yield* this.#directory.sync(folderOf(staged.from))
      }
      yield* Effect.ignore(this.#sidecars.removeOthers(key, etag))
    })
    return this.#typed("put", key, placed)
  }

  #link = Effect.fnUntraced(function* (
    this: DirectoryStore,
    { key, from }: Staged,
  ): Effect.fn.Return<void, StoreError | Unavailable> {
    const path = this.#pathOf(key)
    const linked = yield* Effect.result(this.#directory.link(from, path))
    if (linked._tag === "Success") return yield* this.#directory.sync(folderOf(path))
    return yield* linked.failure.code === "EEXIST" ? this.#taken(key) : Effect.fail(linked.failure)
  })

  /**
   * Fails because of what is there. Its entry is synced before: whoever gets this answer after a lost one of its own, or reads what
   * another process has just linked, takes it for stored.
   */
  #taken = Effect.fnUntraced(function* (
    this: DirectoryStore,
    key: string,
  ): Effect.fn.Return<never, StoreError | Unavailable> {
    const path = this.#pathOf(key)
    if ((yield* this.#directory.kind(path)) === "directory") {
      return yield* Effect.fail(storeError("Invalid", "put", key, "EISDIR"))
    }
    yield* this.#directory.sync(folderOf(path))
    return yield* Effect.fail(storeError("PreconditionFailed", "put", key, "EEXIST"))
  })

  /** With the lock held. The folder is synced also when nothing is there: an earlier try may have failed behind the unlink. */
  #remove = Effect.fnUntraced(function* (this: DirectoryStore, key: string): Effect.fn.Return<void, Unavailable> {
    const path = this.#pathOf(key)
    if ((yield* this.#directory.kind(path)) === "directory") return
    yield* this.#directory.remove(path)
    yield* this.#directory.sync(folderOf(path))
    yield* this.#sidecars.removeOthers(key, undefined)
  })

  /** Runs a change with the lock of the store held. Waiting for the lock can be interrupted, the change cannot. */
  #locked(request: string, key: string, change: Effect.Effect<void, StoreError>): Effect.Effect<void, StoreError> {
    const folder = `${this.#path}/.lock`
    const take = Effect.gen({ self: this }, function* () {
      yield* this.#directory.makeDirectory(folder)
      let pauseMs = 1
      for (let waitedMs = 0; ; waitedMs += pauseMs) {
        const taken = yield* Effect.result(this.#lock.acquire(folder))
        if (taken._tag === "Success") return
        if (taken.failure.code !== "EBUSY" || waitedMs > lockWaitMsMax) return yield* Effect.fail(taken.failure)
        pauseMs = 1 + Math.floor((yield* Random.next) * Math.min(lockPauseMsMax, 2 * pauseMs + 1))
        yield* Effect.sleep(pauseMs)
      }
    })
    const run = Effect.andThen(this.#typed(request, key, take), Effect.uninterruptible(change))
    return this.#gate.withPermit(Effect.scoped(run))
  }

  /** Makes a folder of the store, and makes sure that it is still there after a crash, whoever made it and how far that got. */
  readonly #ensureFolder = (folder: string): Effect.Effect<void, Unavailable> =>
    Effect.suspend(() =>
      this.#durableFolders.has(folder) ? Effect.void : this.#folderGate.withPermit(this.#makeFolder(folder)),
    )

  #makeFolder = Effect.fnUntraced(function* (
    this: DirectoryStore,
    folder: string,
  ): Effect.fn.Return<void, Unavailable> {
    yield* this.#directory.makeDirectory(folder)
    const made: Array<string> = []
    for (let at = folder; at.length >= this.#path.length; at = folderOf(at)) {
      if (this.#durableFolders.has(at)) break
      // The parent of the store is somebody else's, and may be closed to this user; it was synced when the store was made.
      const isOwn = at.length > this.#path.length
      const synced = this.#directory.sync(folderOf(at))
      yield* isOwn ? synced : Effect.catchIf(synced, isClosed, () => Effect.void)
      made.push(at)
      if (!isOwn) break
    }
    if (this.#durableFolders.size > folderCountMax) this.#durableFolders.clear()
    for (const each of made) this.#durableFolders.add(each)
  })

  /** Turns what the file system says into what a store says. A folder that somebody removed is made anew by the next try. */
  #typed<A, R>(
    request: string,
    key: string,
    call: Effect.Effect<A, StoreError | Unavailable, R>,
  ): Effect.Effect<A, StoreError, R> {
    return Effect.mapError(call, (error) => {
      if (error._tag === "StoreError") return error
      if (isMissing(error)) this.#durableFolders.clear()
      return fileError(request, key, error)
    })
  }

  #pathOf(key: string): string {
    return `${this.#objects}/${key}`
  }
}

const isClosed = (error: Unavailable): boolean => error.code === "EACCES" || error.code === "EPERM"
