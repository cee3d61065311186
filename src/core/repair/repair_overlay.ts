/**
 * A directory tree that can be changed without changing the disk: what a repair would do is done here, and then told. Reads go through to
 * the disk where nothing was changed; what is written stays in memory, by page.
 */
import * as Effect from "effect/Effect"
import { isMissingFile, type Unavailable, unavailable } from "../../model/errors.ts"
import { absolutePath, type Directory, type DirectoryEntry, type OpenMode } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { attempt, caught } from "../flow/attempt.ts"
import { OverlayFile, OverlayNode } from "./repair_overlay_file.ts"

/** How a path of the disk would be different. */
export interface OverlayChange {
  readonly path: string
  readonly change: "written" | "removed" | "moved here"
}

/** The tree as it would be. */
export class Overlay {
  readonly directory: Directory
  readonly #disk: Directory
  /** Files that were made, changed or moved, by their path now. */
  readonly #files: Map<string, OverlayNode> = new Map()
  readonly #folders: Set<string> = new Set()
  /** Paths of the disk, files and whole folders, that are not there any more. */
  readonly #gone: Set<string> = new Set()

  constructor(disk: Directory) {
    this.#disk = disk
    this.directory = {
      absoluteUnsafe: (path) => absolutePath(disk, path),
      openUnsafe: (path, mode) => this.#open(path, mode),
      open: (path, mode) => attempt(() => this.#open(path, mode)) as Effect.Effect<SegmentFile, Unavailable>,
      renameUnsafe: (from, to) => this.#move(from, to, this.#nodeUnsafe(from)),
      rename: (from, to) => this.#rename(from, to),
      link: (from, to) => this.#link(from, to),
      sizeOf: (path) => Effect.map(this.#find(path), (node) => node?.sizeBytes),
      list: (path) => this.#list(path),
      listUnsafe: (path) => this.#merge(path, this.#isGone(path) ? [] : disk.listUnsafe(path)),
      readFile: (path) => this.#readFile(path),
      makeDirectory: (path) => Effect.sync(() => void this.#folders.add(path)),
      makeDirectoryUnsafe: (path) => void this.#folders.add(path),
      makeSubdirectory: (path) => Effect.sync(() => void this.#folders.add(path)),
      remove: (path) => Effect.sync(() => this.#remove(path)),
      removeDirectory: (path) => Effect.sync(() => this.#removeBelow(path)),
      sync: () => Effect.void,
      kind: (path) => this.#kind(path),
      reclaimUnsafe: () => {},
      isLink: (path) => (this.#isGone(path) ? Effect.succeed(false) : disk.isLink(path)),
      networkFileSystem: (path) => disk.networkFileSystem(path),
    }
  }

  /** What is different from the disk, in order of path. */
  changes(): ReadonlyArray<OverlayChange> {
    const changes: Array<OverlayChange> = []
    for (const [path, node] of this.#files) {
      const change = node.base !== undefined && node.base !== path ? "moved here" : "written"
      if (node.isChanged || node.base !== path) changes.push({ path, change })
    }
    for (const path of this.#gone) {
      if (!this.#files.has(path) && this.#isOnDisk(path)) changes.push({ path, change: "removed" })
    }
    return changes.sort((one, other) => (one.path < other.path ? -1 : 1))
  }

  /** A temporary file that came and went was never there. */
  #isOnDisk(path: string): boolean {
    const error = caught(() => this.#disk.openUnsafe(path, "read").closeUnsafe())
    return error === undefined || !isMissingFile(error)
  }

  #open(path: string, mode: OpenMode): SegmentFile {
    const found = this.#nodeUnsafe(path)
    if (mode === "create") {
      if (found !== undefined) throw unavailable("opening to create", "EEXIST", path)
      const made = new OverlayNode(undefined, 0)
      this.#files.set(path, made)
      return this.#fileOf(path, made, true)
    }
    if (found === undefined) throw unavailable(`opening to ${mode}`, "ENOENT", path)
    if (mode === "write") this.#files.set(path, found)
    return this.#fileOf(path, found, mode === "write")
  }

  #fileOf(path: string, node: OverlayNode, isWritable: boolean): SegmentFile {
    return new OverlayFile(path, node, { openBase: (base) => this.#disk.openUnsafe(base, "read"), isWritable })
  }

  /** The node of a path, looked for on the disk now; undefined when there is no such file. */
  #nodeUnsafe(path: string): OverlayNode | undefined {
    const known = this.#files.get(path)
    if (known !== undefined || this.#isGone(path)) return known
    let size: number | undefined
    const error = caught(() => {
      const file = this.#disk.openUnsafe(path, "read")
      size = file.sizeUnsafe()
      file.closeUnsafe()
    })
    if (error !== undefined && !isMissingFile(error)) throw error
    return size === undefined ? undefined : new OverlayNode(path, size)
  }

  #find(path: string): Effect.Effect<OverlayNode | undefined, Unavailable> {
    const known = this.#files.get(path)
    if (known !== undefined || this.#isGone(path)) return Effect.succeed(known)
    return Effect.map(this.#disk.sizeOf(path), (size) => (size === undefined ? undefined : new OverlayNode(path, size)))
  }

  /** True when a path of the disk, or a folder above it, is not there any more. */
  #isGone(path: string): boolean {
    if (this.#gone.size === 0) return false
    for (let at = path; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/"))))
      if (this.#gone.has(at)) return true
    return false
  }

  #remove(path: string): void {
    this.#files.delete(path)
    this.#gone.add(path)
  }

  #removeBelow(path: string): void {
    for (const one of [...this.#files.keys()]) if (one.startsWith(`${path}/`)) this.#files.delete(one)
    for (const one of [...this.#folders]) if (one === path || one.startsWith(`${path}/`)) this.#folders.delete(one)
    this.#gone.add(path)
  }

  #move(from: string, to: string, node: OverlayNode | undefined): void {
    if (node === undefined) throw unavailable(`renaming to ${JSON.stringify(to)}`, "ENOENT", from)
    this.#remove(from)
    this.#files.set(to, node)
  }

  #rename(from: string, to: string): Effect.Effect<void, Unavailable> {
    return Effect.gen({ self: this }, function* () {
      if ((yield* this.#kind(from)) !== "directory") return this.#move(from, to, yield* this.#find(from))
      yield* this.#moveFolder(from, to)
      this.#removeBelow(from)
    })
  }

  #moveFolder(from: string, to: string): Effect.Effect<void, Unavailable> {
    return Effect.gen({ self: this }, function* () {
      this.#folders.add(to)
      for (const { name, isDirectory } of yield* this.#list(from)) {
        const node = isDirectory ? undefined : yield* this.#find(`${from}/${name}`)
        if (isDirectory) yield* this.#moveFolder(`${from}/${name}`, `${to}/${name}`)
        else if (node !== undefined) this.#files.set(`${to}/${name}`, node)
      }
    })
  }

  #link(from: string, to: string): Effect.Effect<void, Unavailable> {
    return Effect.gen({ self: this }, function* () {
      const node = yield* this.#find(from)
      if (node === undefined) return yield* Effect.fail(unavailable("linking", "ENOENT", from))
      if ((yield* this.#find(to)) !== undefined) return yield* Effect.fail(unavailable("linking", "EEXIST", to))
      this.#files.set(from, node)
      this.#files.set(to, node)
    })
  }

  #readFile(path: string): Effect.Effect<Uint8Array | undefined, Unavailable> {
    return Effect.map(this.#find(path), (node) => {
      if (node === undefined) return undefined
      const file = this.#fileOf(path, node, false)
      const bytes = new Uint8Array(node.sizeBytes)
      file.readUnsafe(bytes, 0, bytes.length, 0)
      file.closeUnsafe()
      return bytes
    })
  }

  #list(path: string): Effect.Effect<ReadonlyArray<DirectoryEntry>, Unavailable> {
    const listed = this.#isGone(path) ? Effect.succeed([]) : this.#disk.list(path)
    return Effect.map(listed, (entries) => this.#merge(path, entries))
  }

  /** What is in a directory, given what of it is on the disk. */
  #merge(path: string, entries: ReadonlyArray<DirectoryEntry>): ReadonlyArray<DirectoryEntry> {
    const found = new Map<string, boolean>()
    for (const { name, isDirectory } of entries) if (!this.#isGone(`${path}/${name}`)) found.set(name, isDirectory)
    const add = (one: string, isFolder: boolean): void => {
      if (!one.startsWith(`${path}/`)) return
      const [name, ...rest] = one.slice(path.length + 1).split("/")
      found.set(name!, isFolder || rest.length > 0)
    }
    for (const one of this.#files.keys()) add(one, false)
    for (const one of this.#folders) add(one, true)
    return [...found]
      .map(([name, isDirectory]) => ({ name, isDirectory }))
      .sort((one, other) => (one.name < other.name ? -1 : 1))
  }

  #kind(path: string): Effect.Effect<"file" | "directory" | "missing", Unavailable> {
    return Effect.suspend(() => {
      if (this.#files.has(path)) return Effect.succeed("file" as const)
      const isFolder = [...this.#folders, ...this.#files.keys()].some(
        (one) => one === path || one.startsWith(`${path}/`),
      )
      if (isFolder) return Effect.succeed("directory" as const)
      return this.#isGone(path) ? Effect.succeed("missing" as const) : this.#disk.kind(path)
    })
  }
}
