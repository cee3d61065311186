/**
 * `<root>/LOCK`: one writer process for a root, by one protocol on every runtime.
 *
 * A claim is a private file, written whole, synced and, where the runtime can, flocked, before link(2) gives it the name that
 * counts; so a lock file is never half-written and, if it says so, never without its flock.
 *
 * Take-over, for a lock file of a dead holder with nonce N: take `LOCK.takeover.<N>` by this same procedure (and thereby from a
 * dead claimant too), read the lock file again, and only if it still says N rename the claim over it. Why one wins: the lock
 * file leaves N only by that rename, the claim on N has one owner at a time, and no nonce ever comes back, so an owner who sees
 * N holds the only right to the rename, and one who came late does not see N any more.
 *
 * Left-overs of killed contenders (`LOCK.*`) are removed by the next holder without asking: as long as it lives nobody may act
 * on them, and one whose private file vanished makes a new one.
 */
import * as fs from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { isDiskFull, Unavailable, unavailable } from "../model/errors.ts"
import { type HeldLock, type RootLock, reserveName } from "../port/root_lock.ts"
import type { RuntimeName } from "./detect.ts"
import type { LockHolder, ProcessIdentity, TryFlock, Verdict } from "./lock_holder.ts"
import { decodeHolder, encodeHolder, judge, ownIdentity } from "./lock_holder.ts"
import { networkFileSystemUnsafe } from "./network_file_system.ts"
import { callUnsafe, codeOf, systemError } from "./system_error.ts"

const lockName = "LOCK"
/** Each step back means that another contender has moved on, so this bounds a loop that is not expected to turn twice. */
const attemptsMax = 64
/** What is taken for a claim on a full disk: the file, and what the file system needs for it. */
const claimRoomBytes = 256 * 1024

/** Makes the lock of a runtime; `tryFlock` is undefined where the runtime has no flock(2). */
export const makeRootLock = (runtime: RuntimeName, tryFlock: TryFlock | undefined): RootLock => ({
  acquire: (root) =>
    Effect.acquireRelease(
      Effect.try({
        try: () => new Claim(root, runtime, tryFlock).take(),
        catch: (error) => systemError("taking the lock of the root", root, error),
      }),
      (claim) => Effect.sync(() => claim.release()),
    ),
})

/** Nonces of lock files that this process has given back and could not remove. */
const givenUp: Set<string> = new Set()

/** One contender for one root. */
class Claim implements HeldLock {
  readonly #root: string
  readonly #own: ProcessIdentity
  readonly #tryFlock: TryFlock | undefined
  #isLocal: boolean | undefined
  #nonce = ""
  #privatePath = ""
  #unlock: (() => void) | undefined
  /** Of the lock file when it was last read. */
  #mark: string | undefined

  constructor(root: string, runtime: RuntimeName, tryFlock: TryFlock | undefined) {
    this.#root = root
    this.#own = ownIdentity(runtime)
    this.#tryFlock = tryFlock
  }

  /** Takes the root, or throws `Unavailable`. */
  take(): this {
    try {
      this.#prepare()
      this.#acquire(this.#lockPath)
    } catch (error) {
      this.#discard()
      throw error
    }
    this.#clean()
    return this
  }

