/**
 * The main thread's side of the thread that writes batches: started with the first one, ended when there was none for a while.
 *
 * Invariants: a batch ends only when the thread does not touch its files any more. The sync of the file system is used only where it tells of all that
 * was lost, and not for a while when others have much to write, or after it has taken longer than syncs of the files would have.
 */
import * as fs from "node:fs"
import { clearTimeout, setTimeout } from "node:timers"
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import { type Unavailable, unavailable } from "../model/errors.ts"
import type { BatchFile, BatchOutcome, BatchWriter } from "../port/batch_writer.ts"
import type { BatchMessage, BatchRequest, BatchThreadData } from "./batch_messages.ts"
import { isSyncfsTold } from "./syncfs.ts"
import { callUnsafe } from "./system_error.ts"
import { workerSource } from "./worker_source.ts"

/** What is used of a worker. */
type BatchThread = Pick<Worker, "on" | "postMessage" | "ref" | "unref" | "terminate">

/** Starts a thread. */
type StartThread = (data: BatchThreadData) => BatchThread | undefined

/** Starts `batch_thread.ts`; undefined when it cannot be started now, and throws when it never can. The literal in the call is what bundlers look for. */
const startThread = (workerData: BatchThreadData): BatchThread | undefined => {
  const file = new URL("./batch_thread.ts", import.meta.url)
  const source = workerSource(file)
  if (source === undefined) return undefined
  if (source !== file) return new Worker(source, { workerData })
  return new Worker(new URL("./batch_thread.ts", import.meta.url), { workerData })
}

/** A thread without a batch ends after so long. */
const idleMs = 60_000
/** Starting a thread, and a sync of everything, have to be worth it. */
const filesMin = 32
/** A sync may take so long for each file, and so long in all. */
const [syncMsEach, syncMsOnce] = [0.25, 20]
/** When others have more to write than this, a sync takes its time, and with it every other sync of the disk. */
const dirtyBytesUsual = 64 * 1024 * 1024
/** How long there is no batch when others have much to write, or a sync took longer; each slow one in a row doubles it. */
const [restMsMin, restMsMax] = [1000, 60_000]

/** A thread that is told to stop has so long for the file that it is at. */
const stopMsMax = 100
const nextMillisecond = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1))

/** What a batch ends with. */
type Ended = Exclude<BatchMessage, { readonly type: "ready" }> | { readonly type: "died" }

/** Opens it for the file system of `path`, undefined where its sync cannot be trusted; nothing is started yet. */
export const openBatchWriter = (
  path: string,
  {
    start = startThread,
    dirtyBytesMax = dirtyBytesUsual,
  }: { readonly start?: StartThread; readonly dirtyBytesMax?: number } = {},
): BatchWriter | undefined => {
  if (!isSyncfsTold(path)) return undefined
  const writer = new ThreadWriter(path, start)
  const run = (
    files: ReadonlyArray<BatchFile>,
    bytes: Uint8Array,
    count: number,
  ): Effect.Effect<Ended, Unavailable> => {
    const ended = Effect.callback<Ended>((resume) => {
      writer.write({ files, bytes, dirtyBytesMax }, count, (one) => resume(Effect.succeed(one)))
    })
    return Effect.tap(Effect.uninterruptible(ended), ({ type }) => {
      if (type === "refused") return Effect.fail(unavailable("syncing the file system", "ENOTSUP", path))
      return type === "busy" ? Effect.fail(unavailable("syncing the file system", "EAGAIN", path)) : Effect.void
    })
  }
  return {
    filesMin,
    watchUnsafe: () => writer.watch(),
    // What a thread that died has written is not known; whoever writes it again writes the same.
    write: (files, bytes) =>
      Effect.map(run(files, bytes, files.length), (ended) =>
        ended.type === "done" ? ended.outcomes : files.map((): BatchOutcome => "lost"),
      ),
    sync: (count) =>
      Effect.flatMap(run([], new Uint8Array(0), count), (ended) =>
        ended.type === "done" && ended.isSynced
          ? Effect.void
          : Effect.fail(unavailable("syncing the file system", "EIO", path)),
      ),
    get isResting() {
      return writer.isResting
    },
    close: Effect.promise(() => writer.close()),
  }
}

