/**
 * The sync of a directory, which needs a descriptor for a moment: without it nothing that was written becomes durable, and those who wait for it
 * hold descriptors. So one is kept for the time when there is no other.
 */
import * as fs from "node:fs"
import type * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import { callAsync, codeOf } from "./system_error.ts"

/** Called with a descriptor that is to be synced; `isSpare` when it took the place of the one that is kept. */
type Opened = (error: unknown, descriptor?: number, isSpare?: boolean) => void

const flags = fs.constants.O_RDONLY | (fs.constants.O_DIRECTORY ?? 0)

/** The descriptor that is kept; undefined when it could not be had. */
let spare: number | undefined
/** True while a directory is synced through it. */
let isUsed = false
/** True when it is one of a directory, which is not to be held for long. */
let isDirectory = false
/** Who waits for it. */
const waiting: Array<() => void> = []

/** Makes the entries of a directory durable. */
export const syncDirectory = (path: string): Effect.Effect<void, Unavailable> =>
  callAsync("syncing a directory", path, (done) => {
    const opened: Opened = (error, descriptor, isSpare = false) => {
      if (error) return done(error)
      fs.fsync(descriptor!, (syncError) => {
        if (!isSpare) return fs.close(descriptor!, (closeError) => done(syncError ?? closeError))
        // Not closed: somebody else would have it at once.
        next()
        done(syncError)
      })
    }
    keepSpare()
    fs.open(path, flags, (error, descriptor) => {
      if (!["EMFILE", "ENFILE"].includes(codeOf(error) ?? "")) opened(error, descriptor)
      else if (isUsed) waiting.push(() => openWithSpare(path, opened))
      else openWithSpare(path, opened, error)
    })
  })

/** Nothing comes between closing the one and opening the other but other threads. */
const openWithSpare = (path: string, opened: Opened, cause?: unknown): void => {
  if (spare === undefined && cause !== undefined) return opened(cause)
  isUsed = true
  if (spare !== undefined) fs.closeSync(spare)
  spare = undefined
  try {
    spare = fs.openSync(path, flags)
    isDirectory = true
  } catch (error) {
    next()
    return opened(error)
  }
  opened(null, spare, true)
}

const next = (): void => {
  isUsed = false
  waiting.shift()?.()
}

const keepSpare = (): void => {
  if (isUsed || (spare !== undefined && !isDirectory)) return
  try {
    const descriptor = fs.openSync("/dev/null", "r")
    if (spare !== undefined) fs.closeSync(spare)
    spare = descriptor
    isDirectory = false
  } catch {
    // What is kept, if anything, will do.
  }
}
