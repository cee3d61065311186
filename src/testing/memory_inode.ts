/**
 * A file in memory that knows what a power cut would leave of it.
 *
 * Invariants: `bytes` holds what a running process reads. Each change since the last sync keeps what it replaced, so that the
 * content on disk is found by going back through the changes, and no copy of the file is kept. A change that a failed sync
 * covered is `lost`: no later sync makes it durable, as on Linux, where the pages are marked clean.
 */

/** A write is kept or dropped in units of this many bytes, aligned in the file. */
export const sectorBytes = 512

/** One sector of an unsynced write, or an unsynced change of a file's length. */
export type FileCandidate =
  | { readonly kind: "write"; readonly file: number; readonly position: number; readonly bytes: number }
  | { readonly kind: "truncate"; readonly file: number; readonly length: number }

interface Change {
  readonly kind: "write" | "truncate"
  /** The first byte that changed; for a truncation the new length. */
  readonly from: number
  /** The end of what changed; for a truncation the new length. */
  readonly to: number
  readonly sizeBefore: number
  /** What stood at `from` and was replaced or cut off. */
  readonly before: Uint8Array
  state: "pending" | "lost" | "durable"
}

const nothing = new Uint8Array(0)

export class MemoryInode {
  readonly kind = "file"
  readonly id: number
  /** Grows geometrically; zero behind `size`. */
  bytes: Uint8Array = nothing
  size = 0
  /** Names plus open handles. */
  holders = 0
  readonly #isModelled: boolean
  #changes: Array<Change> = []

  /** `isModelled` false keeps no account of what is synced: everything written counts as durable. */
  constructor(id: number, isModelled: boolean) {
    this.id = id
    this.#isModelled = isModelled
  }

  write(buffer: Uint8Array, start: number, end: number, position: number): void {
    this.#record("write", position, position + end - start)
    this.#extend(position + end - start)
    this.bytes.set(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end), position)
  }

  zeroFill(from: number, to: number): void {
    this.#record("write", from, to)
    if (from < this.size) this.bytes.fill(0, from, Math.min(to, this.size))
    this.#extend(to)
  }

  read(buffer: Uint8Array, start: number, end: number, position: number): number {
    const count = Math.max(0, Math.min(end - start, this.size - position))
    if (count > 0) buffer.set(this.bytes.subarray(position, position + count), start)
    return count
  }

  truncate(length: number): void {
    if (length === this.size) return
    this.#record("truncate", length, length)
    this.#resize(length)
  }

  /** The changes that a sync begun now would cover; pass them to `settle` when it has ended. */
  unsynced(): ReadonlyArray<unknown> {
    return this.#changes.filter((change) => change.state === "pending")
  }

  /** Ends a sync: what it covered is durable or lost. A length is not lost with the bytes: the next sync that ends well has it. */
  settle(covered: ReadonlyArray<unknown>, state: "durable" | "lost"): void {
    for (const change of covered as ReadonlyArray<Change>) {
      if (state === "durable" || change.kind === "write") change.state = state
    }
    let first = 0
    while (first < this.#changes.length && this.#changes[first]?.state === "durable") first++
    if (first > 0) this.#changes = this.#changes.slice(first)
  }

  /** What a power cut may keep or drop, oldest first. */
  candidates(): ReadonlyArray<FileCandidate> {
    return this.#changes
      .filter((change) => change.state !== "durable")
      .flatMap((change) => candidatesOf(this.id, change))
  }

  /** The state after a power cut: durable changes and those that `choose` keeps, in the order in which they were made. */
  crash(choose: (candidate: FileCandidate) => boolean): void {
    const changes = this.#changes
    this.#changes = []
    // Copied, because a mapping that somebody still holds must not change.
    this.bytes = this.bytes.slice(0, this.size)
    const contents = changes.map(() => nothing)
    for (let index = changes.length - 1; index >= 0; index--) {
      const change = changes[index] as Change
      contents[index] = this.bytes.slice(change.from, change.to)
      this.#undo(change)
    }
    for (const [index, change] of changes.entries()) this.#redo(change, contents[index] as Uint8Array, choose)
  }

  /** An equal inode that shares nothing with this one. */
  clone(): MemoryInode {
    const copy = new MemoryInode(this.id, this.#isModelled)
    copy.bytes = this.bytes.slice(0, this.size)
    copy.size = this.size
    copy.#changes = this.#changes.map((change) => ({ ...change }))
    return copy
  }

  #record(kind: "write" | "truncate", from: number, to: number): void {
    if (!this.#isModelled) return
    const replacedTo = kind === "truncate" ? this.size : Math.min(to, this.size)
    const before = from < replacedTo ? this.bytes.slice(from, replacedTo) : nothing
    this.#changes.push({ kind, from, to, sizeBefore: this.size, before, state: "pending" })
  }

  #undo(change: Change): void {
    this.#resize(change.sizeBefore)
    this.bytes.set(change.before, change.from)
  }

  #redo(change: Change, content: Uint8Array, choose: (candidate: FileCandidate) => boolean): void {
    const isKept = change.state === "durable" ? () => true : choose
    for (const candidate of candidatesOf(this.id, change)) {
      if (!isKept(candidate)) continue
      if (candidate.kind === "truncate") {
        this.#resize(candidate.length)
        continue
      }
      const at = candidate.position - change.from
      this.#extend(candidate.position + candidate.bytes)
      this.bytes.set(content.subarray(at, at + candidate.bytes), candidate.position)
    }
  }

  #resize(length: number): void {
    if (length < this.size) this.bytes.fill(0, length, this.size)
    else this.#extend(length)
    this.size = length
  }

  #extend(length: number): void {
    if (length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(length, this.bytes.length * 2, 4096))
      grown.set(this.bytes.subarray(0, this.size))
      this.bytes = grown
    }
    if (length > this.size) this.size = length
  }
}

const candidatesOf = (file: number, change: Change): ReadonlyArray<FileCandidate> => {
  if (change.kind === "truncate") return [{ kind: "truncate", file, length: change.to }]
  const candidates: Array<FileCandidate> = []
  for (let position = change.from; position < change.to; ) {
    const end = Math.min(change.to, position - (position % sectorBytes) + sectorBytes)
    candidates.push({ kind: "write", file, position, bytes: end - position })
    position = end
  }
  return candidates
}
