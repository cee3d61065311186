/**
 * Files as the worker has them: it may block, so everything is synchronous. It has no ports, and loads no Effect, which would
 * double the time that it takes to start.
 */
import * as fs from "node:fs"
import type { JobFile } from "./job.ts"

/** An open file; what fails throws the error of `node:fs`. */
export interface SyncFile extends JobFile {
  /** Makes what was written durable, and the thread wait for it. */
  readonly syncUnsafe: () => void
  /** The same by another thread; the file stays open until that has ended. */
  readonly sync: () => Promise<void>
  readonly closeUnsafe: () => void
}

/** Opens a file to read, or makes a private one to write, which must not be there. */
export const openSyncFile = (path: string, mode: "read" | "create"): SyncFile => {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW = 0 } = fs.constants
  const descriptor = fs.openSync(path, mode === "read" ? O_RDONLY | O_NOFOLLOW : O_RDWR | O_CREAT | O_EXCL, 0o600)
  return {
    readUnsafe: (buffer, start, end, position) => {
      let at = start
      while (at < end) {
        const count = fs.readSync(descriptor, buffer, at, end - at, position + at - start)
        if (count === 0) break
        at += count
      }
      return at - start
    },
    writeUnsafe: (buffer, start, end, position) => {
      for (let at = start; at < end; ) {
        const count = fs.writeSync(descriptor, buffer, at, end - at, position + at - start)
        if (count === 0) throw new Error(`nothing was written at ${position + at - start} of ${path}`)
        at += count
      }
    },
    sizeUnsafe: () => fs.fstatSync(descriptor).size,
    syncUnsafe: () => fs.fdatasyncSync(descriptor),
    sync: () =>
      new Promise((resolve, reject) => {
        fs.fdatasync(descriptor, (error) => (error === null || error === undefined ? resolve() : reject(error)))
      }),
    closeUnsafe: () => {
      try {
        fs.closeSync(descriptor)
      } catch {
        // What was written is synced by then, or nobody will use it.
      }
    },
  }
}
