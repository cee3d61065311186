/**
 * Reads segments that are not in Tier 0. A warm file is read in place: the zstd frame around the wanted bytes is decoded at once. What
 * is only in Tier 2 has to be fetched first, which a `WouldBlock` says. Decoded stretches are kept in a cache bounded by bytes.
 *
 * A scan leaves nothing in this cache and never makes room in Tier 0 for what it passes.
 */
import { type SeekTable, seekTableBytes, type ZstdFrame } from "../../format/seekable_zstd.ts"
import { decodeSegmentHeader, type SegmentHeader } from "../../format/segment_header.ts"
import { salvageZstdFrames, walkZstdFrames } from "../../format/zstd_walk.ts"
import { type AofError, corrupt, isMissingFile, notFound } from "../../model/errors.ts"
import type { Compressor } from "../../port/compressor.ts"
import type { Directory } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import type { ByteCache } from "../../state/byte_cache.ts"
import type { OpenFiles } from "../files/open_files.ts"
import { caught } from "../flow/attempt.ts"
import { type ColdNeed, hydrationBlocked } from "../read/cold_need.ts"
import { setWindow, type Window } from "../read/window.ts"
import { type FillRange, pointBytesMax, type Segment, type SegmentSource } from "../stream/segment.ts"
import { decodeFrames, tableOf } from "./decode_frames.ts"
import type { Residency, UseClock, WarmForm } from "./residency.ts"
import { makeStretch, type Stretch, stretchKey } from "./stretch.ts"

/** Stretches that scans have brought. */
export interface ScannedStretches {
  /** The frames from `first` to `last` as one stretch; else the first that is missing. */
  readonly find: (residency: Residency, table: SeekTable, first: ZstdFrame, last: ZstdFrame) => Stretch | ZstdFrame
  /** True when so many bytes may be waited for until they are here at the same time. */
  readonly holds: (bytes: number) => boolean
}

/** What a reader of other tiers works with. */
export interface TierReaderOptions {
  readonly directory: Directory
  readonly compressor: Compressor
  readonly openFiles: OpenFiles
  readonly stretches: ByteCache<Stretch>
  readonly tables: ByteCache<SeekTable>
  readonly uses: UseClock
  readonly isReadOnly: boolean
  /** What scans bring of segments that are only in Tier 2. */
  readonly scans: () => ScannedStretches
  readonly queueDepth: () => number
  readonly nowMs: () => number
  /** Starts to bring what a reader was missing. */
  readonly onNeed: (need: ColdNeed) => void
  /** A warm file is missing or does not check. */
  readonly onWarmLost: (residency: Residency, reason: "Missing" | "Corrupt") => void
  /** A Tier 0 file does not check, and there is another copy. */
  readonly onHotDamaged: (residency: Residency) => void
  /** Another point read had to decode a stretch. */
  readonly onDecoded: (residency: Residency) => void
}

/** Frames that a reader needs at once. */
interface Wanted {
  readonly table: SeekTable
  readonly first: ZstdFrame
  readonly last: ZstdFrame
  readonly range: FillRange
  readonly isScan: boolean
}

interface WarmFile {
  readonly isReleasable: true
  readonly file: SegmentFile
  readonly releaseFile: () => void
}

export class TierReader implements SegmentSource {
  readonly #options: TierReaderOptions
  readonly #files: Map<Residency, WarmFile> = new Map()
  /** Read-only: warm files that are known to be of the stream that was meant. */
  readonly #own: WeakSet<SegmentFile> = new WeakSet()

  constructor(options: TierReaderOptions) {
    this.#options = options
  }

  noteUse(residency: Residency, isScan: boolean): void {
    this.#options.uses.note(residency, isScan)
  }

