/**
 * Directories in memory that know which of their entries would survive a power cut.
 *
 * Invariants: an entry change names the inodes it moves, so that any subset of the unsynced ones makes a sound tree, with a rename
 * whole or not at all. A change is durable when every directory it waits for was synced.
 */
import type { MemoryInode } from "./memory_inode.ts"

/** An unsynced change of directory entries; `name` is the entry that appears or goes, `file` its inode. */
export interface EntryCandidate {
  /** What would make or unmake the entry. */
  readonly kind: "create" | "makeDirectory" | "rename" | "link" | "remove"
  /** Number of the file or directory on this disk. */
  readonly file: number
  /** Name of the entry in its directory. */
  readonly name: string
}

export type MemoryNode = MemoryInode | MemoryFolder

/** One directory: the entries that a process sees, and those on disk. */
export class MemoryFolder {
  readonly kind = "directory"
  readonly id: number
  entries: Map<string, MemoryNode> = new Map()
  durable: Map<string, MemoryNode> = new Map()

  constructor(id: number) {
    this.id = id
  }
}

interface Link {
  readonly folder: MemoryFolder
  readonly name: string
  readonly node: MemoryNode
}

interface EntryChange {
  readonly kind: EntryCandidate["kind"]
  readonly unlink: Link | undefined
  readonly link: Link | undefined
  /** Directories whose sync it waits for; durable when empty. */
  readonly waits: Set<MemoryFolder>
}

export class MemoryTree {
  root: MemoryFolder
  #changes: Array<EntryChange> = []
  #nextId = 1

  constructor() {
    this.root = new MemoryFolder(0)
  }

  takeId(): number {
    return this.#nextId++
  }

  /** Makes an entry, which replaces one of the same name. */
  link(kind: "create" | "makeDirectory" | "link", folder: MemoryFolder, name: string, node: MemoryNode): void {
    this.#change({ kind, unlink: undefined, link: { folder, name, node }, waits: new Set([folder]) })
  }

  /** Removes an entry; it is durable when `waitsFor`, normally its own directory, was synced. */
  unlink(folder: MemoryFolder, name: string, waitsFor: MemoryFolder = folder): void {
    const node = folder.entries.get(name)
    if (node === undefined) return
    this.#change({ kind: "remove", unlink: { folder, name, node }, link: undefined, waits: new Set([waitsFor]) })
  }

  /** Moves an entry over another, atomically. */
  rename(from: MemoryFolder, fromName: string, to: MemoryFolder, toName: string): void {
    const node = from.entries.get(fromName)
    if (node === undefined) return
    this.#change({
      kind: "rename",
      unlink: { folder: from, name: fromName, node },
      link: { folder: to, name: toName, node },
      waits: new Set([from, to]),
    })
  }

  /** The changes that a sync of `folder` begun now would cover; pass them to `settle` when it has ended well. */
  unsynced(folder: MemoryFolder): ReadonlyArray<unknown> {
    return this.#changes.filter((change) => change.waits.has(folder))
  }

  settle(covered: ReadonlyArray<unknown>, folder: MemoryFolder): void {
    for (const change of covered as ReadonlyArray<EntryChange>) change.waits.delete(folder)
    this.#applyDurable()
  }

  /** The same for a sync of all folders. */
  unsyncedEverywhere(): ReadonlyArray<unknown> {
    return [...this.#changes]
  }

  settleEverywhere(covered: ReadonlyArray<unknown>): void {
    for (const change of covered as ReadonlyArray<EntryChange>) change.waits.clear()
    this.#applyDurable()
  }

  #applyDurable(): void {
    let first = 0
    while (first < this.#changes.length && this.#changes[first]?.waits.size === 0) first++
    for (const change of this.#changes.splice(0, first)) apply(change, "durable")
  }

  candidates(): ReadonlyArray<EntryCandidate> {
    return this.#changes.filter((change) => change.waits.size > 0).map(candidateOf)
  }

  /** The tree after a power cut. */
  crash(choose: (candidate: EntryCandidate) => boolean): void {
    for (const change of this.#changes.splice(0)) {
      if (change.waits.size === 0 || choose(candidateOf(change))) apply(change, "durable")
    }
    const restore = (folder: MemoryFolder): void => {
      folder.entries = new Map(folder.durable)
      for (const node of folder.entries.values()) if (node.kind === "directory") restore(node)
    }
    restore(this.root)
  }

  /** All files that a process can reach. */
  files(): ReadonlyArray<MemoryInode> {
    const found = new Set<MemoryInode>()
    const visit = (folder: MemoryFolder): void => {
      for (const node of folder.entries.values()) node.kind === "directory" ? visit(node) : found.add(node)
    }
    visit(this.root)
    return [...found]
  }

  /** Paths of all files that a process can reach, in order. */
  paths(): ReadonlyArray<string> {
    const found: Array<string> = []
    const visit = (folder: MemoryFolder, path: string): void => {
      for (const [name, node] of folder.entries) {
        if (node.kind === "directory") visit(node, `${path}/${name}`)
        else found.push(`${path}/${name}`)
      }
    }
    visit(this.root, "")
    return found.sort()
  }

  /** Everything a power cut may bring back or keep, reachable now or not, as an equal tree that shares nothing. */
  clone(): MemoryTree {
    const copies = new Map<MemoryNode, MemoryNode>()
    const copyOf = <Node extends MemoryNode>(node: Node): Node => {
      const known = copies.get(node)
      if (known) return known as Node
      const copy = node.kind === "directory" ? new MemoryFolder(node.id) : node.clone()
      copies.set(node, copy)
      if (node.kind === "directory" && copy.kind === "directory") {
        for (const [name, child] of node.entries) copy.entries.set(name, copyOf(child))
        for (const [name, child] of node.durable) copy.durable.set(name, copyOf(child))
      }
      return copy as Node
    }
    const copyLink = (link: Link | undefined): Link | undefined =>
      link && { folder: copyOf(link.folder), name: link.name, node: copyOf(link.node) }
    const tree = new MemoryTree()
    tree.root = copyOf(this.root)
    tree.#nextId = this.#nextId
    tree.#changes = this.#changes.map((change) => ({
      kind: change.kind,
      unlink: copyLink(change.unlink),
      link: copyLink(change.link),
      waits: new Set([...change.waits].map(copyOf)),
    }))
    return tree
  }

  /** Files that exist in some possible future: reachable, on disk, or named by an unsynced change. */
  allFiles(): ReadonlyArray<MemoryInode> {
    const found = new Set<MemoryNode>()
    const visit = (node: MemoryNode): void => {
      if (found.has(node)) return
      found.add(node)
      if (node.kind === "file") return
      for (const child of node.entries.values()) visit(child)
      for (const child of node.durable.values()) visit(child)
    }
    visit(this.root)
    for (const { unlink, link } of this.#changes) for (const each of [unlink, link]) if (each) visit(each.node)
    return [...found].filter((node) => node.kind === "file").sort((a, b) => a.id - b.id)
  }

  #change(change: EntryChange): void {
    apply(change, "entries")
    this.#changes.push(change)
  }
}

const apply = (change: EntryChange, which: "entries" | "durable"): void => {
  const { unlink, link } = change
  // A later change that survived may have put another file there.
  if (unlink && unlink.folder[which].get(unlink.name) === unlink.node) unlink.folder[which].delete(unlink.name)
  if (link) link.folder[which].set(link.name, link.node)
}

const candidateOf = (change: EntryChange): EntryCandidate => {
  const link = (change.link ?? change.unlink) as Link
  return { kind: change.kind, file: link.node.id, name: link.name }
}
