/**
 * One segment of a stream as the running store sees it: its place in the stream, its file, and where its bytes can be read
 * from: staging memory while they are young, a mapping where the runtime has one and the segment is sealed, the file otherwise.
 */

import { crc32 } from "../format/checksum.ts"
import { type SegmentFooter, segmentFooter } from "../format/segment_footer.ts"
import type { SegmentHeader } from "../format/segment_header.ts"
import { corrupt, notFound } from "../model/errors.ts"
import { recordIdOf } from "../model/record_id.ts"
import type { Directory } from "../port/directory.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import { decodedIndex, type SegmentIndex } from "../state/segment_index.ts"
import type { StagingTail } from "../state/staging_tail.ts"
import { VerifiedFrames } from "../state/verified_frames.ts"
import { caught } from "./attempt.ts"
import type { OpenFiles } from "./open_files.ts"

/** A stretch of a segment in memory. */
export class Window {
  buffer: Uint8Array = new Uint8Array(0)
  view: DataView = new DataView(this.buffer.buffer)
  /** Segment offset of the buffer's first byte. */
  base = 0
  /** Segment offset behind the last byte that may be used. */
  end = 0
  /** True when the bytes are this process's own and need no check. */
  isTrusted = false
  /** True when the buffer may be read into again. */
  isOwned = false
  /** True when views of what was read are handed out, so that no buffer is read into twice. */
  keepsBuffers = false
  /** The last buffer that was read into, taken up again behind memory that is not the window's own. */
  own: { readonly buffer: Uint8Array; readonly view: DataView } | undefined = undefined
  segment: Segment | undefined = undefined

  covers(segment: Segment, offset: number, length: number): boolean {
    return this.segment === segment && offset >= this.base && offset + length <= this.end
  }
}

/** How a segment came to its end. */
export interface SealedPart {
  readonly recordCount: number
  readonly lastRecordId: number
  readonly lastTimestampMs: number
  readonly firstTimestampMs: number
  readonly timestampMsMax: number
  readonly extIdMax: bigint
  readonly sealedMs: number
  readonly fileBytes: number
}

export class Segment {
  readonly index: number
  readonly path: string
  /** Replaced with a higher generation when the file is. */
  header: SegmentHeader
  readonly verified: VerifiedFrames = new VerifiedFrames()
  /** `active`: takes appends. `sealing`: complete, its footer not yet durable. `sealed`: for ever. */
  state: "active" | "sealing" | "sealed"
  file: SegmentFile | undefined = undefined
  /** Bytes that are still in memory. */
  tail: StagingTail | undefined = undefined
  /** Offset at which the frames end, as far as they may be read. */
  framesEnd: number
  sealed: SealedPart | undefined = undefined
  isTrimmed = false
  /** The index of frames before `end`, where it had to be walked. */
  walkedIndex: { readonly end: number; readonly index: SegmentIndex } | undefined = undefined
  #map: { readonly bytes: Uint8Array; readonly view: DataView } | undefined = undefined
  #sealedIndex: SegmentIndex | undefined = undefined
  #cannotMap = false
  readonly #directory: Directory
  readonly #openFiles: OpenFiles
  readonly #isReadOnly: boolean

  constructor(options: {
    readonly path: string
    readonly header: SegmentHeader
    readonly state: "active" | "sealing" | "sealed"
    readonly framesEnd: number
    readonly directory: Directory
    readonly openFiles: OpenFiles
    readonly isReadOnly: boolean
  }) {
    this.index = options.header.segmentIndex
    this.path = options.path
    this.header = options.header
    this.state = options.state
    this.framesEnd = options.framesEnd
    this.#directory = options.directory
    this.#openFiles = options.openFiles
    this.#isReadOnly = options.isReadOnly
  }

  /** The id position of an offset. */
  position(offset: number): number {
    return recordIdOf(this.index, offset)
  }

  /** The file, opened when it is not open. Throws `NotFound` when the segment was trimmed, or `Unavailable`. */
  openUnsafe(): SegmentFile {
    if (this.file !== undefined) {
      this.#openFiles.touch(this)
      return this.file
    }
    const error = caught(() => {
      this.file = this.#directory.openUnsafe(this.path, this.#isReadOnly || this.state === "sealed" ? "read" : "write")
    })
    // Another process has trimmed it; readers go on with what is left.
    if (error?._tag === "Unavailable" && error.code === "ENOENT") this.isTrimmed = true
    if (error !== undefined && this.isTrimmed) throw notFound("segment", this.index, "later segments only")
    if (error !== undefined) throw error
    this.#openFiles.add(this)
    return this.file!
  }

