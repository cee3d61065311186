/** What the main thread and a worker say to each other. One job at a time; a worker answers each request once. */
import { Corrupt, Unavailable } from "../model/errors.ts"
import type { JobResult } from "./job.ts"

/** What the main thread tells the job that runs, in the memory that is given to a worker at its start: numbers of 32 bits, 0 or 1. */
export const flag = {
  /** The job is to be given up. */
  canceled: 0,
  /** Others wait for syncs of the disk. */
  isDiskWanted: 1,
} as const

/** The memory for them. */
export const makeFlags = (): Int32Array<SharedArrayBuffer> => new Int32Array(new SharedArrayBuffer(8))

/** Given to a worker at its start. */
export interface WorkerData {
  readonly flags: SharedArrayBuffer
}

/** From a worker: it is there, or what came of the request. */
export type WorkerMessage =
  | { readonly type: "ready" }
  | { readonly type: "done"; readonly result: JobResult }
  | { readonly type: "canceled" }
  | { readonly type: "corrupt"; readonly what: string; readonly detail: string }
  | { readonly type: "unavailable"; readonly what: string; readonly code: string; readonly value: string }
  /** Anything else that was thrown: the main thread makes an error of it. */
  | { readonly type: "failed"; readonly name: string; readonly message: string; readonly code: unknown }

/** The message for what was thrown; errors do not cross threads whole. */
export const describeError = (error: unknown): WorkerMessage => {
  if (error instanceof Corrupt) return { type: "corrupt", what: error.what, detail: error.detail }
  if (error instanceof Unavailable) {
    return { type: "unavailable", what: error.what, code: error.code, value: String(error.value) }
  }
  if (!(error instanceof Error)) return { type: "failed", name: "", message: String(error), code: undefined }
  const { name, message } = error
  return { type: "failed", name, message, code: (error as { readonly code?: unknown }).code }
}