  onHotMissing({ residency }: Segment): boolean {
    const isElsewhere = residency.isWarm || residency.cold !== undefined
    if (!isElsewhere && !this.#options.isReadOnly) return false
    residency.leaveHot()?.release()
    return true
  }

  onHotDamaged({ residency }: Segment): boolean {
    if (this.#options.isReadOnly || (!residency.isWarm && residency.cold === undefined)) return false
    this.#options.onHotDamaged(residency)
    return true
  }

  fill(segment: Segment, window: Window, range: FillRange): boolean {
    const { residency } = segment
    const { offset, least } = range
    if (!residency.isWarm && residency.damage.isBelievedIn(offset, offset + least, this.#options.nowMs())) return false
    const isScan = range.most > pointBytesMax
    const table = this.#table(segment, range)
    const first = table.frameAt(offset)
    // A scan decodes as many frames at once as it would read bytes.
    const wanted = isScan && segment.residency.isWarm ? Math.max(least, range.most) : least
    const last = table.frameAt(Math.min(offset + wanted, Math.max(range.limit, offset + least)) - 1)
    if (first === undefined || last === undefined) return false
    const stretch = this.#stretch(segment, { table, first, last, range, isScan })
    if (!isScan && residency.isWarm) this.#options.onDecoded(residency)
    const end = Math.min(stretch.offset + stretch.bytes.length, range.limit)
    window.segment = segment
    setWindow(window, stretch.bytes, stretch.view, stretch.offset, end, false)
    window.isShared = true
    window.isIntact = stretch.isIntact
    return offset + least <= end
  }

  /** Gives a warm file up that is missing or does not check; it is fetched again. */
  loseWarm(residency: Residency, reason: "Missing" | "Corrupt"): void {
    this.release(residency)
    this.#options.onWarmLost(residency, reason)
  }

  /** Forgets the descriptor of a warm file that goes. */
  release(residency: Residency): void {
    const open = this.#files.get(residency)
    if (open !== undefined) this.#options.openFiles.release(open)
  }

  #stretch(segment: Segment, wanted: Wanted): Stretch {
    const { residency } = segment
    const { stretches } = this.#options
    const { first, last, range, isScan } = wanted
    const key = stretchKey(residency.uid, first.index)
    const kept = stretches.get(key)
    if (kept !== undefined && kept.offset + kept.bytes.length >= last.contentOffset + last.contentBytes) return kept
    if (!residency.isWarm) return this.#scanned(segment, wanted)
    const bytes = this.#readWarm(segment, first, last)
    // The file has just turned out to be lost.
    if (bytes === undefined) throw this.#blocked(segment, "frames", range)
    const stretch = makeStretch(first.contentOffset, bytes)
    if (!isScan) stretches.set(key, stretch, bytes.length)
    return stretch
  }

  /** What a scan has brought; throws what it has to wait for. */
  #scanned(segment: Segment, { table, first, last, range, isScan }: Wanted): Stretch {
    const { residency } = segment
    const scans = this.#options.scans()
    if (!isScan || !scans.holds(last.contentOffset + last.contentBytes - first.contentOffset))
      throw this.#blocked(segment, "frames", range)
    const found = scans.find(residency, table, first, last)
    if ("bytes" in found) return found
    // What was here and has gone before the rest of it came is fetched by itself, so that it does not go again.
    const isGone = found.index === first.index && first.index < last.index && residency.scannedTo > first.contentOffset
    throw this.#blocked(segment, isGone ? "frames" : "scan", {
      ...range,
      offset: Math.max(range.offset, found.contentOffset),
    })
  }

  #table(segment: Segment, range: FillRange): SeekTable {
    const { residency } = segment
    const { tables } = this.#options
    const kept = tables.get(residency.uid)
    if (kept !== undefined && (residency.isWarm || residency.isTableBelieved(kept, this.#options.nowMs()))) return kept
    const { form } = residency
    if (form === undefined || (!residency.isWarm && residency.cold === undefined)) throw this.#nowhere(segment)
    if (residency.isWarm) {
      const tail = new Uint8Array(Math.min(form.fileBytes, seekTableBytes(form.frameCount)))
      let isWhole = false
      const isRead = this.#tryWarm(segment, (file) => {
        const count = file.readUnsafe(tail, 0, tail.length, form.fileBytes - tail.length)
        isWhole = count === tail.length && file.sizeUnsafe() === form.fileBytes
        if (!isWhole && !this.#isOnlyCopy(segment)) throw lost(segment, "its length is wrong")
      })
      const found = isWhole ? tableOf(segment, form, tail) : undefined
      const table = isRead ? (found ?? this.#walkedTable(segment, form)) : undefined
      if (table !== undefined) {
        tables.set(residency.uid, table, seekTableBytes(table.frameCount))
        return table
      }
      if (isRead) this.#lose(segment, "Corrupt", lost(segment, "its seek table does not check"))
    }
    const isScan = range.most > pointBytesMax
    throw this.#blocked(segment, isScan ? "scan" : "frames", isScan ? range : noRange)
  }

  /** What the seek table of the only copy should be, from its frames; undefined where another copy is fetched instead. */
  #walkedTable(segment: Segment, form: WarmForm): SeekTable | undefined {
    if (!this.#isOnlyCopy(segment)) return undefined
    const { fileBytes, frameCount } = form
    const bounds = { fileBytes, frameCount, contentBytes: segment.residency.seal?.fileBytes ?? 0 }
    let table: SeekTable | undefined
    this.#tryWarm(segment, (file) => {
      const read = (offset: number, length: number): Uint8Array => {
        const bytes = new Uint8Array(length)
        return bytes.subarray(0, file.readUnsafe(bytes, 0, length, offset))
      }
      table = walkZstdFrames(read, bounds) ?? salvageZstdFrames(read, bounds)
    })
    return table
  }