  /** As the port says. A file is read only when it is not the one that was read last. */
  checkUnsafe(): void {
    const mark = this.#look()
    if (mark === undefined) throw stale(this.#root, "there is no lock file any more")
    if (mark === this.#mark) return
    const holder = callUnsafe("looking at the lock of the root", this.#lockPath, () => this.#read(this.#lockPath))
    if (holder?.nonce !== this.#nonce) throw stale(this.#root, "the lock file there is that of another holder")
    this.#mark = mark
  }

  /** What tells the lock file from others; undefined when there is none. */
  #look(): string | undefined {
    try {
      const { dev, ino, mtimeNs, size } = fs.lstatSync(this.#lockPath, { bigint: true })
      return `${dev} ${ino} ${mtimeNs} ${size}`
    } catch (error) {
      if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) return undefined
      throw systemError("looking at the lock of the root", this.#lockPath, error)
    }
  }

  /** Gives the root back; never throws, for it runs when a scope closes. */
  release(): void {
    // One that cannot be removed now, or has gone elsewhere with its root, would keep this process out for as long as it lives.
    if (!this.#removeOwn(this.#lockPath)) givenUp.add(this.#nonce)
    this.#discard()
  }

  get #lockPath(): string {
    return join(this.#root, lockName)
  }

  /** Writes the private file that becomes the lock. */
  #prepare(): void {
    this.#discard()
    this.#nonce = makeNonce()
    const path = `${this.#lockPath}.claim.${this.#nonce}`
    try {
      this.#write(path)
    } catch (error) {
      this.#discard()
      if (!isDiskFull(systemError("taking the lock of the root", this.#root, error)) || !this.#makeRoom()) throw error
      this.#write(path)
    }
  }

  #write(path: string): void {
    // The name of the private file says nothing to whoever reads the error: it is the directory that does not take it.
    const descriptor = callUnsafe("taking the lock of the root", this.#root, () => fs.openSync(path, "wx", 0o600))
    this.#privatePath = path
    try {
      const lock = this.#tryFlock?.(path, "exclusive")
      this.#unlock = typeof lock === "function" ? lock : undefined
      fs.writeSync(descriptor, encodeHolder({ ...this.#own, nonce: this.#nonce, flock: this.#unlock !== undefined }))
      fs.fsyncSync(descriptor)
    } finally {
      fs.closeSync(descriptor)
    }
  }

  /** Takes a little of the room that a dead holder has kept for a full disk; false when there is none. Throws when the holder may be alive. */
  #makeRoom(): boolean {
    let descriptor: number | undefined
    try {
      descriptor = fs.openSync(join(this.#root, reserveName), fs.constants.O_RDWR | (fs.constants.O_NOFOLLOW ?? 0))
    } catch {
      // Who holds the root is told all the same.
    }
    try {
      // Judged behind the opening: the file of a holder that comes now is another one.
      const holder = this.#read(this.#lockPath)
      const verdict = holder && this.#judge(this.#lockPath, holder)
      if (holder !== undefined && verdict !== undefined && verdict !== "dead") {
        throw busy(this.#root, this.#lockPath, holder, verdict)
      }
      return descriptor !== undefined && verdict === "dead" && shorten(descriptor)
    } finally {
      if (descriptor !== undefined) fs.closeSync(descriptor)
    }
  }

  /** Makes `path` this claim's, or throws `Unavailable` with the living holder. */
  #acquire(path: string): void {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const code = this.#link(path)
      if (code === undefined) return
      if (code === "ENOENT") {
        // The holder of the moment has cleaned up behind the dead and took this file with it.
        this.#prepare()
        continue
      }
      const holder = this.#read(path)
      if (holder === undefined) continue
      const verdict = this.#judge(path, holder)
      if (verdict !== "dead") throw busy(this.#root, path, holder, verdict)
      if (this.#takeOver(path, holder.nonce)) return
    }
    throw unavailable(
      "taking the lock of the root",
      "EBUSY",
      `${this.#root}: other processes keep taking and leaving it`,
    )
  }

  #judge(path: string, holder: LockHolder): Verdict {
    if (givenUp.has(holder.nonce)) return "dead"
    return judge(holder, this.#own, { path, tryFlock: this.#tryFlock, isLocal: this.#isOnLocalDisk() })
  }

  /** Puts this claim in the place of the dead one with `nonce`; false when somebody else has been there. */
  #takeOver(path: string, nonce: string): boolean {
    const claimPath = `${this.#lockPath}.takeover.${nonce}`
    try {
      this.#acquire(claimPath)
    } catch (error) {
      if (error instanceof Unavailable && error.code === "EBUSY" && this.#read(path)?.nonce !== nonce) return false
      throw error
    }
    try {
      if (this.#read(path)?.nonce === nonce) {
        fs.renameSync(claimPath, path)
        return this.#read(path)?.nonce === this.#nonce
      }
    } catch (error) {
      this.#removeOwn(claimPath)
      // Cleaned away by a holder that this one did not see: look again.
      if (codeOf(error) === "ENOENT") return false
      throw error
    }
    this.#removeOwn(claimPath)
    return false
  }

  #link(path: string): string | undefined {
    try {
      fs.linkSync(this.#privatePath, path)
      return undefined
    } catch (error) {
      const code = codeOf(error)
      if (code === "EEXIST" || (code === "ENOENT" && fs.existsSync(this.#root))) return code
      throw error
    }
  }

  /** What the lock file says; undefined when it is gone. */
  #read(path: string): LockHolder | undefined {
    let text: string
    try {
      text = readSmall(path)
    } catch (error) {
      const code = codeOf(error)
      if (code === "ENOENT") return undefined
      if (code === "ELOOP" || code === "EISDIR") throw noLockFile(this.#root, path, code)
      throw systemError("reading the lock file", path, error)
    }
    const holder = decodeHolder(text)
    if (holder === undefined) throw unreadable(this.#root, path, text)
    return holder
  }

  /** False when it may still be there, or somewhere else. What stays names a process that will be gone, and is taken over. */
  #removeOwn(path: string): boolean {
    try {
      if (this.#read(path)?.nonce !== this.#nonce) return false
      fs.unlinkSync(path)
      return true
    } catch {
      return false
    }
  }

  /** Removes the private name and lets go of the flock; the file stays under the names it was linked to. */
  #discard(): void {
    if (this.#privatePath !== "") unlinkQuietly(this.#privatePath)
    this.#privatePath = ""
    this.#unlock?.()
    this.#unlock = undefined
  }

  #clean(): void {
    try {
      for (const name of fs.readdirSync(this.#root)) {
        if (name.startsWith(`${lockName}.claim.`) || name.startsWith(`${lockName}.takeover.`)) {
          unlinkQuietly(join(this.#root, name))
        }
      }
    } catch {
      // Litter does no harm, and the next holder tries again.
    }
  }

  #isOnLocalDisk(): boolean {
    this.#isLocal ??= networkFileSystemUnsafe(this.#root) === undefined
    return this.#isLocal
  }
}

/** Takes a little from the end of a file; false when it is empty, or no file. */
const shorten = (descriptor: number): boolean => {
  try {
    const { size } = fs.fstatSync(descriptor)
    fs.ftruncateSync(descriptor, Math.max(0, size - claimRoomBytes))
    return size > 0
  } catch {
    return false
  }
}

/** Unique, not secret: process, nanoseconds and chance. The cryptographic source takes 8 ms to load on Node. */
const makeNonce = (): string => {
  const parts = [process.pid, Number(process.hrtime.bigint() & 0xffffffffn), chance(), chance()]
  return parts.map((part) => part.toString(16).padStart(8, "0")).join("")
}

const chance = (): number => Math.floor(Math.random() * 2 ** 32)

/** What a lock file says is far shorter; one that is not may have any length. */
const lockBytesMax = 4096

const readSmall = (path: string): string => {
  const descriptor = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NOFOLLOW ?? 0))
  try {
    const bytes = new Uint8Array(lockBytesMax)
    return new TextDecoder().decode(bytes.subarray(0, fs.readSync(descriptor, bytes, 0, bytes.length, 0)))
  } finally {
    fs.closeSync(descriptor)
  }
}

const unlinkQuietly = (path: string): void => {
  try {
    fs.unlinkSync(path)
  } catch {
    // Already gone, or litter that does no harm.
  }
}

const busy = (root: string, path: string, holder: LockHolder, verdict: "alive" | "unknown"): Unavailable => {
  const who =
    holder.pid === process.pid && verdict === "alive"
      ? `this process (pid ${holder.pid}), which has it open already`
      : `process ${holder.pid} (${holder.runtime})`
  const message =
    verdict === "alive"
      ? `the root ${JSON.stringify(root)} is held by ${who}`
      : `the root ${JSON.stringify(root)} is held by ${who}, and it cannot be told from here whether that process still lives; ` +
        `if it does not, remove ${JSON.stringify(path)}`
  const { pid, processStartTime, bootId, runtime } = holder
  return new Unavailable({
    message,
    what: "lock of the root",
    value: root,
    limit: "one process",
    code: "EBUSY",
    holder: { pid, processStartTime, bootId, runtime },
  })
}

const stale = (root: string, why: string): Unavailable =>
  new Unavailable({
    message:
      `the root ${JSON.stringify(root)}, or its lock file, was moved away or removed while it was open: ${why}; ` +
      "nothing more is written there; close the manager, and open the root where it is now",
    what: "root",
    value: root,
    limit: "the directory that was opened",
    code: "ESTALE",
  })

const noLockFile = (root: string, path: string, code: "ELOOP" | "EISDIR"): Unavailable =>
  new Unavailable({
    message:
      `the root ${JSON.stringify(root)} has ${code === "ELOOP" ? "a symbolic link" : "a directory"} in place of its lock file (${code}); ` +
      `if no process has the root open, remove ${JSON.stringify(path)}`,
    what: "lock of the root",
    value: path,
    limit: "a lock file written by this package",
    code,
  })

const unreadable = (root: string, path: string, text: string): Unavailable =>
  new Unavailable({
    message:
      `the root ${JSON.stringify(root)} has a lock file that names no process (${text.length} characters); ` +
      `if no process has the root open, remove ${JSON.stringify(path)}`,
    what: "lock of the root",
    value: root,
    limit: "a lock file written by this package",
    code: "EBUSY",
  })
