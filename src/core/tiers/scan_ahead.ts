/**
 * Scans of segments that are only in Tier 2. They pass through memory: a run of zstd frames at a time, each twice as long as the one before
 * it, with the next ones on their way while one is read, on into the segments behind. Who scans the same place at the same time shares
 * them; nothing is written to the disk.
 *
 * Invariant: what is fetched ahead and not read yet stays within half of the memory for it.
 */
import * as Effect from "effect/Effect"
import type { SeekTable, ZstdFrame } from "../../format/seekable_zstd.ts"
import type { AofError } from "../../model/errors.ts"
import { ByteCache } from "../../state/byte_cache.ts"
import { SingleFlight } from "../flow/single_flight.ts"
import { SpareBuffers } from "../flow/spare_buffers.ts"
import { getBytesMax } from "../tier2/tier2_requests.ts"
import { sliceFrames, type TakeContent } from "./checked_frames.ts"
import { fetchRun, fetchTable, knownTable, ofCopy, type ScanRun } from "./fetch_frames.ts"
import type { ColdCopy, Residency } from "./residency.ts"
import { ScanPace } from "./scan_pace.ts"
import { makeStretch, type Stretch, stretchKey } from "./stretch.ts"
import type { TierServices } from "./tier_services.ts"

/** Content of the first run of a scan: one that ends soon has not fetched much. */
const runBytesFirst = 256 * 1024
/** Content of the longest run: with a frame more and what the compression adds it is still one request. */
const runBytesMost = 4 * 1024 * 1024 - 192 * 1024
/** Runs that are fetched before the one that is read is at its end. */
const runsAhead = 3
/** Ends of runs that are remembered: whoever goes on there is a scan under way. */
const endsMax = 256

/** A run of frames of one segment, fetched at once. */
interface Run extends ScanRun {
  /** Content that was asked for. */
  readonly bytes: number
  isRead: boolean
}

interface ScanStretch extends Stretch {
  readonly run: Run
}

export class ScanAhead {
  readonly #services: TierServices
  readonly #stretches: ByteCache<ScanStretch>
  readonly #bytesMax: number
  readonly #ends: ByteCache<number> = new ByteCache(endsMax)
  readonly #flights: SingleFlight<number, void>
  readonly #buffers: SpareBuffers = new SpareBuffers(getBytesMax)
  readonly #pace: ScanPace
  /** Runs that are under way, by the key of their first frame. */
  readonly #running: Map<number, Run> = new Map()
  /** Runs that were begun ahead and are not read. */
  readonly #begun: Map<number, Run> = new Map()

