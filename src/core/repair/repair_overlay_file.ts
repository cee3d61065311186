/** A file of which only the changed pages are in memory: the rest is still that of the disk, where nothing is written. */
import * as Effect from "effect/Effect"
import { unavailable } from "../../model/errors.ts"
import type { SegmentFile } from "../../port/segment_file.ts"

const pageBytes = 4096

/** What a name stands for: a file of the disk, or none, and the pages that differ from it. */
export class OverlayNode {
  /** The file of the disk whose content counts where no page is; undefined for a new file. */
  readonly base: string | undefined
  /** Bytes of `base` that count: what was cut off once does not come back. */
  baseBytes: number
  sizeBytes: number
  readonly pages: Map<number, Uint8Array> = new Map()
  isChanged: boolean

  constructor(base: string | undefined, sizeBytes: number) {
    this.base = base
    this.baseBytes = sizeBytes
    this.sizeBytes = sizeBytes
    this.isChanged = base === undefined
  }
}

/** Opens the file of the disk that a node is based on, for reading. */
export type OpenBase = (path: string) => SegmentFile

/** An open file of an overlay. Every call is done at once. */
export class OverlayFile implements SegmentFile {
  readonly path: string
  readonly syncData: Effect.Effect<void> = Effect.void
  readonly #node: OverlayNode
  readonly #isWritable: boolean
  #base: SegmentFile | undefined
  #isClosed = false

  constructor(path: string, node: OverlayNode, { openBase, isWritable }: { openBase: OpenBase; isWritable: boolean }) {
    this.path = path
    this.#node = node
    this.#isWritable = isWritable
    this.#base = node.base === undefined ? undefined : openBase(node.base)
  }

  readUnsafe(buffer: Uint8Array, start: number, end: number, position: number): number {
    this.#check()
    const node = this.#node
    const limit = Math.min(end - start, Math.max(0, node.sizeBytes - position))
    for (let done = 0; done < limit; ) {
      const at = position + done
      const inPage = at % pageBytes
      const count = Math.min(pageBytes - inPage, limit - done)
      const page = node.pages.get(Math.floor(at / pageBytes))
      if (page !== undefined) buffer.set(page.subarray(inPage, inPage + count), start + done)
      else this.#readBase(buffer, start + done, { count, at })
      done += count
    }
    return limit
  }

  #readBase(buffer: Uint8Array, start: number, { count, at }: { readonly count: number; readonly at: number }): void {
    const there = Math.min(count, Math.max(0, this.#node.baseBytes - at))
    const read = there > 0 ? (this.#base?.readUnsafe(buffer, start, start + there, at) ?? 0) : 0
    buffer.fill(0, start + read, start + count)
  }

  writeUnsafe(buffer: Uint8Array, start: number, end: number, position: number): void {
    this.#check()
    if (!this.#isWritable) throw unavailable("writing", "EBADF", this.path)
    const node = this.#node
    node.isChanged = true
    for (let done = 0; done < end - start; ) {
      const at = position + done
      const inPage = at % pageBytes
      const count = Math.min(pageBytes - inPage, end - start - done)
      this.#pageAt(Math.floor(at / pageBytes)).set(buffer.subarray(start + done, start + done + count), inPage)
      done += count
    }
    node.sizeBytes = Math.max(node.sizeBytes, position + end - start)
  }

  #pageAt(index: number): Uint8Array {
    const { pages } = this.#node
    let page = pages.get(index)
    if (page === undefined) {
      page = new Uint8Array(pageBytes)
      this.#readBase(page, 0, { count: pageBytes, at: index * pageBytes })
      pages.set(index, page)
    }
    return page
  }

  sizeUnsafe(): number {
    this.#check()
    return this.#node.sizeBytes
  }

  mapUnsafe(): undefined {
    return undefined
  }

  read(buffer: Uint8Array, start: number, end: number, position: number): ReturnType<SegmentFile["read"]> {
    return Effect.sync(() => this.readUnsafe(buffer, start, end, position))
  }

  write(buffer: Uint8Array, start: number, end: number, position: number): ReturnType<SegmentFile["write"]> {
    return Effect.sync(() => this.writeUnsafe(buffer, start, end, position))
  }

  zeroFill(from: number, to: number): ReturnType<SegmentFile["zeroFill"]> {
    return Effect.sync(() => {
      const zeros = new Uint8Array(pageBytes)
      for (let at = from; at < to; at += pageBytes) this.writeUnsafe(zeros, 0, Math.min(pageBytes, to - at), at)
    })
  }

  truncate(length: number): ReturnType<SegmentFile["truncate"]> {
    return Effect.sync(() => {
      this.#check()
      const node = this.#node
      node.isChanged = true
      if (length < node.sizeBytes) {
        const last = Math.floor(length / pageBytes)
        for (const index of [...node.pages.keys()]) if (index > last) node.pages.delete(index)
        node.pages.get(last)?.fill(0, length % pageBytes)
        node.baseBytes = Math.min(node.baseBytes, length)
      }
      node.sizeBytes = length
    })
  }

  closeUnsafe(): void {
    this.#isClosed = true
    this.#base?.closeUnsafe()
    this.#base = undefined
  }

  #check(): void {
    if (this.#isClosed) throw unavailable("using a closed file", "EBADF", this.path)
  }
}