class ThreadWriter {
  readonly #start: StartThread
  readonly #path: string
  #thread: BatchThread | undefined
  #isRefused = false
  #settle: ((ended: Ended) => void) | undefined
  #idle: ReturnType<typeof setTimeout> | undefined
  /** Open for as long as batches may come: the system tells each descriptor what was lost since it was opened. */
  #descriptor: number | undefined
  readonly #stopFlag: Int32Array = new Int32Array(new SharedArrayBuffer(4))
  #restUntilMs = 0
  #restMs = restMsMin

  constructor(path: string, start: StartThread) {
    this.#path = path
    this.#start = start
  }

  /** True while no batch is to be written. */
  get isResting(): boolean {
    return performance.now() < this.#restUntilMs
  }

  watch(): void {
    this.#descriptor ??= callUnsafe("opening to sync", this.#path, () => fs.openSync(this.#path, fs.constants.O_RDONLY))
  }

  write(batch: Omit<BatchRequest, "descriptor">, count: number, settle: (ended: Ended) => void): void {
    clearTimeout(this.#idle)
    const thread = this.#isRefused || !this.#isWatching() ? undefined : this.#begin()
    const descriptor = this.#descriptor
    if (thread === undefined || descriptor === undefined) return settle({ type: "refused" })
    this.#settle = (ended) => {
      this.#settle = undefined
      this.#rest()
      this.#note(ended, count)
      settle(ended)
    }
    thread.ref()
    thread.postMessage({ ...batch, descriptor } satisfies BatchRequest, [batch.bytes.buffer as ArrayBuffer])
  }

  async close(): Promise<void> {
    this.#isRefused = true
    Atomics.store(this.#stopFlag, 0, 1)
    const untilMs = performance.now() + stopMsMax
    while (this.#settle !== undefined && performance.now() < untilMs) await nextMillisecond()
    await this.#end()
    this.#settle?.({ type: "died" })
    // The timer of a batch that was cut off.
    clearTimeout(this.#idle)
    if (this.#descriptor !== undefined) fs.closeSync(this.#descriptor)
    this.#descriptor = undefined
  }

  #isWatching(): boolean {
    try {
      this.watch()
      return true
    } catch {
      return false
    }
  }

  /** `count` syncs were spared. */
  #note(ended: Ended, count: number): void {
    const isWorthIt = ended.type === "done" && ended.syncMs <= count * syncMsEach + syncMsOnce
    if (isWorthIt) {
      this.#restMs = restMsMin
      return
    }
    this.#restUntilMs = performance.now() + this.#restMs
    // Looking again costs nothing.
    if (ended.type !== "busy") this.#restMs = Math.min(restMsMax, this.#restMs * 2)
  }

  #begin(): BatchThread | undefined {
    if (this.#thread !== undefined) return this.#thread
    let thread: BatchThread | undefined
    try {
      thread = this.#start({ stopFlag: this.#stopFlag.buffer as SharedArrayBuffer })
    } catch {
      // A process that may not start one, or has no file of it.
      this.#isRefused = true
    }
    if (thread === undefined) return undefined
    let isReady = false
    const die = (): void => {
      if (this.#thread !== thread) return
      this.#thread = undefined
      void thread.terminate()
      if (!isReady) this.#isRefused = true
      this.#settle?.({ type: isReady ? "died" : "refused" })
    }
    thread.on("message", (message: BatchMessage) => {
      if (message.type === "ready") isReady = true
      else if (message.type === "refused") die()
      else if (this.#thread === thread) this.#settle?.(message)
    })
    thread.on("error", die)
    thread.on("messageerror", die)
    thread.on("exit", die)
    this.#thread = thread
    return thread
  }

  #rest(): void {
    this.#thread?.unref()
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => void this.#end(), idleMs)
    this.#idle.unref()
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle)
    const thread = this.#thread
    this.#thread = undefined
    await thread?.terminate()
  }
}