  /** Another process has sealed the segment that `other` is a newer view of. */
  becomeSealed(other: Segment): void {
    if (this.state === "sealed") return
    this.state = "sealed"
    this.sealed = other.sealed
    this.framesEnd = other.framesEnd
  }

  /** Another process has replaced the file by the one that `other` is a view of. */
  takeReplacement(other: Segment): void {
    this.header = other.header
    this.releaseFile()
  }

  /** Gives the descriptor and the mapping back; both come again when they are needed. */
  releaseFile(): void {
    this.file?.closeUnsafe()
    this.file = undefined
    this.#map = undefined
  }

  /**
   * Makes `window` hold `[offset, offset + least)`, and up to `most` bytes where they have to be read, never beyond `limit`. False
   * when the segment has not that many bytes.
   */
  fill(window: Window, offset: number, least: number, most: number, limit: number): boolean {
    if (window.covers(this, offset, least)) return true
    if (offset + least > limit) return false
    window.segment = this
    const staged = this.tail?.find(offset)
    if (staged !== undefined && offset + least <= staged.end) {
      staged.pinned = true
      setWindow(window, staged.bytes, staged.view, staged.base, Math.min(staged.end, limit), true)
      return true
    }
    // What is appended and not written yet must not be read as the zeros that stand there, now or later out of the window.
    if (offset + least > this.framesEnd) return false
    const map = this.#mapped()
    if (map !== undefined) {
      setWindow(window, map.bytes, map.view, 0, Math.min(map.bytes.length, limit), false)
      return offset + least <= window.end
    }
    return this.#readInto(
      window,
      offset,
      least,
      Math.min(Math.max(most, least), Math.min(limit, this.framesEnd) - offset),
    )
  }

  #readInto(window: Window, offset: number, least: number, wanted: number): boolean {
    const file = this.openUnsafe()
    if (window.own === undefined || window.keepsBuffers || window.own.buffer.length < wanted) {
      const buffer = new Uint8Array(wanted)
      window.own = { buffer, view: new DataView(buffer.buffer) }
    }
    if (window.buffer !== window.own.buffer)
      setWindow(window, window.own.buffer, window.own.view, offset, offset, false)
    const count = file.readUnsafe(window.buffer, 0, wanted, offset)
    window.base = offset
    window.end = offset + count
    window.isTrusted = false
    window.isOwned = true
    return count >= least
  }

  #mapped(): { readonly bytes: Uint8Array; readonly view: DataView } | undefined {
    if (this.#map !== undefined || this.state !== "sealed" || this.#cannotMap) return this.#map
    const file = this.openUnsafe()
    const bytes = this.sealed!.fileBytes <= file.sizeUnsafe() ? file.mapUnsafe(this.sealed!.fileBytes) : undefined
    this.#cannotMap = bytes === undefined
    if (bytes !== undefined) {
      this.#map = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
    }
    return this.#map
  }

  /** The index of a sealed segment, read and checked once. Throws `Corrupt`. */
  sealedIndex(footer: SegmentFooter): SegmentIndex {
    if (this.#sealedIndex !== undefined) return this.#sealedIndex
    const bytes = new Uint8Array(this.sealed!.fileBytes - segmentFooter.sizeBytes - footer.indexOffset)
    const count = this.openUnsafe().readUnsafe(bytes, 0, bytes.length, footer.indexOffset)
    if (count !== bytes.length || crc32(bytes, this.header.checksumSeed) !== footer.tailChecksum) {
      const from = this.position(footer.indexOffset)
      throw corrupt(
        `index of segment ${this.index}`,
        "its checksum does not match",
        from,
        this.position(footer.durableBytes),
      )
    }
    this.#sealedIndex = decodedIndex(bytes.subarray(0, footer.indexCount * 32))
    return this.#sealedIndex
  }
}

const setWindow = (
  window: Window,
  buffer: Uint8Array,
  view: DataView,
  base: number,
  end: number,
  isTrusted: boolean,
): void => {
  window.buffer = buffer
  window.view = view
  window.base = base
  window.end = end
  window.isTrusted = isTrusted
  window.isOwned = false
}
