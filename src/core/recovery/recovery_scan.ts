/**
 * Reads an unsealed segment as a crash left it: from its newest slot to the end of the file, every frame checked, behind bad
 * ones too. What it finds is facts only; which bad spot is damage and which is the end of the log is decided from all of them.
 */
import { alignFrame, frameContinues, frameHeader, isPlain } from "../../format/frame.ts"
import type { SegmentFooter } from "../../format/segment_footer.ts"
import { decodeSlots, segmentHeaderBytes, type WatermarkSlot } from "../../format/segment_header.ts"
import { corrupt } from "../../model/errors.ts"
import { segmentIndexOf, segmentOffsetOf } from "../../model/record_id.ts"
import { RecordScanner } from "../../state/record_scanner.ts"
import { type Mark, startMark } from "../../state/watermark.ts"
import type { SealedTail } from "../append/writing_segment.ts"
import { caught } from "../flow/attempt.ts"
import { blockBytes, checkFrame, FRAME_OK, findNextBatch, searchBehind } from "../read/frame_reader.ts"
import { setWindow, Window } from "../read/window.ts"
import type { Segment } from "../stream/segment.ts"

/** A place at which the frames stop checking. */
export interface BadSpot {
  readonly offset: number
  /** Where the next whole batch starts, or undefined when none follows. */
  readonly resumesAt: number | undefined
  /** True when nothing but zeros follows: the end of an undamaged segment. */
  readonly isZero: boolean
  /** The state of the stream at the end of the last whole batch before. */
  readonly mark: Mark
}

export interface SegmentScan {
  readonly segment: Segment
  /** What the slots say together: the highest durable watermark, and what the newest says of the application. */
  readonly slot: WatermarkSlot | undefined
  /** Where the scan started: everything before was durable. */
  readonly startOffset: number
  /** In order; the last one is where the segment ends, also when nothing is wrong. */
  readonly badSpots: ReadonlyArray<BadSpot>
  /** The highest durable position that a slot or a frame of this file names. */
  readonly watermark: number
  /** True when the writer closed the file in order and nobody has appended since. */
  readonly isClosed: boolean
  /** True when both slots name one watermark of the application. */
  readonly hasEqualSlots: boolean
  readonly firstTimestampMs: number
  readonly fileBytes: number
  /** Set when index and footer follow the frames: they were written when all frames were durable, so none was looked at. */
  readonly tail: Omit<SealedTail, "isNoted"> | undefined
}

/**
 * Reads the slots of an open segment. Two equal watermarks mean that it was closed in order. One that is there for the watermark of the
 * application only names a lower one.
 */
const readSlots = (segment: Segment, block: Uint8Array): Pick<SegmentScan, "slot" | "isClosed" | "hasEqualSlots"> => {
  const [newest, older] = decodeSlots(block, segment.header.checksumSeed)
  if (newest === undefined) return { slot: undefined, isClosed: false, hasEqualSlots: false }
  const { sequence, coordinatorWatermark, watermark } = newest
  const highest = older !== undefined && older.watermark > watermark ? older : newest
  return {
    slot: { ...highest, sequence, coordinatorWatermark },
    isClosed: watermark === older?.watermark,
    hasEqualSlots: coordinatorWatermark === older?.coordinatorWatermark,
  }
}

/** What was read of a file already. */
export interface FileStart {
  readonly fileBytes: number
  /** Header and slots. */
  readonly block: Uint8Array
  /** All of it, where it is small. */
  readonly whole: Uint8Array | undefined
}

/** Scans the segment, whose `framesEnd` is the length of its file for that long. */
export const scanSegment = (segment: Segment, { fileBytes, block, whole }: FileStart): SegmentScan => {
  const { slot, isClosed, hasEqualSlots } = readSlots(segment, block)
  const isOwn = slot !== undefined && segmentIndexOf(slot.watermark) === segment.index
  const startOffset = isOwn ? Math.min(segmentOffsetOf(slot.watermark), fileBytes) : segmentHeaderBytes
  const start: Mark = isOwn ? { ...slot, position: slot.watermark } : headMark(segment, startMark)
  const scanner = new FrameScan(segment, fileBytes, start, startOffset, whole)
  scanner.run()
  return {
    segment,
    slot,
    startOffset,
    badSpots: scanner.badSpots,
    watermark: Math.max(slot?.watermark ?? 0, scanner.watermark),
    isClosed,
    hasEqualSlots,
    firstTimestampMs: firstTimestampMs(segment, fileBytes, whole),
    fileBytes,
    tail: undefined,
  }
}

/** What stands for a scan of a segment that has its footer. */
export const footerScan = (
  segment: Segment,
  { fileBytes, block }: FileStart,
  { checksum64, ...footer }: SegmentFooter & { readonly checksum64: bigint },
): SegmentScan => ({
  segment,
  slot: readSlots(segment, block).slot,
  startOffset: footer.durableBytes,
  badSpots: [],
  watermark: segment.position(footer.durableBytes),
  isClosed: false,
  hasEqualSlots: false,
  firstTimestampMs: footer.firstTimestampMs,
  fileBytes,
  tail: { footer, checksum64, tailBytes: fileBytes - footer.durableBytes },
})

/** The mark at `offset` of a segment, or at the last batch end before it. */
export const markAt = (segment: Segment, before: Mark, offset: number): Mark => {
  const scan = new FrameScan(segment, offset, headMark(segment, before), segmentHeaderBytes)
  scan.run()
  return scan.badSpots.at(-1)!.mark
}

