/**
 * Who holds a root: what a lock file says, what this process would say, and whether a holder still lives.
 *
 * Invariants: `dead` is said only when it is proven; what cannot be told (a value that the system or Deno's permissions hide, a
 * process of another pid namespace) is `unknown`, never `dead`.
 */
import * as fs from "node:fs"
import type { RootHolder } from "../model/errors.ts"
import type { RuntimeName } from "./detect.ts"
import { codeOf } from "./system_error.ts"

/** The content of a lock file: one line of JSON. Empty strings are values that were not to be had. */
export interface LockHolder extends RootHolder {
  /** The inode of the pid namespace on Linux, `host` on systems without. */
  readonly pidNamespace: string
  /** 32 hexadecimal digits, new for each claim. */
  readonly nonce: string
  /** Whether the holder has an flock(2) on the file for as long as it lives. */
  readonly flock: boolean
}

/** Takes a lock on an own descriptor of the file: how to release it, `busy`, or `unsupported` where it cannot be done. */
export type TryFlock = (path: string, mode: "exclusive" | "shared") => (() => void) | "busy" | "unsupported"

/** Whether the holder of a lock file lives. */
export type Verdict = "alive" | "dead" | "unknown"

/** What this process would write, without a claim. */
export type ProcessIdentity = Omit<LockHolder, "nonce" | "flock">

/** Describes this process; what cannot be read is empty. */
export const ownIdentity = (runtime: RuntimeName): ProcessIdentity => ({
  pid: process.pid,
  processStartTime: readProcess("self")?.startTime ?? "",
  bootId: quiet(() => fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()) ?? "",
  pidNamespace: process.platform === "linux" ? (quiet(() => fs.readlinkSync("/proc/self/ns/pid")) ?? "") : "host",
  runtime,
})

/** The text of a lock file. */
export const encodeHolder = (holder: LockHolder): string => `${JSON.stringify(holder)}\n`

/** Reads the text of a lock file; undefined when it is not one. */
export const decodeHolder = (text: string): LockHolder | undefined => {
  const value: unknown = quiet(() => JSON.parse(text))
  if (typeof value !== "object" || value === null) return undefined
  const { pid, processStartTime, bootId, pidNamespace, nonce, runtime, flock } = value as Record<string, unknown>
  const isWhole =
    Number.isSafeInteger(pid) &&
    (pid as number) > 0 &&
    typeof processStartTime === "string" &&
    typeof bootId === "string" &&
    typeof pidNamespace === "string" &&
    typeof runtime === "string" &&
    typeof flock === "boolean" &&
    typeof nonce === "string" &&
    /^[0-9a-f]{32}$/.test(nonce)
  if (!isWhole) return undefined
  return { pid: pid as number, processStartTime, bootId, pidNamespace, runtime, nonce, flock }
}

/**
 * Judges the holder that the lock file at `path` names. `isLocal` says that no other machine shares the file system: only then
 * does another boot id mean that the holder's machine was started anew.
 */
export const judge = (
  holder: LockHolder,
  own: ProcessIdentity,
  options: { readonly path: string; readonly tryFlock: TryFlock | undefined; readonly isLocal: boolean },
): Verdict => {
  if (holder.flock && options.tryFlock) {
    // Shared, so that contenders who look at the same time do not take each other for the holder.
    const lock = options.tryFlock(options.path, "shared")
    if (lock === "busy") return "alive"
    if (lock !== "unsupported") {
      lock()
      return "dead"
    }
  }
  if (holder.bootId !== "" && own.bootId !== "" && holder.bootId !== own.bootId)
    return options.isLocal ? "dead" : "unknown"
  if (holder.pidNamespace !== own.pidNamespace && holder.pidNamespace !== "" && own.pidNamespace !== "")
    return "unknown"
  const verdict = judgeProcess(holder)
  // A pid that is gone proves nothing when it may have been counted in another namespace.
  const isSameNamespace = holder.pidNamespace !== "" && own.pidNamespace !== ""
  return verdict === "dead" && !isSameNamespace ? "unknown" : verdict
}

const judgeProcess = (holder: LockHolder): Verdict => {
  if (holder.pid !== process.pid) {
    try {
      process.kill(holder.pid, 0)
    } catch (error) {
      const code = codeOf(error)
      if (code === "ESRCH") return "dead"
      // EPERM: it is there and belongs to someone else. Anything else is Deno denying the question.
      if (code !== "EPERM") return "unknown"
    }
  }
  const found = readProcess(holder.pid)
  if (found === undefined) return "alive"
  // A zombie has released all it had, and only its parent has not yet asked for its exit code; but a process looks the same when
  // its first thread has ended and another one is still in a write, as it happens to one that is being killed.
  if (found.state === "Z" || found.state === "X") return found.threads <= 1 ? "dead" : "alive"
  return holder.processStartTime !== "" && holder.processStartTime !== found.startTime ? "dead" : "alive"
}

interface ProcessStatus {
  readonly state: string
  /** Those that have not ended; a zombie is counted as one. */
  readonly threads: number
  /** Clock ticks since boot. */
  readonly startTime: string
}

/** From `/proc/<pid>/stat`: fields 3, 20 and 22 of proc(5). */
const readProcess = (pid: number | "self"): ProcessStatus | undefined => {
  const text = quiet(() => fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  if (text === undefined) return undefined
  // The second field is the program's name in brackets, and may itself hold blanks and brackets.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
  const [state, threads, startTime] = [fields[0], fields[17], fields[19]]
  if (state === undefined || startTime === undefined) return undefined
  return { state, threads: Number(threads), startTime }
}

const quiet = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}
