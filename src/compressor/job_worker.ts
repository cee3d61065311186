/** The worker: blocks its own thread with one job after the other, and looks after each zstd frame whether to give up. */
import * as fs from "node:fs"
import { setPriority } from "node:os"
import { parentPort, workerData } from "node:worker_threads"
import { loadCrc64 } from "../format/checksum.ts"
import { loadCodec } from "./frame_codec.ts"
import { type JobRequest, sourceOf, targetOf } from "./job.ts"
import { describeError, type WorkerData, type WorkerMessage } from "./messages.ts"
import { startJob } from "./run_job.ts"
import { openSyncFile, type SyncFile } from "./sync_file.ts"

/** Least important to the scheduler: who appends or reads comes first, on every core. */
const leastPriority = 19

/** On Linux priorities belong to threads, so this is the worker's alone; elsewhere it would be that of the whole process. */
const yieldToOthers = (): void => {
  if (process.platform !== "linux") return
  try {
    setPriority(0, leastPriority)
  } catch {
    // Deno asks for --allow-sys. It is a favour to others and nothing depends on it.
  }
}

yieldToOthers()

const cancelFlag = new Int32Array((workerData as WorkerData).cancelFlag)

const answer = async (request: JobRequest): Promise<WorkerMessage> => {
  try {
    await loadCrc64()
    const codec = await loadCodec()
    const source = openSyncFile(sourceOf(request), "read")
    try {
      return withTarget(targetOf(request), (target) => {
        const steps = startJob(request, { source, target }, codec)
        for (;;) {
          const step = steps.next()
          if (step.done) return { type: "done", result: step.value }
          if (step.value === "rest") rest()
          if (step.value === "sync" && target !== undefined) syncPolitely(target)
          if (Atomics.load(cancelFlag, 0) !== 0) return { type: "canceled" }
        }
      })
    } finally {
      source.closeUnsafe()
    }
  } catch (error) {
    return describeError(error)
  }
}

/** Until when the disk is left to others, on the clock of `performance.now`. */
let restEnd = 0

/**
 * After each sync the disk is left to others for as long as the sync took: who waits for one of theirs waits for one of ours at most.
 * Meanwhile the next frames are made, which nothing of the disk is needed for.
 */
const syncPolitely = (target: SyncFile): void => {
  const started = performance.now()
  target.syncUnsafe()
  const ended = performance.now()
  restEnd = ended + (ended - started)
}

/** Waits for what is left of that. A cancellation ends it. */
const rest = (): void => {
  const leftMs = restEnd - performance.now()
  if (leftMs > 0) Atomics.wait(cancelFlag, 0, 0, leftMs)
}

/** Makes the target in place of what is there, and leaves it only when the job is done. */
const withTarget = (path: string | undefined, use: (target: SyncFile | undefined) => WorkerMessage): WorkerMessage => {
  if (path === undefined) return use(undefined)
  fs.rmSync(path, { force: true })
  const target = openSyncFile(path, "create")
  let isDone = false
  try {
    const message = use(target)
    isDone = message.type === "done"
    return message
  } finally {
    target.closeUnsafe()
    if (!isDone) fs.rmSync(path, { force: true })
  }
}

parentPort?.on("message", (request: JobRequest) => {
  void answer(request).then((message) => parentPort?.postMessage(message))
})
// Loaded before they are needed: later the process may have no descriptor to load them with. What fails now is tried again with each job.
await Promise.allSettled([loadCrc64(), loadCodec()])
parentPort?.postMessage({ type: "ready" } satisfies WorkerMessage)
