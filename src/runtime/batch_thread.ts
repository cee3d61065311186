/**
 * The thread that writes batches. It blocks with each call, so that the main thread does not: to make a file with its directories, to write and to
 * close it are six calls, and handing each over and hearing of its end would take longer than the call.
 */
import * as fs from "node:fs"
import { dirname } from "node:path"
import { parentPort } from "node:worker_threads"
import type { BatchFile, BatchOutcome } from "../port/batch_writer.ts"
import type { BatchMessage, BatchRequest } from "./batch_messages.ts"
import { findSyncfs } from "./syncfs.ts"

const { O_RDWR, O_CREAT, O_DIRECTORY = 0, O_NOFOLLOW = 0, O_RDONLY } = fs.constants
const syncfs = findSyncfs()

const answer = ({ files, bytes, descriptor }: BatchRequest): BatchMessage => {
  const isWhole = descriptor !== undefined && syncfs !== undefined
  const outcomes = files.map((file) => writeOne(file, bytes, isWhole))
  if (!isWhole) {
    const folders = files.filter((_, index) => outcomes[index] === "durable").flatMap(foldersOf)
    return { type: "done", outcomes: syncFolders(folders) ? outcomes : lost(outcomes), wholeMs: undefined }
  }
  const started = performance.now()
  const isSynced = syncfs(descriptor) === 0
  const wholeMs = performance.now() - started
  return { type: "done", outcomes: isSynced ? outcomes : lost(outcomes), wholeMs }
}

/** A sync that failed may have lost whatever was written. */
const lost = (outcomes: ReadonlyArray<BatchOutcome>): ReadonlyArray<BatchOutcome> =>
  outcomes.map((outcome) => (outcome === "durable" ? "lost" : outcome))

const writeOne = ({ path, isNew, folders, pieces }: BatchFile, bytes: Uint8Array, isWhole: boolean): BatchOutcome => {
  let descriptor: number | undefined
  let isSyncing = false
  try {
    if (isNew) for (const folder of folders) makeFolder(folder)
    descriptor = fs.openSync(path, O_RDWR | O_NOFOLLOW | (isNew ? O_CREAT : 0), 0o600)
    for (const { from, to, position } of pieces) writeAll(descriptor, bytes.subarray(from, to), position)
    isSyncing = !isWhole
    if (isSyncing) fs.fdatasyncSync(descriptor)
    return "durable"
  } catch {
    return isSyncing ? "lost" : "failed"
  } finally {
    if (descriptor !== undefined) close(descriptor)
  }
}

/** The syncs say whether anything was lost. */
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

/** The directories of new files and those that these are in. */
const foldersOf = ({ folders }: BatchFile): ReadonlyArray<string> =>
  folders.flatMap((folder) => [dirname(folder), folder])

const syncFolders = (folders: ReadonlyArray<string>): boolean => {
  try {
    for (const folder of new Set(folders)) {
      const descriptor = fs.openSync(folder, O_RDONLY | O_DIRECTORY)
      try {
        fs.fsyncSync(descriptor)
      } finally {
        close(descriptor)
      }
    }
    return true
  } catch {
    return false
  }
}

parentPort?.on("message", (request: BatchRequest) => {
  parentPort?.postMessage(answer(request))
})
parentPort?.postMessage({ type: "ready" } satisfies BatchMessage)