  /** True when nothing else can be had for the warm file: then what is left of it counts. */
  #isOnlyCopy({ residency }: Segment): boolean {
    return residency.cold === undefined || this.#options.isReadOnly
  }

  /** Decodes frames out of the warm file; undefined when it is lost and another copy may be had. */
  #readWarm(segment: Segment, first: ZstdFrame, last: ZstdFrame): Uint8Array | undefined {
    const { residency } = segment
    const packed = new Uint8Array(last.compressedOffset + last.compressedBytes - first.compressedOffset)
    const isRead = this.#tryWarm(segment, (file) => {
      this.#checkOwn(segment, file)
      const count = file.readUnsafe(packed, 0, packed.length, first.compressedOffset)
      // Of the only copy zeros are read behind its end, which are no frame.
      if (count !== packed.length && !this.#isOnlyCopy(segment)) throw lost(segment, "it is too short")
    })
    if (!isRead) return undefined
    const table = this.#options.tables.get(residency.uid)
    if (table === undefined) return undefined
    let isDamaged = false
    const isOnlyCopy = this.#isOnlyCopy(segment)
    const bytes = decodeFrames(this.#options.compressor, { table, first, last, packed }, (frame) => {
      isDamaged = true
      // Of another copy it says nothing: that one is read until the file is there again.
      if (!isOnlyCopy) return
      const { contentOffset: from, contentBytes } = frame
      residency.damage.note({ from, to: from + contentBytes }, this.#options.nowMs())
    })
    // Where this is the only copy, zeros stand for what does not check: no log frame begins in them, and reading goes on behind.
    if (!isDamaged || isOnlyCopy) return bytes
    this.#lose(segment, "Corrupt", lost(segment, "a frame does not check"))
    return undefined
  }

  /** Its writer may have deleted the stream and made one of its name, whose warm file may be as long. */
  #checkOwn(segment: Segment, file: SegmentFile): void {
    if (!this.#options.isReadOnly || this.#own.has(file)) return
    const frame = this.#options.tables.get(segment.residency.uid)?.frame(0)
    if (frame === undefined) return
    const packed = new Uint8Array(frame.compressedBytes)
    file.readUnsafe(packed, 0, packed.length, frame.compressedOffset)
    let header: SegmentHeader | undefined
    const error = caught(() => {
      const bytes = this.#options.compressor.decodeFrameUnsafe(packed, frame.contentBytes)
      header = decodeSegmentHeader(bytes)
    })
    if (error !== undefined && error._tag !== "Corrupt") throw error
    if (header !== undefined && header.streamId !== segment.header.streamId)
      throw lost(segment, "it is that of another stream")
    this.#own.add(file)
  }

  /** Runs `read` on the warm file; false when the file is lost. */
  #tryWarm(segment: Segment, read: (file: SegmentFile) => void): boolean {
    const { residency } = segment
    const error = caught(() => read(this.#open(residency)))
    if (error === undefined) return true
    const isMissing = isMissingFile(error)
    if (!isMissing && error._tag !== "Corrupt") throw error
    this.#lose(segment, isMissing ? "Missing" : "Corrupt", error)
    return false
  }

  /** Gives a warm file up when there is another copy; throws `error` when there is none. */
  #lose(segment: Segment, reason: "Missing" | "Corrupt", error: AofError): void {
    const { residency } = segment
    if (this.#options.isReadOnly) {
      this.release(residency)
      residency.isWarm = false
      residency.damage.clear()
      return
    }
    // What is damaged here is all there is: the rest of it stays readable.
    if (reason === "Corrupt" && this.#isOnlyCopy(segment)) throw error
    this.loseWarm(residency, reason)
  }

  #open(residency: Residency): SegmentFile {
    const known = this.#files.get(residency)
    if (known !== undefined) {
      this.#options.openFiles.touch(known)
      return known.file
    }
    const file = this.#options.directory.openUnsafe(residency.warmPath, "read")
    const open: WarmFile = {
      isReleasable: true,
      file,
      releaseFile: () => {
        this.#files.delete(residency)
        file.closeUnsafe()
      },
    }
    this.#files.set(residency, open)
    this.#options.openFiles.add(open)
    return file
  }

  #blocked(segment: Segment, kind: "frames" | "scan", { offset, least }: FillRange): AofError {
    const { residency } = segment
    if (residency.cold === undefined) return this.#nowhere(segment)
    const scannedTo = kind === "scan" ? residency.scannedTo : undefined
    const need: ColdNeed = { residency, kind, offset, length: least, scannedTo }
    this.#options.onNeed(need)
    return hydrationBlocked(need, this.#options.queueDepth())
  }

  /** No copy is known. Another process may know more. */
  #nowhere(segment: Segment): AofError {
    const { residency } = segment
    if (!this.#options.isReadOnly || segment.isTrimmed)
      return notFound("segment", segment.index, "no copy of it in any tier")
    return hydrationBlocked({ residency, kind: "look", offset: 0, length: 0 }, this.#options.queueDepth())
  }
}

const noRange: FillRange = { offset: 0, least: 0, most: 0, limit: 0 }

/** The damage of a whole warm file, in id positions. */
const lost = (segment: Segment, detail: string): AofError =>
  corrupt(`warm file of segment ${segment.index}`, detail, segment.position(0), segment.position(segment.framesEnd))
