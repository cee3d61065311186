/**
 * A disk in memory: the ports without a file system, for stores that need not outlive the process and for tests that cut the
 * power. It is deterministic: no clock, no chance, and time passes only in turns of the event loop.
 *
 * It is as unkind as a disk may be. A write is durable when a sync of that file, begun after it, has ended well; a directory
 * entry when a sync of its directory has. Until then a power cut keeps or drops each 512-byte sector and each entry on its own.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import { addInlineCompressor } from "../compressor/compressor.ts"
import type { Compressor } from "../port/compressor.ts"
import { Directory } from "../port/directory.ts"
import { EventLoop } from "../port/event_loop.ts"
import { RootLock } from "../port/root_lock.ts"
import type { FileCandidate } from "./memory_inode.ts"
import { MemoryProcess } from "./memory_process.ts"
import type { DiskFault, DiskOperation, MemoryDiskOptions } from "./memory_state.ts"
import { DiskState } from "./memory_state.ts"
import type { EntryCandidate } from "./memory_tree.ts"

export type { FileCandidate } from "./memory_inode.ts"
export type { DiskFault, DiskOperation, DiskOperationKind, MemoryDiskOptions } from "./memory_state.ts"
export type { EntryCandidate } from "./memory_tree.ts"

/** Something that a power cut may keep or drop: a sector, a change of length, a directory entry. */
export type CrashCandidate = FileCandidate | EntryCandidate

/** A disk and the processes that use it, one after the other or at once. */
export class MemoryDisk {
  /**
   * The ports as a process sees them, for as long as it lives: each time the layer is built a new process starts, and after
   * `crash` or `kill` everything of the earlier ones fails with `EIO`.
   */
  readonly layer: Layer.Layer<Directory | RootLock | EventLoop | Compressor>
  readonly #state: DiskState

  /** Makes an empty disk. */
  constructor(options: MemoryDiskOptions = {}) {
    this.#state = new DiskState(options)
    this.layer = Layer.syncContext(() => this.services())
  }

  /** The same as `layer`, as a value. */
  services(): Context.Context<Directory | RootLock | EventLoop | Compressor> {
    const process = new MemoryProcess(this.#state)
    return Context.make(Directory, process.directory).pipe(
      Context.add(RootLock, process.lock),
      Context.add(EventLoop, { nextTurn: this.#state.nextTurn }),
      addInlineCompressor,
    )
  }

  /**
   * Called with each operation before it has an effect. A returned code makes it fail with that code and without effect, and a
   * failed sync loses what it covered for good; a promise holds it until it settles, which synchronous ones cannot be.
   */
  get onOperation(): ((operation: DiskOperation) => DiskFault | Promise<DiskFault>) | undefined {
    return this.#state.onOperation
  }

  set onOperation(hook: ((operation: DiskOperation) => DiskFault | Promise<DiskFault>) | undefined) {
    this.#state.onOperation = hook
  }

  /** Operations so far. */
  get operationCount(): number {
    return this.#state.sequence
  }

  /** Bytes of all files that have a name or a handle. */
  get usedBytes(): number {
    return this.#state.usedBytes
  }

  /** The bytes of a file as they are now, in memory of their own; undefined when there is none of that name. */
  contentOf(path: string): Uint8Array | undefined {
    const node = this.#state.find("reading", path)
    return node?.kind === "file" ? node.bytes.slice(0, node.size) : undefined
  }

  /** Paths of all files, in order. */
  paths(): ReadonlyArray<string> {
    return this.#state.tree.paths()
  }

  /** Puts bytes into a file behind everybody's back, as a medium does that fails: no sync is needed. They must lie within the file. */
  damage(path: string, position: number, bytes: Uint8Array): void {
    const node = this.#state.find("damaging", path)
    if (node?.kind !== "file" || position + bytes.length > node.size)
      throw new Error(`there are no such bytes in ${path}`)
    node.bytes.set(bytes, position)
  }

  /** What a power cut now could keep or drop, in the order in which `crash` asks. */
  candidates(): ReadonlyArray<CrashCandidate> {
    const { tree } = this.#state
    return [...tree.candidates(), ...tree.allFiles().flatMap((file) => file.candidates())]
  }

  /** Cuts the power: of what is not durable only what `choose` keeps is there afterwards. All processes end. */
  crash(choose: (candidate: CrashCandidate) => boolean): void {
    const state = this.#state
    const files = state.tree.allFiles()
    state.tree.crash(choose)
    for (const file of files) file.crash(choose)
    this.#endProcesses()
  }

  /** Ends all processes; whatever they have written stays, in memory of the system and as unsynced as it was. */
  kill(): void {
    this.#endProcesses()
  }

  /** An equal disk without processes and hooks, to try different ends of one history; this one goes on. */
  fork(): MemoryDisk {
    const copy = new MemoryDisk(this.#state.options)
    copy.#state.tree = this.#state.tree.clone()
    copy.#state.sequence = this.#state.sequence
    copy.#state.recount()
    return copy
  }

  #endProcesses(): void {
    this.#state.generation++
    this.#state.locks.clear()
    this.#state.recount()
  }
}

/** A new memory disk for each time the layer is built, without an account of syncs: what `./memory` runs on. */
export const layerMemory: Layer.Layer<Directory | RootLock | EventLoop | Compressor> = Layer.syncContext(() =>
  new MemoryDisk({ modelsCrashes: false }).services(),
)
