/**
 * Syncs of many files and directories as one of the file system: opening a root with thousands of streams that were cut short asks for several
 * for each of them, one after the other. Where few ask at a time, or the sync of the file system cannot be had, each has its own.
 *
 * Invariants: what an effect of it has made durable is all that was written before the effect began. After a sync of the file system that failed
 * there is no other: the system says once that something was lost, and who asks later may be whom that was about.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { AofManagerConfig } from "../../model/config.ts"
import type { Unavailable } from "../../model/errors.ts"
import type { BatchWriter } from "../../port/batch_writer.ts"
import type { Directory } from "../../port/directory.ts"
import type { EventLoop } from "../../port/event_loop.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { caught } from "../flow/attempt.ts"
import { nextTurn } from "../flow/next_turn.ts"

export class SyncsTogether {
  /** The same file system; files that are opened in it before `end` share syncs until then, and are closed when it does not come to that. */
  readonly directory: Directory
  readonly #eventLoop: EventLoop
  readonly #gate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  #writer: BatchWriter | undefined
  /** Files that are open, until `end`. */
  #opened: Set<SegmentFile> | undefined = new Set()
  /** Who waits, by the number of its request. */
  #waiting = 0
  #asked = 0
  /** Requests up to this one were answered by a sync of the file system, */
  #syncedTo = 0
  /** and those up to this one by the one that failed. */
  #failedTo = 0
  #failure: Unavailable | undefined

  constructor(
    directory: Directory,
    { root, readOnly }: Pick<AofManagerConfig, "root" | "readOnly">,
    eventLoop: EventLoop,
  ) {
    this.#eventLoop = eventLoop
    const writer = readOnly ? undefined : directory.openBatchWriter?.(root)
    // Without it nothing else is worse than before.
    const isWatching = writer !== undefined && caught(() => writer.watchUnsafe()) === undefined
    this.#writer = isWatching ? writer : undefined
    const open = (file: SegmentFile): SegmentFile => (this.#opened === undefined ? file : this.#file(file))
    this.directory = {
      ...directory,
      openUnsafe: (path, mode) => open(directory.openUnsafe(path, mode)),
      open: (path, mode) => Effect.map(directory.open(path, mode), open),
      sync: (path) => this.#shared(directory.sync(path)),
    }
  }

  /** False where each has its own sync. */
  get isPossible(): boolean {
    return this.#writer !== undefined
  }

  /** No more than those that are on their way, and what follows from them. */
  get end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#opened = undefined
      return this.#endUnused
    })
  }

  /** Ends the thread; a sync that is on its way fails. An opening that came to nothing leaves no file open. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      for (const file of this.#opened ?? []) file.closeUnsafe()
      return this.#endThread
    })
  }

  /** From then on each has its own sync. */
  get #endThread(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const writer = this.#writer
      this.#writer = undefined
      return writer?.close ?? Effect.void
    })
  }

  get #endUnused(): Effect.Effect<void> {
    return Effect.suspend(() => (this.#opened === undefined && this.#waiting === 0 ? this.#endThread : Effect.void))
  }

  #file(file: SegmentFile): SegmentFile {
    this.#opened?.add(file)
    const atOnce = file.syncDataUnsafe === undefined ? {} : { syncDataUnsafe: () => file.syncDataUnsafe?.() }
    let syncing = 0
    let isClosed = false
    const close = (): void => {
      this.#opened?.delete(file)
      file.closeUnsafe()
    }
    // A sync that waits for others needs it open as well as one that runs.
    const syncData = Effect.acquireUseRelease(
      Effect.sync(() => {
        syncing++
      }),
      () => this.#shared(file.syncData),
      () =>
        Effect.sync(() => {
          if (--syncing === 0 && isClosed) close()
        }),
    )
    return {
      path: file.path,
      writeUnsafe: (buffer, start, end, position) => file.writeUnsafe(buffer, start, end, position),
      readUnsafe: (buffer, start, end, position) => file.readUnsafe(buffer, start, end, position),
      sizeUnsafe: () => file.sizeUnsafe(),
      mapUnsafe: (length) => file.mapUnsafe(length),
      read: (buffer, start, end, position) => file.read(buffer, start, end, position),
      write: (buffer, start, end, position) => file.write(buffer, start, end, position),
      zeroFill: (from, to) => file.zeroFill(from, to),
      truncate: (length) => file.truncate(length),
      closeUnsafe: () => {
        isClosed = true
        if (syncing === 0) close()
      },
      syncData,
      ...atOnce,
    }
  }

  #shared(own: Effect.Effect<void, Unavailable>): Effect.Effect<void, Unavailable> {
    return Effect.suspend(() => {
      if (this.#writer === undefined) return own
      const wanted = ++this.#asked
      const shared = Effect.andThen(nextTurn(this.#eventLoop), this.#gate.withPermit(this.#lead(wanted)))
      const answered = Effect.flatMap(shared, (isShared) => (isShared ? Effect.void : own))
      const waiting = Effect.sync(() => {
        this.#waiting++
      })
      const left = Effect.suspend(() => {
        this.#waiting--
        return this.#endUnused
      })
      return Effect.acquireUseRelease(
        waiting,
        () => answered,
        () => left,
      )
    })
  }

  /** One after the other: the first for whom no sync was made makes it for all who wait. False when there is none. */
  #lead(wanted: number): Effect.Effect<boolean, Unavailable> {
    return Effect.suspend(() => {
      if (this.#syncedTo >= wanted) return Effect.succeed(true)
      if (this.#failure !== undefined && wanted <= this.#failedTo) return Effect.fail(this.#failure)
      const writer = this.#writer
      if (writer === undefined || this.#failure !== undefined) return Effect.succeed(false)
      const [waiting, asked] = [this.#waiting, this.#asked]
      if (waiting < writer.filesMin || writer.isResting) return Effect.succeed(false)
      const synced = Effect.map(writer.sync(waiting), () => {
        this.#syncedTo = asked
        return true
      })
      return Effect.catch(synced, (error: Unavailable) => {
        if (error.code === "EAGAIN") return Effect.succeed(false)
        if (error.code === "ENOTSUP") return Effect.as(this.#endThread, false)
        this.#failedTo = asked
        this.#failure = error
        return Effect.fail(error)
      })
    })
  }
}
