/**
 * The main thread's side of the thread that writes batches: started with the first one, ended when there was none for a while.
 *
 * Invariants: a batch ends only when the thread does not touch its files any more. The thread syncs the file system as a whole only where that tells
 * of all that was lost, and not for a while after such a sync has taken much longer than those of the files would have: somebody else's bytes are
 * written with it.
 */
import * as fs from "node:fs"
import { clearTimeout, setTimeout } from "node:timers"
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import { unavailable } from "../model/errors.ts"
import type { BatchOutcome, BatchWriter } from "../port/batch_writer.ts"
import type { BatchMessage, BatchRequest } from "./batch_messages.ts"
import { isSyncfsTold } from "./syncfs.ts"
import { workerSource } from "./worker_source.ts"

/** What is used of a worker. */
type BatchThread = Pick<Worker, "on" | "postMessage" | "ref" | "unref" | "terminate">

/** Starts `batch_thread.ts`; undefined when it cannot be started now, and throws when it never can. The literal in the call is what bundlers look for. */
const startThread = (): BatchThread | undefined => {
  const file = new URL("./batch_thread.ts", import.meta.url)
  const source = workerSource(file)
  if (source === undefined) return undefined
  if (source !== file) return new Worker(source)
  return new Worker(new URL("./batch_thread.ts", import.meta.url))
}

/** A thread without a batch ends after so long. */
const idleMs = 60_000
/** Starting a thread, and writing what others have left in memory, has to be worth it. */
const filesMin = 32
/** A sync of the whole may take so long for each file, and so long in all. */
const [wholeMsEach, wholeMsOnce] = [2, 50]
/** How long each file is synced by itself after one that took longer; each such one in a row doubles it. */
const [restMsMin, restMsMax] = [5000, 600_000]

/** What a batch ends with: the answer, or that the thread died or could not be started. */
type Ended = Extract<BatchMessage, { readonly type: "done" }> | "died" | "refused"

/** Opens it for the file system of `path`; nothing is started yet. */
export const openBatchWriter = (path: string, start: () => BatchThread | undefined = startThread): BatchWriter => {
  const writer = new ThreadWriter(path, start)
  return {
    filesMin,
    write: (files, bytes) =>
      Effect.uninterruptible(
        Effect.callback((resume) => {
          writer.write({ files, bytes, descriptor: writer.descriptor }, (ended) => {
            if (ended === "refused") resume(Effect.fail(unavailable("writing a batch", "ENOTSUP", path)))
            // What it has written is not known; whoever writes it again writes the same.
            else if (ended === "died") resume(Effect.succeed(files.map((): BatchOutcome => "lost")))
            else resume(Effect.succeed(ended.outcomes))
          })
        }),
      ),
    close: Effect.promise(() => writer.close()),
  }
}

class ThreadWriter {
  readonly #start: () => BatchThread | undefined
  readonly #path: string
  #thread: BatchThread | undefined
  #isRefused = false
  #settle: ((ended: Ended) => void) | undefined
  #idle: ReturnType<typeof setTimeout> | undefined
  /** Open for as long as batches may come: the system tells each descriptor what was lost since it was opened. */
  #descriptor: number | undefined
  #isAsked = false
  #restUntilMs = 0
  #restMs = restMsMin

  constructor(path: string, start: () => BatchThread | undefined) {
    this.#path = path
    this.#start = start
  }

  /** What the thread is to sync as a whole by; undefined when each file is to be synced. */
  get descriptor(): number | undefined {
    if (!this.#isAsked) {
      this.#isAsked = true
      this.#descriptor = openTold(this.#path)
    }
    return performance.now() < this.#restUntilMs ? undefined : this.#descriptor
  }

  write(request: BatchRequest, settle: (ended: Ended) => void): void {
    clearTimeout(this.#idle)
    const thread = this.#isRefused ? undefined : this.#begin()
    if (thread === undefined) return settle("refused")
    this.#settle = (ended) => {
      this.#settle = undefined
      this.#rest()
      if (typeof ended !== "string") this.#note(ended.wholeMs, request.files.length)
      settle(ended)
    }
    thread.ref()
    thread.postMessage(request, [request.bytes.buffer as ArrayBuffer])
  }

  async close(): Promise<void> {
    if (this.#descriptor !== undefined) fs.closeSync(this.#descriptor)
    this.#descriptor = undefined
    this.#isRefused = true
    await this.#end()
  }

  #note(wholeMs: number | undefined, files: number): void {
    if (wholeMs === undefined) return
    if (wholeMs <= files * wholeMsEach + wholeMsOnce) {
      this.#restMs = restMsMin
      return
    }
    this.#restUntilMs = performance.now() + this.#restMs
    this.#restMs = Math.min(restMsMax, this.#restMs * 2)
  }

  #begin(): BatchThread | undefined {
    if (this.#thread !== undefined) return this.#thread
    let thread: BatchThread | undefined
    try {
      thread = this.#start()
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
      this.#settle?.(isReady ? "died" : "refused")
    }
    thread.on("message", (message: BatchMessage) => {
      if (message.type === "ready") isReady = true
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

const openTold = (path: string): number | undefined => {
  if (!isSyncfsTold(path)) return undefined
  try {
    return fs.openSync(path, fs.constants.O_RDONLY)
  } catch {
    return undefined
  }
}