  /** Keeps at most `bytesMax` in memory. */
  constructor(services: TierServices, bytesMax: number) {
    this.#services = services
    this.#bytesMax = bytesMax
    this.#stretches = new ByteCache(bytesMax)
    this.#flights = new SingleFlight(services.fork)
    const { readingTurns, clock, scanBytesPerSecondMax } = services
    this.#pace = new ScanPace({
      bytesPerSecondMax: scanBytesPerSecondMax,
      isLive: () => readingTurns.isLive,
      nowMs: () => clock.currentTimeMillisUnsafe(),
    })
  }

  /** Bytes in memory. */
  get usedBytes(): number {
    return this.#stretches.usedBytes
  }

  /** Milliseconds that fetches have waited since somebody appended. */
  get pacedMs(): number {
    return this.#pace.waitedMs
  }

  /**
   * The stretch that holds the frames from `first` to `last`, joined where they came one by one; else the first frame that is missing. The runs
   * behind what is here are begun.
   */
  find(residency: Residency, table: SeekTable, first: ZstdFrame, last: ZstdFrame): Stretch | ZstdFrame {
    const parts: Array<Stretch> = []
    const endOfAll = last.contentOffset + last.contentBytes
    for (let frame = first; ; ) {
      const part = this.#find(residency, frame)
      if (part === undefined) return frame
      parts.push(part)
      const end = part.offset + part.bytes.length
      if (end >= endOfAll) return parts.length === 1 ? part : joined(parts)
      frame = table.frameAt(end)!
    }
  }

  /** True when so many bytes may be waited for until they are here at the same time. */
  holds(bytes: number): boolean {
    return bytes <= this.#bytesMax / 4
  }

  #find(residency: Residency, frame: ZstdFrame): Stretch | undefined {
    const stretch = this.#holding(residency, frame)
    if (stretch === undefined) return undefined
    const { run } = stretch
    residency.scannedTo = Math.max(residency.scannedTo, stretch.offset + stretch.bytes.length)
    if (!run.isRead) {
      run.isRead = true
      this.#begun.delete(keyOf(run))
      this.#ahead(run, runsAhead)
    }
    return stretch
  }

  /** Fetches the run around `offset`. */
  bring(residency: Residency, offset: number): Effect.Effect<void, AofError> {
    return ofCopy(residency, (copy) =>
      Effect.flatMap(this.#table(copy), (table) => {
        const first = table.frameAt(offset)
        const isThere = first !== undefined && first.contentOffset < table.knownBytes
        if (!isThere || !residency.isStill(copy)) return Effect.void
        const running = this.#runningAt(copy, first)
        if (running !== undefined) return this.#fetch(running)
        const before = this.#ends.get(stretchKey(copy.uid, first.index))
        const bytes = before === undefined ? runBytesFirst : Math.min(2 * before, this.#runBytesMax)
        return this.#fetch(makeRun(copy, table, first, bytes))
      }),
    )
  }

  /** Forgets what it has of a segment. */
  forget(residency: Residency): void {
    for (let index = 0; index < (residency.form?.frameCount ?? 0); index++) {
      this.#stretches.delete(stretchKey(residency.uid, index))
    }
  }

  /** Ends what is under way. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => this.#flights.close)

  /** The seek table, fetched once for all who want it. */
  #table(copy: ColdCopy): Effect.Effect<SeekTable, AofError> {
    const fetched = Effect.suspend(() => fetchTable(this.#services, copy))
    const isHere = knownTable(this.#services, copy) !== undefined
    // A key that is negative is no frame.
    return isHere ? fetched : Effect.andThen(this.#flights.run(-copy.uid, Effect.asVoid(fetched)), fetched)
  }

  #runningAt(copy: ColdCopy, frame: ZstdFrame): Run | undefined {
    for (const run of this.#running.values()) {
      const isHere = run.copy.uid === copy.uid && run.first.index <= frame.index && frame.index <= run.last.index
      if (isHere) return run
    }
    return undefined
  }

  #holding(residency: Residency, { index, contentOffset }: ZstdFrame): ScanStretch | undefined {
    for (let first = index; first > index - sliceFrames && first >= 0; first--) {
      const stretch = this.#stretches.peek(stretchKey(residency.uid, first))
      if (stretch !== undefined) return stretch.offset + stretch.bytes.length > contentOffset ? stretch : undefined
    }
    return undefined
  }

  get #runBytesMax(): number {
    return Math.max(runBytesFirst, Math.min(runBytesMost, this.#bytesMax / 4))
  }

  #fetch(run: Run): Effect.Effect<void, AofError> {
    const { copy, last, bytes } = run
    const key = keyOf(run)
    const fetched = Effect.suspend(() => {
      this.#running.set(key, run)
      this.#ends.set(stretchKey(copy.uid, last.index + 1), bytes, 1)
      const take: TakeContent = (from, content, isIntact) => {
        const stretch: ScanStretch = { ...makeStretch(from.contentOffset, content, isIntact), run }
        if (copy.residency.isStill(copy)) {
          this.#stretches.set(stretchKey(copy.uid, from.index), stretch, content.length)
        }
      }
      return this.#pace.paced(bytes, fetchRun(this.#services, run, this.#buffers, take))
    })
    const ended = Effect.sync(() => {
      this.#running.delete(key)
      if (this.#running.size === 0) this.#buffers.rest()
    })
    return this.#flights.run(key, Effect.ensuring(fetched, ended))
  }

  /** Begins `count` runs behind one, as far as there is room for them. */
  #ahead(run: Run, count: number): void {
    if (count === 0 || run.bytes === runBytesFirst) return
    const { copy, table, last } = run
    const bytes = Math.min(2 * run.bytes, this.#runBytesMax)
    const next = last.contentOffset + last.contentBytes < framesEnd(run) ? table.frame(last.index + 1) : undefined
    if (next !== undefined) this.#begin(makeRun(copy, table, next, bytes), count)
    else this.#aheadIn(this.#services.segments.next(copy.residency), bytes, count)
  }

  /** Goes on in another segment. */
  #aheadIn(residency: Residency | undefined, bytes: number, count: number): void {
    const copy = residency === undefined || residency.isHot || residency.isWarm ? undefined : residency.coldCopy
    if (copy === undefined) return
    const begin = (table: SeekTable): void => {
      const first = table.frame(0)
      if (first !== undefined) this.#begin(makeRun(copy, table, first, bytes), count)
    }
    const table = knownTable(this.#services, copy)
    if (table !== undefined) return begin(table)
    // What is wrong a scan that comes there finds out for itself.
    this.#services.fork(Effect.ignore(Effect.map(this.#table(copy), begin)))
  }

  #begin(run: Run, count: number): void {
    const key = keyOf(run)
    const here = this.#stretches.has(key) || this.#isDamaged(run.first, run.copy)
    if (!here && !this.#begun.has(key)) {
      if (this.#begunBytes() + run.bytes > this.#bytesMax / 2) return
      this.#begun.set(key, run)
      const failed = Effect.sync(() => this.#begun.delete(key))
      this.#services.fork(Effect.ignore(Effect.tapError(this.#fetch(run), () => failed)))
    }
    this.#ahead(run, count - 1)
  }

  /** True when nothing came of it, and it is not asked for again yet. */
  #isDamaged({ contentOffset, contentBytes }: ZstdFrame, { residency }: ColdCopy): boolean {
    const nowMs = this.#services.clock.currentTimeMillisUnsafe()
    return residency.damage.isBelievedIn(contentOffset, contentOffset + contentBytes, nowMs)
  }

  /** Content of the runs that were begun ahead and are not read. Those that nobody has read before they went are given up. */
  #begunBytes(): number {
    let bytes = 0
    for (const [key, run] of this.#begun) {
      if (this.#flights.has(key) || this.#stretches.has(key)) bytes += run.bytes
      else this.#begun.delete(key)
    }
    return bytes
  }
}

/** Parts may overlap, where frames came with two runs or once more after damage: behind the last one there must be nothing. */
const joined = (parts: ReadonlyArray<Stretch>): Stretch => {
  const { offset } = parts[0]!
  const last = parts.at(-1)!
  const bytes = new Uint8Array(last.offset + last.bytes.length - offset)
  for (const part of parts) bytes.set(part.bytes, part.offset - offset)
  return makeStretch(offset, bytes)
}

const keyOf = ({ copy, first }: Run): number => stretchKey(copy.uid, first.index)

/** Where the log frames of a segment end, or what is left of it: behind that a scan reads nothing. */
const framesEnd = ({ copy, table }: Pick<Run, "copy" | "table">): number =>
  Math.min(copy.residency.seal?.framesEnd ?? table.contentBytes, table.knownBytes)

const makeRun = (copy: ColdCopy, table: SeekTable, first: ZstdFrame, bytes: number): Run => {
  const end = Math.min(first.contentOffset + bytes, framesEnd({ copy, table }))
  const last = end > first.contentOffset ? table.frameAt(end - 1) : undefined
  return { copy, table, first, last: last ?? first, bytes, isRead: false }
}
