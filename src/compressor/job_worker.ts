/** The worker: blocks its own thread with one job after the other, and looks after each zstd frame whether to give up. */
import * as fs from "node:fs"
import { setPriority } from "node:os"
import { parentPort, workerData } from "node:worker_threads"
import { backgroundSyncBytes, quietSyncBytes } from "../model/background_sync.ts"
import { loadCodec } from "./frame_codec.ts"
import { type JobRequest, sourceOf, targetOf } from "./job.ts"
import { describeError, flag, type WorkerData, type WorkerMessage } from "./messages.ts"
import { startJob } from "./run_job.ts"
import { openSyncFile, type SyncFile } from "./sync_file.ts"
import { TargetSyncs } from "./target_syncs.ts"

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

const flags = new Int32Array((workerData as WorkerData).flags)
const isRaised = (index: number): boolean => Atomics.load(flags, index) !== 0
/** Blocks for so long, or until the job is given up. */
const pause = (ms: number): void => void Atomics.wait(flags, flag.canceled, 0, ms)
const syncBytes = (): number => (isRaised(flag.isDiskWanted) ? backgroundSyncBytes : quietSyncBytes)

const answer = async (request: JobRequest): Promise<WorkerMessage> => {
  try {
    const codec = await loadCodec()
    const source = openSyncFile(sourceOf(request), "read")
    try {
      return await withTarget(targetOf(request), async (target) => {
        const syncs = new TargetSyncs(target, { isDiskWanted: () => isRaised(flag.isDiskWanted), pause })
        const steps = startJob(request, { source, target }, { codec, syncBytes })
        try {
          for (;;) {
            const step = steps.next()
            if (step.done) {
              await syncs.ended()
              return { type: "done", result: step.value }
            }
            if (step.value === "rest") await syncs.rest()
            if (step.value === "sync") await syncs.begin()
            if (isRaised(flag.canceled)) return { type: "canceled" }
          }
        } finally {
          // The file is closed next.
          await syncs.ended().catch(() => undefined)
        }
      })
    } finally {
      source.closeUnsafe()
    }
  } catch (error) {
    return describeError(error)
  }
}

/** Makes the target in place of what is there, and leaves it only when the job is done. */
const withTarget = async (
  path: string | undefined,
  use: (target: SyncFile | undefined) => Promise<WorkerMessage>,
): Promise<WorkerMessage> => {
  if (path === undefined) return await use(undefined)
  fs.rmSync(path, { force: true })
  const target = openSyncFile(path, "create")
  let isDone = false
  try {
    const message = await use(target)
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
// Loaded before it is needed: later the process may have no descriptor to load it with. What fails now is tried again with each job.
await loadCodec().catch(() => undefined)
parentPort?.postMessage({ type: "ready" } satisfies WorkerMessage)