/** The mark at the first frame of a segment. */
export const headMark = (segment: Segment, before: Mark): Mark => ({
  position: segment.position(segmentHeaderBytes),
  nextRecordNumber: segment.header.firstRecordNumber,
  lastRecordId: before.lastRecordId,
  lastTimestampMs: before.lastTimestampMs,
  timestampMsMax: segment.header.timestampMsMax,
  extIdMax: segment.header.extIdMax,
})

/** The timestamp of a segment's first record; 0 when it cannot be read. */
export const firstTimestampMs = (segment: Segment, limit: number, whole?: Uint8Array): number => {
  const scan = new FrameScan(segment, limit, headMark(segment, startMark), segmentHeaderBytes, whole)
  return scan.first()
}

class FrameScan extends RecordScanner {
  readonly badSpots: Array<BadSpot> = []
  watermark = 0
  readonly #segment: Segment
  readonly #limit: number
  readonly #window: Window = new Window()
  #mark: Mark
  #offset: number

  constructor(segment: Segment, limit: number, mark: Mark, offset: number, whole?: Uint8Array) {
    super()
    if (whole !== undefined && whole.length >= limit) {
      setWindow(this.#window, whole, new DataView(whole.buffer), 0, limit, false)
      this.#window.segment = segment
    }
    this.#segment = segment
    this.#limit = limit
    this.#mark = mark
    this.#offset = offset
  }

  run(): void {
    let running = { ...this.#mark }
    for (;;) {
      const next = this.#next(running)
      if (next === undefined) {
        const at = this.#offset
        const isZero = isZeroFrom(this.#segment, at, this.#limit)
        const search = searchBehind(this.#segment.position(at), undefined)
        const resumesAt = isZero ? this.#limit : findNextBatch(this.#segment, search, this.#limit)
        const isEnd = resumesAt >= this.#limit
        this.badSpots.push({ offset: at, resumesAt: isEnd ? undefined : resumesAt, isZero, mark: this.#mark })
        if (isEnd) return
        this.#offset = resumesAt
        continue
      }
      running = next
      const { view, base } = this.#window
      const start = this.#offset - base
      this.watermark = Math.max(this.watermark, readNumber(view, start + frameHeader.at.watermark))
      this.#offset = segmentOffsetOf(running.position)
      if ((view.getUint16(start + frameHeader.at.flags, true) & frameContinues) === 0) this.#mark = { ...running }
    }
  }

  /** The state of the stream behind the frame at the offset; undefined when none is there that checks. */
  #next(before: Mark): Mark | undefined {
    if (checkFrame(this.#segment, this.#window, this.#offset, this.#limit, blockBytes) !== FRAME_OK) return undefined
    const after = { ...before }
    // Only somebody who means to can make a frame that checks and whose records do not fit.
    if (caught(() => this.#walk(after)) !== undefined) return undefined
    const start = this.#offset - this.#window.base
    const lengthBytes = this.#window.view.getUint32(start + frameHeader.at.lengthBytes, true)
    const position = this.#segment.position(alignFrame(this.#offset + lengthBytes))
    return { ...after, nextRecordNumber: this.recordNumber + 1, position }
  }

  /** Walks the records of the frame at the offset, and notes in `after` what they change. */
  #walk(after: { -readonly [K in keyof Mark]: Mark[K] }): void {
    const { buffer, view, base } = this.#window
    const start = this.#offset - base
    this.enterFrame(buffer, view, start, this.#segment.position(base))
    if (isPlain(view, start)) this.skipToLast(start)
    while (this.recordsLeft > 0 && this.step()) {
      after.lastRecordId = this.recordId
      after.lastTimestampMs = this.timestampMs
      after.timestampMsMax = Math.max(after.timestampMsMax, this.timestampMs)
      const { extId } = this
      if (extId > after.extIdMax) after.extIdMax = extId
    }
  }

  first(): number {
    if (checkFrame(this.#segment, this.#window, this.#offset, this.#limit, 4096) !== FRAME_OK) return 0
    const start = this.#offset - this.#window.base
    this.enterFrame(this.#window.buffer, this.#window.view, start, this.#segment.position(this.#window.base))
    let timestampMs = 0
    // A frame whose records do not fit is met by the scan.
    caught(() => {
      if (this.step()) timestampMs = this.timestampMs
    })
    return timestampMs
  }

  protected override nextFrame(): boolean {
    return false
  }

  protected override recordLeavesFrame(): never {
    throw corrupt(`segment ${this.#segment.index}`, "a record leaves its frame", this.#segment.position(this.#offset))
  }
}

const readNumber = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 4294967296

/** True when the file holds nothing but zeros from `offset` on: the preallocated part. */
const isZeroFrom = (segment: Segment, offset: number, limit: number): boolean => {
  if (offset >= limit) return true
  const buffer = new Uint8Array(blockBytes)
  const words = new Int32Array(buffer.buffer)
  const file = segment.openUnsafe()
  for (let at = offset; at < limit; at += blockBytes) {
    const count = file.readUnsafe(buffer, 0, Math.min(blockBytes, limit - at), at)
    buffer.fill(0, count)
    if (!areZero(words)) return false
  }
  return true
}

/** Words that are looked at in one step: the code is seldom compiled for speed when it runs. */
const stepWords = 16

const areZero = (w: Int32Array): boolean => {
  for (let i = 0; i < w.length; i += stepWords) {
    const low = w[i]! | w[i + 1]! | w[i + 2]! | w[i + 3]! | w[i + 4]! | w[i + 5]! | w[i + 6]! | w[i + 7]!
    const high = w[i + 8]! | w[i + 9]! | w[i + 10]! | w[i + 11]! | w[i + 12]! | w[i + 13]! | w[i + 14]! | w[i + 15]!
    if ((low | high) !== 0) return false
  }
  return true
}
