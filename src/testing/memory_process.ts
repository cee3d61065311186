/**
 * The services that one process sees of a memory disk: dead after a crash or kill, while the next process gets new ones.
 *
 * Invariants: an asynchronous operation is announced when it starts and has its effect when it ends, in a later turn; a sync
 * covers what was written before it started. Nothing can be interrupted half-way.
 */
import * as Effect from "effect/Effect"
import { Unavailable, unavailable } from "../model/errors.ts"
import type { Directory, OpenMode } from "../port/directory.ts"
import type { RootLock } from "../port/root_lock.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import { makeMemoryBatchWriter } from "./memory_batch.ts"
import { MemoryInode } from "./memory_inode.ts"
import type { DiskFault, DiskRequest, DiskState } from "./memory_state.ts"
import { asUnavailable, partsOf } from "./memory_state.ts"
import { MemoryFolder } from "./memory_tree.ts"

const operationOf = (mode: OpenMode): "create" | "open" => (mode === "create" ? "create" : "open")

export class MemoryProcess {
  readonly directory: Directory
  readonly lock: RootLock
  readonly #state: DiskState
  readonly #generation: number

  constructor(state: DiskState) {
    this.#state = state
    this.#generation = state.generation
    const take = (root: string) => Effect.acquireRelease(this.#takeLock(root), () => this.#dropLock(root))
    this.lock = { acquire: (root) => Effect.as(take(root), { checkUnsafe: () => undefined }) }
    const plain = <A>(request: DiskRequest, run: () => A): Effect.Effect<A, Unavailable> =>
      this.#run(request, () => (fault) => (fault === undefined ? run() : (undefined as A)))
    const atOnce = <A>(kind: "list" | "makeDirectory" | "rename", path: string, run: () => A, target?: string): A => {
      this.#check(kind, path)
      state.announceUnsafe(kind, path, 0, 0, { target })
      return run()
    }
    this.directory = {
      absoluteUnsafe: (path) => path,
      openUnsafe: (path, mode) => this.#open(path, mode),
      open: (path, mode) => plain({ kind: operationOf(mode), path }, () => this.#openNode(path, mode)),
      renameUnsafe: (from, to) => atOnce("rename", from, () => this.#rename(from, to), to),
      rename: (from, to) => plain({ kind: "rename", path: from, target: to }, () => this.#rename(from, to)),
      link: (from, to) => plain({ kind: "link", path: from, target: to }, () => this.#link(from, to)),
      sizeOf: (path) => plain({ kind: "sizeOf", path }, () => this.#sizeOf(path)),
      list: (path) => plain({ kind: "list", path }, () => this.#list(path)),
      listUnsafe: (path) => atOnce("list", path, () => this.#list(path)),
      readFile: (path) => plain({ kind: "readFile", path }, () => this.#readFile(path)),
      makeDirectory: (path) => this.#makeDirectory(path),
      makeDirectoryUnsafe: (path) => atOnce("makeDirectory", path, () => this.#linkFolder(path)),
      makeSubdirectory: (path) => plain({ kind: "makeDirectory", path }, () => this.#linkFolder(path)),
      remove: (path) => plain({ kind: "remove", path }, () => this.#remove(path)),
      removeDirectory: (path) => plain({ kind: "removeDirectory", path }, () => this.#removeDirectory(path)),
      sync: (path) => this.#syncDirectory(path),
      openBatchWriter: () =>
        makeMemoryBatchWriter(state, this.directory, (request, start) => this.#run(request, start)),
      kind: (path) =>
        Effect.try({ try: () => state.find("looking at a path", path)?.kind ?? "missing", catch: asUnavailable }),
      reclaimUnsafe: () => undefined,
      isLink: () => Effect.succeed(false),
      networkFileSystem: () => Effect.succeed(undefined),
    }
  }

  #check(operation: string, path: string): void {
    this.#state.checkAlive(this.#generation, operation, path)
  }

  /** `start` runs at once and returns what happens at the end, which gets the fault that was injected, if any. */
  #run<A>(request: DiskRequest, start: () => (fault: string | undefined) => A): Effect.Effect<A, Unavailable> {
    const state = this.#state
    const { kind, path } = request
    return Effect.uninterruptible(
      Effect.callback<A, Unavailable>((resume) => {
        const attempt = (step: () => void): void => {
          try {
            step()
          } catch (error) {
            // What is not a failure of the disk is a mistake of this program or the hook, and must not hang the fiber.
            resume(error instanceof Unavailable ? Effect.fail(error) : Effect.die(error))
          }
        }
        attempt(() => {
          this.#check(kind, path)
          const announced = state.announce(kind, path, request.from, request.to, request)
          const finish = start()
          const end = (fault: DiskFault): void =>
            attempt(() => {
              this.#check(kind, path)
              const code = typeof fault === "string" ? fault : undefined
              const value = finish(code)
              resume(code === undefined ? Effect.succeed(value) : Effect.fail(unavailable(kind, code, path)))
            })
          if (announced instanceof Promise) announced.then(end, (error) => resume(Effect.die(error)))
          else state.nextTurn(() => end(announced))
        })
      }),
    )
  }

  #open(path: string, mode: OpenMode): SegmentFile {
    this.#check(operationOf(mode), path)
    this.#state.announceUnsafe(operationOf(mode), path)
    return this.#openNode(path, mode)
  }

  #openNode(path: string, mode: OpenMode): SegmentFile {
    const state = this.#state
    const operation = operationOf(mode)
    const { folder, name } = state.parentOf(operation, path)
    const found = folder.entries.get(name)
    if (found !== undefined && mode === "create") throw unavailable(operation, "EEXIST", path)
    if (found?.kind === "directory") throw unavailable(operation, "EISDIR", path)
    if (found !== undefined) return this.#handle(path, found, mode)
    if (mode !== "create") throw unavailable(operation, "ENOENT", path)
    const file = new MemoryInode(state.tree.takeId(), state.isModelled)
    file.holders = 1
    state.tree.link("create", folder, name, file)
    this.#settleUnmodelled(folder)
    return this.#handle(path, file, mode)
  }

  #handle(path: string, file: MemoryInode, mode: OpenMode): SegmentFile {
    const state = this.#state
    let isClosed = false
    file.holders++
    const check = (operation: string): void => {
      this.#check(operation, path)
      const isRefused = mode === "read" && operation !== "read" && operation !== "syncData"
      if (isClosed || isRefused) throw unavailable(operation, "EBADF", path)
    }
    return {
      path,
      writeUnsafe: (buffer, start, end, position) => {
        check("write")
        state.announceUnsafe("write", path, position, position + end - start, { content: buffer.subarray(start, end) })
        if (end <= start) return
        state.reserve(file, Math.max(file.size, position + end - start), path)
        file.write(buffer, start, end, position)
      },
      readUnsafe: (buffer, start, end, position) => {
        check("read")
        state.announceUnsafe("read", path, position, position + end - start)
        return file.read(buffer, start, end, position)
      },
      sizeUnsafe: () => {
        check("read")
        return file.size
      },
      mapUnsafe: (length) => {
        check("read")
        const isMapped = state.options.mapsFiles !== false && length > 0 && length <= file.size
        return isMapped ? file.bytes.subarray(0, length) : undefined
      },
      ...this.#asyncCalls(path, file, check),
      ...(state.options.syncsAtOnce === true ? { syncDataUnsafe: () => this.#syncAtOnce(path, file, check) } : {}),
      closeUnsafe: () => {
        if (!isClosed && this.#generation === state.generation) state.release(file)
        isClosed = true
      },
    }
  }

  #syncAtOnce(path: string, file: MemoryInode, check: (operation: string) => void): void {
    check("syncData")
    const fault = this.#state.faultUnsafe("syncData", path)
    file.settle(file.unsynced(), fault === undefined ? "durable" : "lost")
    if (fault !== undefined) throw unavailable("syncData", fault, path)
  }

  /** What a handle does off the main thread; `check` throws when it may not do it. */
  #asyncCalls(
    path: string,
    file: MemoryInode,
    check: (operation: string) => void,
  ): Pick<SegmentFile, "read" | "write" | "syncData" | "zeroFill" | "truncate"> {
    const state = this.#state
    const sync = this.#run<void>({ kind: "syncData", path }, () => {
      check("syncData")
      const covered = file.unsynced()
      return (fault) => file.settle(covered, fault === undefined ? "durable" : "lost")
    })
    const change = (request: DiskRequest, size: () => number, apply: () => void): Effect.Effect<void, Unavailable> =>
      this.#run(request, () => {
        check(request.kind)
        return (fault) => {
          if (fault !== undefined) return
          state.reserve(file, size(), path)
          apply()
        }
      })
    return {
      read: (buffer, start, end, position) =>
        Effect.suspend(() =>
          this.#run({ kind: "read", path, from: position, to: position + end - start }, () => {
            check("read")
            return (fault) => (fault === undefined ? file.read(buffer, start, end, position) : 0)
          }),
        ),
      write: (buffer, start, end, position) =>
        Effect.suspend(() => {
          const to = position + end - start
          if (end <= start) return Effect.try({ try: () => check("write"), catch: asUnavailable })
          return change(
            { kind: "write", path, from: position, to, content: buffer.subarray(start, end) },
            () => Math.max(file.size, to),
            () => file.write(buffer, start, end, position),
          )
        }),
      syncData: sync,
      zeroFill: (from, to) => {
        const fill = Effect.suspend(() =>
          change(
            { kind: "zeroFill", path, from, to },
            () => Math.max(file.size, to),
            () => file.zeroFill(from, to),
          ),
        )
        return Effect.flatMap(to > from ? fill : Effect.void, () => sync)
      },
      truncate: (length) =>
        change(
          { kind: "truncate", path, from: length, to: length },
          () => length,
          () => file.truncate(length),
        ),
    }
  }

  #rename(from: string, to: string): void {
    const { tree } = this.#state
    const source = this.#state.parentOf("rename", from)
    const target = this.#state.parentOf("rename", to)
    const node = source.folder.entries.get(source.name)
    if (node === undefined) throw unavailable("rename", "ENOENT", from)
    const replaced = target.folder.entries.get(target.name)
    if (replaced === node) return
    if (replaced?.kind === "directory") {
      if (node.kind === "file") throw unavailable("rename", "EISDIR", to)
      if (replaced.entries.size > 0) throw unavailable("rename", "ENOTEMPTY", to)
    } else if (replaced && node.kind === "directory") throw unavailable("rename", "ENOTDIR", to)
    if (replaced?.kind === "file") this.#state.release(replaced)
    tree.rename(source.folder, source.name, target.folder, target.name)
    this.#settleUnmodelled(source.folder)
    this.#settleUnmodelled(target.folder)
  }

  #link(from: string, to: string): void {
    const node = this.#state.find("link", from)
    if (node === undefined) throw unavailable("link", "ENOENT", from)
    if (node.kind === "directory") throw unavailable("link", "EPERM", from)
    const { folder, name } = this.#state.parentOf("link", to)
    if (folder.entries.has(name)) throw unavailable("link", "EEXIST", to)
    node.holders++
    this.#state.tree.link("link", folder, name, node)
    this.#settleUnmodelled(folder)
  }

  #sizeOf(path: string): number | undefined {
    const node = this.#state.find("sizeOf", path)
    return node?.kind === "file" ? node.size : undefined
  }

  #list(
    path: string,
  ): ReturnType<Directory["list"]> extends Effect.Effect<infer Entries, Unavailable> ? Entries : never {
    const node = this.#state.find("list", path)
    if (node?.kind === "file") throw unavailable("list", "ENOTDIR", path)
    const entries = [...(node?.entries ?? [])].map(([name, child]) => ({
      name,
      isDirectory: child.kind === "directory",
    }))
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  #readFile(path: string): Uint8Array | undefined {
    const node = this.#state.find("readFile", path)
    if (node?.kind === "directory") throw unavailable("readFile", "EISDIR", path)
    return node?.bytes.slice(0, node.size)
  }

