/**
 * A segment file over `node:fs`, which all three runtimes have with real descriptors and positional reads and writes.
 *
 * Invariants: a descriptor is given back to the system only when no call of the thread pool uses it, so a late sync never hits
 * another file that got the same number; a call on a closed file is `Unavailable` with `EBADF`.
 */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import { unavailable } from "../model/errors.ts"
import type { OpenMode } from "../port/directory.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import { callAsync, callUnsafe, systemError } from "./system_error.ts"

/**
 * Maps the first `length` bytes of an open file, which has at least as many, copy-on-write: a stray store into a view never
 * reaches the file. Undefined where it cannot be done; may throw what the runtime throws.
 */
export type MapFile = (descriptor: number, path: string, length: number) => Uint8Array | undefined

/** The runtime cannot map files. */
export const mapNothing: MapFile = () => undefined

/** A thread of the pool may hold its processor for as long as a write takes, and the sync of somebody else waits for it. */
const zeroPieceBytes = 128 * 1024
let zeroPiece: Uint8Array | undefined

/** Undefined on Windows, where links are rare and need a privilege. */
const noFollow = fs.constants.O_NOFOLLOW ?? 0

const openFlags: Record<OpenMode, number> = {
  read: fs.constants.O_RDONLY | noFollow,
  write: fs.constants.O_RDWR | noFollow,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
}

/** Opens a file, private when new; throws `Unavailable` with the system's code. The caller owns it and closes it. */
export const openPosixFile = (path: string, mode: OpenMode, map: MapFile): SegmentFile =>
  new PosixFile(
    path,
    callUnsafe(`opening to ${mode}`, path, () => fs.openSync(path, openFlags[mode], 0o600)),
    map,
  )

/** The same off the main thread. Interrupting it closes what was opened. */
export const openPosixFileAsync = (
  path: string,
  mode: OpenMode,
  map: MapFile,
): Effect.Effect<SegmentFile, Unavailable> =>
  Effect.map(
    callAsync<number>(`opening to ${mode}`, path, (done) => fs.open(path, openFlags[mode], 0o600, done)),
    (descriptor) => new PosixFile(path, descriptor, map),
  )

class PosixFile implements SegmentFile {
  readonly path: string
  readonly syncData: Effect.Effect<void, Unavailable>
  readonly #descriptor: number
  readonly #map: MapFile
  #running = 0
  #closed = false

  constructor(path: string, descriptor: number, map: MapFile) {
    this.path = path
    this.#descriptor = descriptor
    this.#map = map
    this.syncData = this.#async("syncing data", (done) => fs.fdatasync(descriptor, done))
  }

  writeUnsafe(buffer: Uint8Array, start: number, end: number, position: number): void {
    if (this.#closed) throw this.#closedError("writing")
    try {
      while (start < end) {
        const count = fs.writeSync(this.#descriptor, buffer, start, end - start, position)
        // POSIX allows a count of 0, and asking again for ever would hang the event loop.
        if (count === 0) throw unavailable("writing", "EIO", this.path)
        start += count
        position += count
      }
    } catch (error) {
      throw systemError("writing", this.path, error)
    }
  }

  readUnsafe(buffer: Uint8Array, start: number, end: number, position: number): number {
    if (this.#closed) throw this.#closedError("reading")
    let at = start
    try {
      while (at < end) {
        const count = fs.readSync(this.#descriptor, buffer, at, end - at, position)
        if (count === 0) break
        at += count
        position += count
      }
    } catch (error) {
      throw systemError("reading", this.path, error)
    }
    return at - start
  }

  syncDataUnsafe(): void {
    if (this.#closed) throw this.#closedError("syncing data")
    callUnsafe("syncing data", this.path, () => fs.fdatasyncSync(this.#descriptor))
  }

  sizeUnsafe(): number {
    if (this.#closed) throw this.#closedError("measuring")
    return callUnsafe("measuring", this.path, () => fs.fstatSync(this.#descriptor).size)
  }

  mapUnsafe(length: number): Uint8Array | undefined {
    // A page past the end of the file would kill the process at the first read, so the size is asked each time.
    if (this.#map === mapNothing || length <= 0 || this.sizeUnsafe() < length) return undefined
    return callUnsafe("mapping", this.path, () => this.#map(this.#descriptor, this.path, length))
  }

  read(buffer: Uint8Array, start: number, end: number, position: number): Effect.Effect<number, Unavailable> {
    return this.#async<number>("reading", (done) => {
      let at = start
      const step = (): void => {
        if (at >= end) done(null, at - start)
        else fs.read(this.#descriptor, buffer, at, end - at, position + at - start, next)
      }
      const next = (error: unknown, count: number): void => {
        if (error) return done(error)
        at += count
        if (count === 0) done(null, at - start)
        else step()
      }
      step()
    })
  }

  write(buffer: Uint8Array, start: number, end: number, position: number): Effect.Effect<void, Unavailable> {
    return this.#async("writing", (done) => {
      let at = start
      const step = (): void => {
        if (at >= end) done(null)
        else fs.write(this.#descriptor, buffer, at, end - at, position + at - start, next)
      }
      const next = (error: unknown, count: number): void => {
        at += count
        if (error) done(error)
        else if (count === 0) done(unavailable("writing", "EIO", this.path))
        else step()
      }
      step()
    })
  }

  zeroFill(from: number, to: number): Effect.Effect<void, Unavailable> {
    return Effect.flatMap(
      this.#async("filling with zeros", (done) => {
        zeroPiece ??= new Uint8Array(zeroPieceBytes)
        const zeros = zeroPiece
        let position = from
        const next = (error: unknown, count: number): void => {
          position += count
          if (error) done(error)
          else if (count === 0) done(unavailable("filling with zeros", "EIO", this.path))
          else step()
        }
        const step = (): void => {
          const bytes = Math.min(zeros.length, to - position)
          if (bytes <= 0) done(null)
          else fs.write(this.#descriptor, zeros, 0, bytes, position, next)
        }
        step()
      }),
      () => this.syncData,
    )
  }

  truncate(length: number): Effect.Effect<void, Unavailable> {
    return this.#async("truncating", (done) => fs.ftruncate(this.#descriptor, length, done))
  }

  closeUnsafe(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#running === 0) this.#release()
  }

  #async<A = void>(
    operation: string,
    start: (done: (error: unknown, value?: A) => void) => void,
  ): Effect.Effect<A, Unavailable> {
    return callAsync<A>(operation, this.path, (done) => {
      if (this.#closed) return done(this.#closedError(operation))
      this.#running++
      start((error, value) => {
        this.#running--
        if (this.#closed && this.#running === 0) this.#release()
        done(error, value)
      })
    })
  }

  /** The kernel frees the number even when `close` reports an error, and all that matters was synced before. */
  #release(): void {
    try {
      fs.closeSync(this.#descriptor)
    } catch {
      // Nothing is left to do with this descriptor.
    }
  }

  #closedError(operation: string): Unavailable {
    return unavailable(operation, "EBADF", this.path)
  }
}
