/**
 * The bytes of a segment that are still in memory: staging buffers in order, without a gap, each holding whole frames. A
 * buffer stays until a sync covers it, because a failed sync makes its bytes have to be written again. Released buffers of the
 * usual size go back to the pool unless a reader pinned them, in which case they are left to the collector.
 */
import { assert } from "../model/assert.ts"

/** Smaller buffers are kept up to so many bytes in all, or up to a part of the budget where that is more. */
const smallBytesLeast = 16 * 1024 * 1024
const smallPart = 1 / 4

/**
 * Buffers, kept for use again: those of the full size, and smaller ones by size. Of the full size as many are kept as were in use at once,
 * until none was in use between two trims: new ones beside garbage that the collector has not seen yet would take more memory, and time.
 */
export class BufferPool {
  readonly bufferBytes: number
  /** Tails that have buffers in use. */
  holders = 0
  readonly #free: Array<Uint8Array> = []
  #lent = 0
  /** So many are in use and kept at most. */
  #lentMost = 0
  /** Whether one was since the last trim. */
  #wasInUse = false
  #lentBytes = 0
  readonly #small: Map<number, Array<Uint8Array>> = new Map()
  #smallBytes = 0
  readonly #heldBytesMax: number
  readonly #smallBytesMax: number
  readonly #onGiven: () => void

  /** What is kept makes room for what is in use beyond `heldBytesMax`; `onGiven` is called when a buffer has come back. */
  constructor(
    bufferBytes: number,
    heldBytesMax: number = Number.POSITIVE_INFINITY,
    onGiven: () => void = () => undefined,
  ) {
    this.bufferBytes = bufferBytes
    this.#heldBytesMax = heldBytesMax
    this.#smallBytesMax = Math.max(smallBytesLeast, heldBytesMax * smallPart)
    this.#onGiven = onGiven
  }

  /** Memory of all buffers in use. */
  get lentBytes(): number {
    return this.#lentBytes
  }

  /** Memory of all buffers: those in use, and those kept. */
  get heldBytes(): number {
    return this.#lentBytes + this.#free.length * this.bufferBytes + this.#smallBytes
  }

  /** A buffer of at least `sizeBytes`, by itself of `bufferBytes`; its content is arbitrary. */
  take(sizeBytes: number, bufferBytes: number = this.bufferBytes): Uint8Array {
    const length = sizeBytes <= bufferBytes ? bufferBytes : this.#roundUp(sizeBytes)
    this.#lentBytes += length
    this.#wasInUse = true
    if (length === this.bufferBytes) {
      this.#lentMost = Math.max(this.#lentMost, ++this.#lent)
      return this.#free.pop() ?? this.#make(length)
    }
    const kept = this.#small.get(length)?.pop()
    if (kept === undefined) return this.#make(length)
    this.#smallBytes -= length
    return kept
  }

  /** A size that is kept for use again, if there is one as large. */
  #roundUp(sizeBytes: number): number {
    return sizeBytes > this.bufferBytes ? sizeBytes : Math.min(this.bufferBytes, 2 ** (32 - Math.clz32(sizeBytes - 1)))
  }

  /** A new buffer, in place of what is kept where that would be too much. */
  #make(length: number): Uint8Array {
    if (this.heldBytes > this.#heldBytesMax) {
      this.#small.clear()
      this.#smallBytes = 0
      while (this.heldBytes > this.#heldBytesMax && this.#free.length > 0) this.#free.pop()
    }
    return new Uint8Array(length)
  }

  /** True when more is kept than `bytesMax`. */
  keepsMore(bytesMax: number): boolean {
    return this.#free.length * this.bufferBytes + this.#smallBytes > bytesMax
  }

  /** Called now and then: when none was in use since the last time, lets go of all but `bytesMax`. */
  trim(bytesMax: number): void {
    const wasInUse = this.#wasInUse
    this.#wasInUse = this.#lentBytes > 0
    if (wasInUse) return
    this.#lentMost = Math.ceil(bytesMax / this.bufferBytes)
    this.#free.length = Math.min(this.#free.length, this.#lentMost)
    if (!this.keepsMore(bytesMax)) return
    this.#small.clear()
    this.#smallBytes = 0
  }

  /** Takes a buffer back; when `isPinned`, a reader has views of it, and it is left to the collector. */
  give(bytes: Uint8Array, isPinned: boolean): void {
    this.#keep(bytes, isPinned)
    this.#onGiven()
  }

  #keep(bytes: Uint8Array, isPinned: boolean): void {
    const { length } = bytes
    this.#lentBytes -= length
    if (length === this.bufferBytes) {
      this.#lent--
      if (!isPinned && this.#free.length + this.#lent < this.#lentMost) this.#free.push(bytes)
      return
    }
    if (isPinned) return
    if (length > this.bufferBytes || (length & (length - 1)) !== 0 || this.#smallBytes + length > this.#smallBytesMax)
      return
    this.#smallBytes += length
    const kept = this.#small.get(length)
    if (kept === undefined) this.#small.set(length, [bytes])
    else kept.push(bytes)
  }
}

/** One staging buffer and the part of the segment that it holds. */
export class StagingBuffer {
  readonly base: number
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Offset behind the last byte, once the next buffer has begun; until then as far as it goes. */
  end: number
  pinned = false

  constructor(base: number, bytes: Uint8Array) {
    this.base = base
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.end = base + bytes.length
  }
}

export class StagingTail {
  #buffers: Array<StagingBuffer> = []
  #isAbandoned = false
  readonly #pool: BufferPool

  constructor(pool: BufferPool) {
    this.#pool = pool
  }

  /** Offset of the first byte in memory, or undefined when none is. */
  get start(): number | undefined {
    return this.#buffers[0]?.base
  }

  /** Adds the buffer that begins at `base`, where the one before ends. */
  push(base: number, bytes: Uint8Array): void {
    const last = this.#buffers.at(-1)
    if (last === undefined) this.#pool.holders++
    else {
      assert(base <= last.end, "staging buffers follow each other")
      last.end = base
    }
    this.#buffers.push(new StagingBuffer(base, bytes))
  }

  /** The buffer that holds `offset`, or undefined. */
  find(offset: number): StagingBuffer | undefined {
    for (let i = this.#buffers.length - 1; i >= 0; i--) {
      const one = this.#buffers[i]!
      if (offset >= one.base) return offset < one.end ? one : undefined
    }
    return undefined
  }

  /** Lets go of buffers that end at or before `offset`; of the last one only when `all`. */
  release(offset: number, all: boolean): void {
    const kept = all ? 0 : 1
    if (all) this.#leave()
    while (this.#buffers.length > kept && (this.#buffers[0]!.end <= offset || all)) {
      const one = this.#buffers.shift()!
      if (!this.#isAbandoned) this.#pool.give(one.bytes, one.pinned)
    }
    // Without the room that it has grown to.
    if (all) this.#buffers = []
  }

  /** Its stream has ended: nothing of it is used again, as a write or a sync may still be on its way. */
  abandon(): void {
    if (this.#isAbandoned) return
    this.#leave()
    this.#isAbandoned = true
    for (const one of this.#buffers) this.#pool.give(one.bytes, true)
  }

  #leave(): void {
    if (this.#buffers.length > 0 && !this.#isAbandoned) this.#pool.holders--
  }
}
