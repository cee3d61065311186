/** From a request to the steps of its job. */
import { assert } from "../model/assert.ts"
import { compressSteps } from "./compress_steps.ts"
import { decompressSteps } from "./decompress_steps.ts"
import { checksumSteps, type JobFile, type JobMeans, type JobRequest, type JobResult, type Steps } from "./job.ts"

/** The files of a job; one that makes none has no target. */
export interface JobFiles<F extends JobFile = JobFile> {
  readonly source: F
  readonly target: F | undefined
}

/** Starts a job; `next` of the result does its work. */
export const startJob = (request: JobRequest, files: JobFiles, means: JobMeans): Steps<JobResult> => {
  const { source, target } = files
  if (request.kind === "checksum") return checksumSteps(source, request.job)
  assert(target !== undefined, "a job that makes a file has one to write into")
  if (request.kind === "compress") return compressSteps(source, target, means, request.job)
  return decompressSteps(source, target, means, request.job)
}
