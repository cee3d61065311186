/** What the files, directories and processes of one memory disk share, and the one place where each operation is announced. */
import { Unavailable, unavailable } from "../model/errors.ts"
import type { MemoryInode } from "./memory_inode.ts"
import type { MemoryFolder, MemoryNode } from "./memory_tree.ts"
import { MemoryTree } from "./memory_tree.ts"

/** What a disk is asked to do. */
export type DiskOperationKind =
  | "open"
  | "create"
  | "read"
  | "write"
  | "syncData"
  | "zeroFill"
  | "truncate"
  | "rename"
  | "link"
  | "sizeOf"
  | "list"
  | "readFile"
  | "makeDirectory"
  | "remove"
  | "removeDirectory"
  | "syncDirectory"
  | "syncFileSystem"

/** One operation, announced before it has any effect. */
export interface DiskOperation {
  /** Counts from 1 over the life of the disk. */
  readonly sequence: number
  /** What is asked. */
  readonly kind: DiskOperationKind
  /** The file or directory that it concerns. */
  readonly path: string
  /** Where it goes, for a rename or a link. */
  readonly target: string | undefined
  /** First byte, or the new length of a truncation. */
  readonly from: number
  /** End of the bytes. */
  readonly to: number
  /** What a write would put there, as a view for the time of the call; undefined for everything else. */
  readonly content?: Uint8Array | undefined
}

/** What an operation off the main thread is asked with. */
export interface DiskRequest {
  readonly kind: DiskOperationKind
  readonly path: string
  readonly from?: number
  readonly to?: number
  readonly target?: string
  readonly content?: Uint8Array
}

/** The code that an operation fails with, such as `EIO`; nothing lets it pass. */
export type DiskFault = string | undefined | void

/** Settings of a memory disk. */
export interface MemoryDiskOptions {
  /** Bytes that all files together may have; more is `ENOSPC`. Unlimited by default. */
  readonly capacityBytes?: number
  /** False keeps no account of syncs, which makes writes cheaper; then a crash loses nothing. True by default. */
  readonly modelsCrashes?: boolean
  /** False makes `mapUnsafe` undefined, as on Node. True by default: the view is the file's own memory. */
  readonly mapsFiles?: boolean
  /** True lets the main thread sync files by itself; then no such sync can be held. False by default. */
  readonly syncsAtOnce?: boolean
  /** From so many files on they are written and synced in batches; never by default. */
  readonly batchFilesMin?: number | undefined
  /** How the event loop turns; the runtime's own by default. Everything asynchronous ends in a later turn. */
  readonly nextTurn?: (callback: () => void) => void
}

export class DiskState {
  readonly options: MemoryDiskOptions
  readonly nextTurn: (callback: () => void) => void
  tree: MemoryTree = new MemoryTree()
  /** Rises with each crash and kill; what was opened before is dead. */
  generation = 1
  usedBytes = 0
  sequence = 0
  readonly locks: Map<string, number> = new Map()
  onOperation: ((operation: DiskOperation) => DiskFault | Promise<DiskFault>) | undefined

  constructor(options: MemoryDiskOptions) {
    this.options = options
    // tidy: allow timer because a turn of the event loop is no time, and nothing else is after the microtasks.
    this.nextTurn = options.nextTurn ?? ((callback) => void setImmediate(callback))
  }

  get isModelled(): boolean {
    return this.options.modelsCrashes !== false
  }

  /** Announces an operation; a promise holds it until settled. */
  announce(
    kind: DiskOperationKind,
    path: string,
    from = 0,
    to = 0,
    what: { readonly target?: string | undefined; readonly content?: Uint8Array | undefined } = {},
  ): DiskFault | Promise<DiskFault> {
    this.sequence++
    const { target, content } = what
    return this.onOperation?.({ sequence: this.sequence, kind, path, target, from, to, content })
  }

  /** Announces a synchronous operation, which cannot be held; throws `Unavailable` when the hook says so. */
  announceUnsafe(
    kind: DiskOperationKind,
    path: string,
    from = 0,
    to = 0,
    what: { readonly target?: string | undefined; readonly content?: Uint8Array | undefined } = {},
  ): void {
    if (this.onOperation === undefined) {
      this.sequence++
      return
    }
    const fault = this.faultUnsafe(kind, path, from, to, what)
    if (fault !== undefined) throw unavailable(kind, fault, path)
  }

  /** Announces a synchronous operation; returns the code that it fails with, if any. */
  faultUnsafe(...operation: Parameters<DiskState["announce"]>): string | undefined {
    const fault = this.announce(...operation)
    if (typeof fault === "string") return fault
    if (fault === undefined) return undefined
    throw new Error(`assertion failed: the synchronous operation ${operation[0]} cannot be held`)
  }

  /** Throws `Unavailable` with `EIO` in a process that a crash or kill has ended. */
  checkAlive(generation: number, operation: string, path: string): void {
    if (generation !== this.generation) throw unavailable(operation, "EIO", path)
  }

  /** Accounts for a file's new length, or throws `Unavailable` with `ENOSPC`. */
  reserve(file: MemoryInode, size: number, path: string): void {
    const added = size - file.size
    if (added > 0 && this.usedBytes + added > (this.options.capacityBytes ?? Number.POSITIVE_INFINITY)) {
      throw unavailable("writing", "ENOSPC", path)
    }
    this.usedBytes += added
  }

  /** Drops one name or handle of a file; the last one frees its bytes. */
  release(file: MemoryInode): void {
    file.holders--
    if (file.holders === 0) this.usedBytes -= file.size
  }

  /** After the tree was replaced or all handles died: counts names and bytes again. */
  recount(): void {
    this.usedBytes = 0
    for (const file of this.tree.allFiles()) file.holders = 0
    const visit = (folder: MemoryFolder): void => {
      for (const node of folder.entries.values()) {
        if (node.kind === "directory") visit(node)
        else if (node.holders++ === 0) this.usedBytes += node.size
      }
    }
    visit(this.tree.root)
  }

  /** Finds what a path names; undefined when it is missing, `ENOTDIR` when it leads through a file. */
  find(operation: string, path: string): MemoryNode | undefined {
    let node: MemoryNode = this.tree.root
    for (const name of partsOf(path)) {
      if (node.kind === "file") throw unavailable(operation, "ENOTDIR", path)
      const next = node.entries.get(name)
      if (next === undefined) return undefined
      node = next
    }
    return node
  }

  /** The directory that has or would have the path's last name; throws `ENOENT` or `ENOTDIR`. */
  parentOf(operation: string, path: string): { readonly folder: MemoryFolder; readonly name: string } {
    const parts = partsOf(path)
    const name = parts.pop()
    if (name === undefined) throw unavailable(operation, "EISDIR", path)
    const folder = this.find(operation, parts.join("/"))
    if (folder === undefined) throw unavailable(operation, "ENOENT", path)
    if (folder.kind === "file") throw unavailable(operation, "ENOTDIR", path)
    return { folder, name }
  }
}

/** The names on a path; `a//b/.` is `a/b`. */
export const partsOf = (path: string): Array<string> => {
  const parts: Array<string> = []
  for (const part of path.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts
}

/** What a thrown value is as an error of a port; what is not `Unavailable` is a mistake and goes on. */
export const asUnavailable = (error: unknown): Unavailable => {
  if (error instanceof Unavailable) return error
  throw error
}
