/**
 * The writing side of a segment, from its first frame until its footer is durable: the file, the staging memory, and how far it
 * is written and synced.
 */
import type { SegmentFooter } from "../../format/segment_footer.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import type { IndexBuilder } from "../../state/index_builder.ts"
import type { SegmentWriter } from "../../state/segment_writer.ts"
import type { StagingTail } from "../../state/staging_tail.ts"
import type { Mark } from "../../state/watermark.ts"
import type { Segment } from "../stream/segment.ts"

/** What a footer says about the records of a segment. */
export interface SegmentStats {
  readonly recordCount: number
  readonly lastRecordId: number
  readonly firstTimestampMs: number
  readonly lastTimestampMs: number
  readonly timestampMsMax: number
  readonly extIdMax: bigint
}

/** A durable index and footer. */
export interface SealedTail {
  readonly footer: SegmentFooter
  readonly checksum64: bigint
  /** Bytes of index and footer. */
  readonly tailBytes: number
  /** True when the manifest was given its record. */
  isNoted: boolean
}

export class WritingSegment {
  readonly segment: Segment
  readonly tail: StagingTail
  /** Undefined once nothing is appended any more. */
  writer: SegmentWriter | undefined
  readonly index: IndexBuilder
  /** The index notes frames from this offset on; what lies before is walked at seal. */
  readonly indexFrom: number
  writtenOffset: number
  /** The commit journal holds everything from the durable offset up to here, when that is more. */
  journaledOffset: number
  /** Syncs of the file so far: zeros run ahead of those who sync often. */
  syncCount = 0
  /** True when the directory entry of the file is durable. */
  isEntrySynced: boolean
  /** Set when appends ended. */
  stats: SegmentStats | undefined = undefined
  /** Index and footer that an earlier process has left behind the frames. */
  readonly foundTail: Omit<SealedTail, "isNoted"> | undefined
  /** Set when the footer is durable. */
  sealed: SealedTail | undefined = undefined
  #endOffset: number
  /** Zeros are durable up to here. */
  zeroedEnd: number
  /** A stretch that is being zeroed and must not be written meanwhile. */
  zeroing: { readonly from: number; readonly to: number } | undefined = undefined
  zeroStepBytes: number = 64 * 1024
  hasFlushFailed = false
  /** Set by a failed sync until the file is replaced: a sync of it that ends well proves nothing any more. */
  isSuspect = false
  /** True while the flusher syncs or replaces the file: index and footer have to wait. */
  isSyncing = false
  /** True while a batch writes what the file lacks: the file must neither be sealed nor left to anybody else. */
  isInBatch = false
  /** True while index and footer are being written: the flusher leaves the file alone. */
  isTailing = false
  /** True while the file is being replaced: nothing may be written to the old one. */
  isReplacing = false
  slotSequence: number
  /** True while the file says that it was closed in order: nothing has been appended since. */
  isClosedInOrder = false
  /** What the newest slot says of the stream; undefined when there is none, or it says nothing. */
  slotMark: Mark | undefined = undefined
  /** Which change of the watermark of the application its newest slot, or its footer, names. */
  coordinatorVersion = 0
  /** The durable offset that the newest slot names. */
  slotOffset: number
  /** Timestamp of the segment's first record when it was appended before this process. */
  readonly #firstTimestampMs: number | undefined

  constructor(options: {
    readonly segment: Segment
    readonly tail: StagingTail
    readonly writer: SegmentWriter | undefined
    readonly index: IndexBuilder
    readonly offset: number
    readonly isEntrySynced: boolean
    readonly slotSequence: number
    readonly firstTimestampMs?: number | undefined
    readonly foundTail?: Omit<SealedTail, "isNoted"> | undefined
  }) {
    this.segment = options.segment
    this.tail = options.tail
    this.writer = options.writer
    this.index = options.index
    this.indexFrom = options.offset
    this.writtenOffset = options.offset
    this.durableOffset = options.offset
    this.journaledOffset = options.offset
    this.#endOffset = options.offset
    this.zeroedEnd = options.offset
    this.isEntrySynced = options.isEntrySynced
    this.slotSequence = options.slotSequence
    this.slotOffset = options.offset
    this.#firstTimestampMs = options.firstTimestampMs
    this.foundTail = options.foundTail
  }

  /** The file itself holds everything below durably. */
  get durableOffset(): number {
    return this.segment.durableEnd
  }

  set durableOffset(offset: number) {
    this.segment.durableEnd = offset
  }

  get firstTimestampMs(): number {
    return this.#firstTimestampMs ?? this.writer?.firstTimestampMs ?? 0
  }

  get file(): SegmentFile {
    return this.segment.openUnsafe()
  }

  /** Offset behind the last appended byte. */
  get endOffset(): number {
    return this.writer === undefined ? this.#endOffset : this.writer.endOffset
  }

  /** Ends appending: closes the open frame and keeps what the footer will say. */
  end(stats: SegmentStats): void {
    if (this.writer !== undefined) {
      this.writer.closeFrame()
      this.#endOffset = this.writer.endOffset
      this.writer = undefined
    }
    this.stats = stats
  }
}
