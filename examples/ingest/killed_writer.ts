// The parent's side of the process that gets killed: starts it, listens, and kills it when half of the input is durable.

import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Failure, failed } from "./failure.ts"
import type { Input } from "./input.ts"
import type { Place, Run } from "./store.ts"
import type { WriterJob, WriterReport } from "./writer_child.ts"

export type Acknowledged = Extract<WriterReport, { type: "acknowledged" }>

export interface KilledWriter {
  /** The last report that arrived before the end; undefined when there was none. */
  readonly acknowledged: Acknowledged | undefined
}

/**
 * Lets a child process append until half of the input is durable, and kills it with SIGKILL. `onReport` sees each report.
 * Rejects with what the child failed of, or with the reason of `signal`, after the child has ended in order.
 */
export async function writeAndKill(
  job: { readonly place: Place; readonly run: Run; readonly input: Input },
  signal: AbortSignal,
  onReport: (report: Acknowledged) => void,
  onStart: (pid: number) => void,
): Promise<KilledWriter> {
  const { place, run, input } = job
  const child = fork(fileURLToPath(new URL("writer_child.ts", import.meta.url)), [], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  })
  let acknowledged: Acknowledged | undefined
  let failure: Failure | undefined
  let isKilled = false
  child.on("message", (report: WriterReport) => {
    if (report.type === "failed") {
      failure = new Failure(report.message, report.exitCode)
      disconnect(child)
      return
    }
    if (report.type === "acknowledged") {
      acknowledged = report
      onReport(report)
      if (report.durableBytes * 2 < input.bytes) return
    }
    if (!isKilled && !signal.aborted) isKilled = child.kill("SIGKILL")
  })
  const onAbort = (): void => disconnect(child)
  signal.addEventListener("abort", onAbort, { once: true })
  const ended = new Promise<string>((resolve, reject) => {
    child.on("error", reject)
    child.on("exit", (code, name) => resolve(name ?? `exit code ${code}`))
  })
  if (child.pid !== undefined) onStart(child.pid)
  const { withoutLineFeed: _, ...plainRun } = run
  const order: WriterJob = { place, run: plainRun, files: input.files, bytesMax: (input.bytes * 3) / 4 }
  child.send(order, () => {})
  if (signal.aborted) disconnect(child)
  const end = await ended.finally(() => signal.removeEventListener("abort", onAbort))
  signal.throwIfAborted()
  if (failure !== undefined) throw failure
  if (!isKilled) throw failed(`the writing process ended by itself (${end})`)
  return { acknowledged }
}

/** Asks the child to end in order. */
function disconnect(child: ChildProcess): void {
  if (child.connected) child.disconnect()
}
