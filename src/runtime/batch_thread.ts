/**
 * The thread that writes batches. It blocks with each call, so that the main thread does not: to make a file with its directories, to write and to
 * close it are six calls, and handing each over and hearing of its end would take longer than the call.
 */
import * as fs from "node:fs"
import { parentPort, workerData } from "node:worker_threads"
import type { BatchFile, BatchOutcome } from "../port/batch_writer.ts"
import type { BatchMessage, BatchRequest, BatchThreadData } from "./batch_messages.ts"
import { findSyncfs, type Syncfs } from "./syncfs.ts"

const { O_RDWR, O_CREAT, O_NOFOLLOW = 0 } = fs.constants
const syncfs = findSyncfs()
const stopFlag = new Int32Array((workerData as BatchThreadData).stopFlag)

const answer = (syncfs: Syncfs, { files, bytes, descriptor, dirtyBytesMax }: BatchRequest): BatchMessage => {
  if (dirtyBytes() > dirtyBytesMax) return { type: "busy" }
  const outcomes = files.map((file) => writeOne(file, bytes))
  if (isStopped()) return { type: "done", outcomes: lost(outcomes), isSynced: false, syncMs: 0 }
  const started = performance.now()
  const isSynced = syncfs(descriptor) === 0
  const syncMs = performance.now() - started
  return { type: "done", outcomes: isSynced ? outcomes : lost(outcomes), isSynced, syncMs }
}

/** What the system has not yet written of all file systems; 0 where it does not say. */
const dirtyBytes = (): number => {
  try {
    return Number(/^Dirty: +(\d+) kB$/m.exec(fs.readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

/** A sync that failed may have lost whatever was written. */
const lost = (outcomes: ReadonlyArray<BatchOutcome>): ReadonlyArray<BatchOutcome> =>
  outcomes.map((outcome) => (outcome === "durable" ? "lost" : outcome))

const isStopped = (): boolean => Atomics.load(stopFlag, 0) !== 0

const writeOne = ({ path, isNew, folders, pieces }: BatchFile, bytes: Uint8Array): BatchOutcome => {
  let descriptor: number | undefined
  // A runtime may say that a thread has ended before it has.
  if (isStopped()) return "failed"
  try {
    if (isNew) for (const folder of folders) makeFolder(folder)
    descriptor = fs.openSync(path, O_RDWR | O_NOFOLLOW | (isNew ? O_CREAT : 0), 0o600)
    for (const { from, to, position } of pieces) writeAll(descriptor, bytes.subarray(from, to), position)
    return "durable"
  } catch {
    return "failed"
  } finally {
    if (descriptor !== undefined) close(descriptor)
  }
}

/** The sync says whether anything was lost. */
const close = (descriptor: number): void => {
  try {
    fs.closeSync(descriptor)
  } catch {
    // Nobody uses it any more.
  }
}

const makeFolder = (path: string): void => {
  try {
    fs.mkdirSync(path, 0o700)
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== "EEXIST") throw error
  }
}

const writeAll = (descriptor: number, bytes: Uint8Array, position: number): void => {
  for (let at = 0; at < bytes.length; ) {
    const count = fs.writeSync(descriptor, bytes, at, bytes.length - at, position + at)
    if (count === 0) throw new Error("nothing was written")
    at += count
  }
}

if (syncfs === undefined) parentPort?.postMessage({ type: "refused" } satisfies BatchMessage)
else {
  parentPort?.on("message", (request: BatchRequest) => {
    parentPort?.postMessage(answer(syncfs, request))
  })
  parentPort?.postMessage({ type: "ready" } satisfies BatchMessage)
}