  #linkFolder(path: string): void {
    const state = this.#state
    const { folder, name } = state.parentOf("makeDirectory", path)
    if (folder.entries.has(name)) return
    state.tree.link("makeDirectory", folder, name, new MemoryFolder(state.tree.takeId()))
    this.#settleUnmodelled(folder)
  }

  #makeDirectory(path: string): Effect.Effect<void, Unavailable> {
    const state = this.#state
    const makeOne = (at: string): Effect.Effect<void, Unavailable> =>
      Effect.flatMap(
        this.#run({ kind: "makeDirectory", path: at }, () => (fault) => {
          if (fault === undefined) this.#linkFolder(at)
        }),
        // One that could not be made durable is not left: the next call would take it for done.
        () =>
          Effect.tapError(this.#syncDirectory(at.slice(0, at.lastIndexOf("/"))), () =>
            Effect.sync(() => this.#removeDirectory(at)),
          ),
      )
    return Effect.suspend(() => {
      const missing: Array<string> = []
      for (let parts = partsOf(path); ; parts = parts.slice(0, -1)) {
        const at = `/${parts.join("/")}`
        let node: ReturnType<DiskState["find"]>
        try {
          node = state.find("makeDirectory", at)
        } catch (error) {
          return Effect.fail(asUnavailable(error))
        }
        if (node?.kind === "file") return Effect.fail(unavailable("makeDirectory", "ENOTDIR", path))
        if (node !== undefined) break
        missing.unshift(at)
      }
      return Effect.forEach(missing, makeOne, { discard: true })
    })
  }

  #remove(path: string): void {
    const node = this.#state.find("remove", path)
    if (node === undefined) return
    if (node.kind === "directory") throw unavailable("remove", "EISDIR", path)
    const { folder, name } = this.#state.parentOf("remove", path)
    this.#state.tree.unlink(folder, name)
    this.#settleUnmodelled(folder)
    this.#state.release(node)
  }

  #removeDirectory(path: string): void {
    const node = this.#state.find("removeDirectory", path)
    if (node === undefined) return
    const parent = this.#state.parentOf("removeDirectory", path)
    const empty = (folder: MemoryFolder): void => {
      for (const [name, child] of [...folder.entries]) {
        if (child.kind === "directory") empty(child)
        // Once the topmost entry is gone for good nobody can look at these any more, and nobody syncs their directories.
        this.#state.tree.unlink(folder, name, parent.folder)
        if (child.kind === "file") this.#state.release(child)
      }
    }
    if (node.kind === "directory") empty(node)
    else this.#state.release(node)
    this.#state.tree.unlink(parent.folder, parent.name)
    this.#settleUnmodelled(parent.folder)
  }

  #syncDirectory(path: string): Effect.Effect<void, Unavailable> {
    return this.#run({ kind: "syncDirectory", path }, () => {
      const folder = this.#state.find("syncDirectory", path)
      if (folder === undefined) throw unavailable("syncDirectory", "ENOENT", path)
      if (folder.kind === "file") throw unavailable("syncDirectory", "ENOTDIR", path)
      const covered = this.#state.tree.unsynced(folder)
      return (fault) => {
        if (fault === undefined) this.#state.tree.settle(covered, folder)
      }
    })
  }

  /** Without crash modelling nothing may gather, so every entry is durable at once. */
  #settleUnmodelled(folder: MemoryFolder): void {
    if (!this.#state.isModelled) this.#state.tree.settle(this.#state.tree.unsynced(folder), folder)
  }

  #takeLock(root: string): Effect.Effect<void, Unavailable> {
    return Effect.try({
      try: () => {
        this.#check("taking the lock of the root", root)
        const node = this.#state.find("taking the lock of the root", root)
        if (node?.kind !== "directory") {
          throw unavailable("taking the lock of the root", node === undefined ? "ENOENT" : "ENOTDIR", root)
        }
        const key = partsOf(root).join("/")
        const pid = this.#state.locks.get(key)
        if (pid !== undefined) throw busy(root, pid)
        this.#state.locks.set(key, this.#generation)
      },
      catch: asUnavailable,
    })
  }

  #dropLock(root: string): Effect.Effect<void> {
    return Effect.sync(() => {
      const key = partsOf(root).join("/")
      if (this.#state.locks.get(key) === this.#generation) this.#state.locks.delete(key)
    })
  }
}

const busy = (root: string, pid: number): Unavailable =>
  new Unavailable({
    message: `the root ${JSON.stringify(root)} is held by this process, which has it open already`,
    what: "lock of the root",
    value: root,
    limit: "one process",
    code: "EBUSY",
    holder: { pid, processStartTime: "", bootId: "memory", runtime: "memory" },
  })
