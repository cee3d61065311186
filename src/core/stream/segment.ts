/**
 * One segment of a stream as the running store sees it: its place in the stream, its file, and where its bytes can be read
 * from: staging memory while they are young, a mapping where the runtime has one and the segment is sealed, the file otherwise; and
 * when the file has left Tier 0, the other tiers.
 */
import { crc32 } from "../../format/checksum.ts"
import { indexEntry, type SegmentFooter, segmentFooter } from "../../format/segment_footer.ts"
import { decodeSegmentHeader, type SegmentHeader, segmentHeader } from "../../format/segment_header.ts"
import { corrupt, isMissingFile, notFound } from "../../model/errors.ts"
import { recordIdOf } from "../../model/record_id.ts"
import type { Directory } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { decodedIndex, type SegmentIndex } from "../../state/segment_index.ts"
import type { StagingTail } from "../../state/staging_tail.ts"
import { VerifiedFrames } from "../../state/verified_frames.ts"
import type { OpenFiles } from "../files/open_files.ts"
import { caught } from "../flow/attempt.ts"
import { setWindow, Window } from "../read/window.ts"
import type { Residency, ResidencyView } from "../tiers/residency.ts"

/** True when the entries are what a writer makes: offsets of frames, rising. */
const isIndex = (bytes: Uint8Array, { indexCount, durableBytes }: SegmentFooter): boolean => {
  let before = 0
  for (let at = 0; at < indexCount; at++) {
    const frameOffset = indexEntry.decode(bytes, at * indexEntry.sizeBytes)?.frameOffset
    if (frameOffset === undefined || frameOffset <= before || frameOffset >= durableBytes) return false
    before = frameOffset
  }
  return true
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

/** How the bytes of a segment are read that is not in Tier 0. */
export interface SegmentSource {
  /**
   * As `Segment.fill`. Throws `WouldBlock` `Hydration` when they have to be fetched first, `Corrupt` when they do not check, and
   * `NotFound` when no copy is left.
   */
  readonly fill: (segment: Segment, window: Window, range: FillRange) => boolean
  /** Notes that a segment was used. */
  readonly noteUse: (residency: Residency, isScan: boolean) => void
  /** Called when the Tier 0 file of a sealed segment is not there. True when another copy may be. */
  readonly onHotMissing: (segment: Segment) => boolean
  /** Called when a frame of the Tier 0 file of a sealed segment does not check. True when another copy is read from now on. */
  readonly onHotDamaged: (segment: Segment) => boolean
}

/** Which bytes are wanted. */
export interface FillRange {
  readonly offset: number
  readonly least: number
  readonly most: number
  readonly limit: number
}

/** Who reads more than this at once is on its way through the segment. */
export const pointBytesMax: number = 64 * 1024

/** Of a segment that still grows so much is mapped at least, and mapped anew when an eighth more is durable. */
const partBytesMin = 64 * 1024
const pageBytes = 4096

/** A file, or its beginning, in memory. */
interface Mapping {
  readonly bytes: Uint8Array
  readonly view: DataView
}

export class Segment implements ResidencyView {
  readonly index: number
  readonly residency: Residency
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
  /** What lies above in an unsealed segment is in memory only, and in the commit journal. */
  fileEnd: number = Number.POSITIVE_INFINITY
  /**
   * Where what is durable in the file of an unsealed segment ends, as far as is known. What is below does not change any more, and nobody
   * cuts it off; it may be mapped.
   */
  durableEnd = 0
  /** Makes the file, which is not there yet: the commit journal has what a new segment holds. */
  maker: (() => SegmentFile) | undefined = undefined
  /** True while nothing is written to an active segment: its descriptor may be given back. */
  isQuiet = false
  sealed: SealedPart | undefined = undefined
  isTrimmed = false
  /** Read-only: no tier has it any more, though nobody trimmed it. */
  isLost = false
  /** The index of frames before `end`, where it had to be walked. */
  walkedIndex: { readonly end: number; readonly index: SegmentIndex } | undefined = undefined
  #map: Mapping | undefined = undefined
  /** The beginning of an unsealed file. */
  #part: Mapping | undefined = undefined
  #sealedIndex: SegmentIndex | undefined = undefined
  #cannotMap = false
  /** True while the file of a segment that is not sealed is open, and not for writing. */
  #isOpenToRead = false
  readonly #directory: Directory
  readonly #openFiles: OpenFiles
  readonly #source: SegmentSource
  readonly #isReadOnly: boolean

  constructor(options: {
    readonly residency: Residency
    readonly header: SegmentHeader
    readonly state: "active" | "sealing" | "sealed"
    readonly framesEnd: number
    readonly directory: Directory
    readonly openFiles: OpenFiles
    readonly source: SegmentSource
    readonly isReadOnly: boolean
  }) {
    this.index = options.header.segmentIndex
    this.residency = options.residency
    this.header = options.header
    this.state = options.state
    this.framesEnd = options.framesEnd
    this.#directory = options.directory
    this.#openFiles = options.openFiles
    this.#source = options.source
    this.#isReadOnly = options.isReadOnly
    this.attach()
  }

  get path(): string {
    return this.residency.hotPath
  }

  /** The residency tells this view from now on when the Tier 0 file comes or goes. */
  attach(): void {
    this.residency.view = this
  }

  /** The id position of an offset. */
  position(offset: number): number {
    return recordIdOf(this.index, offset)
  }

  /**
   * The Tier 0 file, opened when it is not open. Throws `NotFound` when it is not there (any more), or `Unavailable`. One that is only to be
   * read is not opened for writing: the file system may have become read-only.
   */
  openUnsafe(isToRead = false): SegmentFile {
    if (this.#isOpenToRead && !isToRead && this.state !== "sealed") this.#openFiles.release(this)
    if (this.file !== undefined) {
      this.#openFiles.touch(this)
      return this.file
    }
    if (this.maker !== undefined) {
      this.file = this.maker()
      this.maker = undefined
      return this.file
    }
    const isOnlyRead = this.#isReadOnly || this.state === "sealed"
    const mode = isOnlyRead || isToRead ? "read" : "write"
    const error = caught(() => {
      this.file = this.#directory.openUnsafe(this.path, mode)
    })
    if (error === undefined && this.#isReadOnly && isOfAnother(this.file!, this.header)) {
      // Its writer has deleted the stream and made one of the same name: the file that was meant is not there any more.
      this.releaseFile()
    }
    const isMissing = error === undefined ? this.file === undefined : isMissingFile(error)
    // Nobody but its writer removes an unsealed file: when that has not done so, the root itself has been moved away.
    const isOwn = !this.#isReadOnly && this.state !== "sealed" && !this.isTrimmed && !this.residency.isGone
    if (isMissing && !isOwn) {
      // The other tiers may have it; when they do not, another process has trimmed it, and readers go on with what is left.
      this.isTrimmed ||= this.state !== "sealed" || !this.#source.onHotMissing(this)
      throw notFound("segment", this.index, "later segments only")
    }
    if (error !== undefined) throw error
    this.#isOpenToRead = mode === "read" && !isOnlyRead
    if (this.isReleasable || this.#isReadOnly) this.#openFiles.add(this)
    return this.file!
  }

  /** True when its descriptor may be given back at any time: it is opened again when it is needed. */
  get isReleasable(): boolean {
    return this.state === "sealed" || this.#isOpenToRead || (this.state === "active" && this.isQuiet)
  }

  /** Somebody writes to it from now on: its descriptor is the writer's. */
  leaveQuiet(): void {
    this.isQuiet = false
    if (this.#isOpenToRead) this.#openFiles.release(this)
    else this.#openFiles.forget(this)
  }

  /** Goes on with `file`, which has taken the place of the one before. */
  exchangeFile(file: SegmentFile): void {
    const old = this.file
    this.file = file
    this.#part = undefined
    this.maker = undefined
    this.#isOpenToRead = false
    this.#openFiles.forget(this)
    old?.closeUnsafe()
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
    this.#isOpenToRead = false
    this.#map = undefined
    this.#part = undefined
    this.#cannotMap = false
    this.#sealedIndex = undefined
  }

  /** What was checked in one copy says nothing about another. */
  onHotChange(): void {
    this.#openFiles.release(this)
    this.verified.clear()
  }

  /**
   * Makes `window` hold `[offset, offset + least)`, and up to `most` bytes where they have to be read, never beyond `limit`. False
   * when the segment has not that many bytes. Throws as `SegmentSource.fill` for a segment that is not in Tier 0.
   */
  fill(window: Window, offset: number, least: number, most: number, limit: number): boolean {
    if (window.covers(this, offset, least)) return true
    if (offset + least > limit) return false
    // Whatever goes wrong on the way, the window must not be taken for this segment with bytes of another.
    window.segment = undefined
    const staged = this.tail?.find(offset)
    if (staged !== undefined && offset + least <= staged.end) {
      staged.pinned = true
      setWindow(window, staged.bytes, staged.view, staged.base, Math.min(staged.end, limit), true)
      window.segment = this
      return true
    }
    // What is appended and not written yet must not be read as the zeros that stand there, now or later out of the window.
    if (offset + least > this.framesEnd) return false
    if (this.state === "sealed") this.#source.noteUse(this.residency, most > pointBytesMax)
    if (!this.#isAtHand()) return this.#source.fill(this, window, { offset, least, most, limit })
    const map = this.state === "sealed" ? this.#mapped() : this.#mappedPart(offset + least)
    if (map !== undefined) {
      setWindow(window, map.bytes, map.view, 0, Math.min(map.bytes.length, limit), false)
      window.segment = this
      return offset + least <= window.end
    }
    return this.#readInto(
      window,
      offset,
      least,
      Math.min(Math.max(most, least), Math.min(limit, this.framesEnd, this.fileEnd) - offset),
    )
  }

  /** True when the Tier 0 file is there and open. */
  #isAtHand(): boolean {
    if (!this.residency.isHot) return false
    if (this.file !== undefined || this.#map !== undefined || this.state !== "sealed") return true
    const error = caught(() => this.openUnsafe())
    if (error === undefined) return true
    if (error._tag !== "NotFound" || this.isTrimmed) throw error
    return false
  }

  #readInto(window: Window, offset: number, least: number, wanted: number): boolean {
    const file = this.openUnsafe(true)
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
    window.segment = this
    return count >= least
  }

  #mapped(): Mapping | undefined {
    if (this.#map !== undefined || this.#cannotMap) return this.#map
    const file = this.openUnsafe()
    const bytes = this.sealed!.fileBytes <= file.sizeUnsafe() ? file.mapUnsafe(this.sealed!.fileBytes) : undefined
    this.#cannotMap = bytes === undefined
    if (bytes !== undefined) {
      this.#map = mappingOf(bytes)
      this.#part = undefined
      // A mapping needs no descriptor.
      this.file = undefined
      file.closeUnsafe()
      this.#openFiles.addMapped(this)
    }
    return this.#map
  }

  /** The beginning of an unsealed file that holds what ends at `end`; undefined when that is not mapped. */
  #mappedPart(end: number): Mapping | undefined {
    const part = this.#part
    if (part !== undefined && end <= part.bytes.length) return part
    // Whole pages, as the rest of the last one is still being written.
    const length = this.durableEnd - (this.durableEnd % pageBytes)
    const before = part?.bytes.length ?? 0
    if (end > length || this.#cannotMap || length < partBytesMin || length - before < before / 8) return undefined
    const bytes = this.openUnsafe(true).mapUnsafe(length)
    this.#cannotMap = bytes === undefined
    if (bytes !== undefined) this.#part = mappingOf(bytes)
    return bytes === undefined ? undefined : this.#part
  }

  /** Reads behind the frames into `target`, or anywhere; returns the bytes read, fewer only at the end. Throws as `fill`. */
  readUnsafe(target: Uint8Array, offset: number): number {
    if (this.#map !== undefined) {
      const found = this.#map.bytes.subarray(offset, offset + target.length)
      target.set(found)
      return found.length
    }
    if (this.#isAtHand()) return this.openUnsafe(true).readUnsafe(target, 0, target.length, offset)
    const window = new Window()
    const limit = offset + target.length
    if (!this.#source.fill(this, window, { offset, least: target.length, most: target.length, limit })) return 0
    target.set(window.buffer.subarray(offset - window.base, limit - window.base))
    return target.length
  }

  get checksumSeed(): number {
    return this.header.checksumSeed
  }

  /** After a frame did not check: true when another copy of the segment is read from now on, and it is worth trying again. */
  heal(): boolean {
    if (this.state !== "sealed" || !this.residency.isHot) return false
    return this.#source.onHotDamaged(this)
  }

  /** The index of a sealed segment, read and checked once. Throws `Corrupt`. */
  sealedIndex(footer: SegmentFooter): SegmentIndex {
    if (this.#sealedIndex !== undefined) return this.#sealedIndex
    const bytes = new Uint8Array(this.sealed!.fileBytes - segmentFooter.sizeBytes - footer.indexOffset)
    const count = this.readUnsafe(bytes, footer.indexOffset)
    const isWhole = count === bytes.length && footer.indexCount * indexEntry.sizeBytes <= count
    if (!isWhole || crc32(bytes, this.header.checksumSeed) !== footer.tailChecksum || !isIndex(bytes, footer)) {
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

/** True when a file begins with the header of another stream, or with none yet. */
const isOfAnother = (file: SegmentFile, { streamId }: SegmentHeader): boolean => {
  const bytes = new Uint8Array(segmentHeader.sizeBytes)
  let count = 0
  // A file that cannot be read says so to whoever reads on.
  if (caught(() => void (count = file.readUnsafe(bytes, 0, bytes.length, 0))) !== undefined) return false
  const found = decodeSegmentHeader(bytes)
  return found === undefined ? count < bytes.length || bytes.every((byte) => byte === 0) : found.streamId !== streamId
}

const mappingOf = (bytes: Uint8Array): Mapping => ({
  bytes,
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
})
