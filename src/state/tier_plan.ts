/**
 * Decides what the tiers do next: plain data in, jobs out. Nothing is known here of files, fibers or time but what the input says, so
 * the same input gives the same jobs.
 *
 * The rules: room that somebody waits for comes first. A Tier 0 file goes when its warm form is durable, a warm file when Tier 2 has
 * it; what was used longest ago goes first, what is pinned or busy stays. When nothing can go, the next step that leads there is
 * started: upload, compress, and with nothing sealed left, sealing the largest active segment.
 */

/** A sealed segment as the planner sees it. */
export interface PlanSegment {
  readonly uid: number
  readonly streamId: number
  readonly seal: { readonly fileBytes: number } | undefined
  readonly isHot: boolean
  readonly isWarm: boolean
  /** Defined once it was compressed. */
  readonly form: { readonly fileBytes: number } | undefined
  /** Defined once Tier 2 has it. */
  readonly cold: unknown
  /** True when it is in Tier 2 and no local copy is needed any more. */
  readonly isTold: boolean
  readonly isDamaged: boolean
  readonly isBusy: boolean
  readonly pins: number
  readonly warmPins: number
  readonly lastUse: number
  readonly decodedReads: number
  readonly warmSinceMs: number
  readonly retryAtMs: number
  /** When a local copy that could not be taken away is tried again, Unix milliseconds. */
  readonly evictAtMs: number
}

/** An active segment. */
export interface PlanActive<Active> {
  readonly active: Active
  readonly streamId: number
  /** Bytes that it holds in Tier 0. */
  readonly bytes: number
}

export interface TierPlanInput<Segment extends PlanSegment, Active> {
  readonly nowMs: number
  readonly tier0: {
    readonly usedBytes: number
    readonly bytesMax: number
    /** Somebody waits for room in the whole budget. */
    readonly isWanted: boolean
    /** Streams that wait for room in a budget of their own. */
    readonly wantedStreams: ReadonlySet<number>
  }
  readonly tier1: {
    readonly usedBytes: number
    readonly bytesMax: number
    readonly residencyMsMin: number
    /** What a segment is expected to shrink to, as a share of its bytes. */
    readonly ratio: number
  }
  /** Sealed segments with a Tier 0 file, in any order. */
  readonly hot: ReadonlyArray<Segment>
  /** Segments with a warm file, in any order. */
  readonly warm: ReadonlyArray<Segment>
  readonly actives: ReadonlyArray<PlanActive<Active>>
  readonly isCompressEager: boolean
  readonly isUploadEager: boolean
  /** False when there is no Tier 2 at all. */
  readonly hasTier2: boolean
  readonly level: number
  /** Jobs of each kind that may be started now. */
  readonly slots: { readonly compress: number; readonly upload: number }
}

/** What is to be done. */
export type TierJob<Segment, Active> =
  | { readonly type: "evictHot"; readonly segment: Segment }
  | { readonly type: "evictWarm"; readonly segment: Segment }
  | { readonly type: "compress"; readonly segment: Segment; readonly level: number }
  | { readonly type: "upload"; readonly segment: Segment }
  | { readonly type: "seal"; readonly active: Active }

export interface TierPlan<Segment, Active> {
  readonly jobs: ReadonlyArray<TierJob<Segment, Active>>
  /** When to look again although nothing happens; undefined for never. */
  readonly wakeAtMs: number | undefined
}

/** Above this share of a budget the next tier is fed. */
const highShare = 0.75
/** Down to this share a full budget is cleared, so that not each segment needs a plan of its own. */
const lowShare = 0.7
/** Shares of Tier 0 above which compression gets faster, and the levels that are used then. */
const hurries: ReadonlyArray<readonly [number, number]> = [
  [0.95, 1],
  [0.85, 3],
]

/** Says what to do now. */
export const planTiers = <Segment extends PlanSegment, Active>(
  input: TierPlanInput<Segment, Active>,
): TierPlan<Segment, Active> => new Planner(input).plan()

class Planner<Segment extends PlanSegment, Active> {
  readonly #input: TierPlanInput<Segment, Active>
  readonly #jobs: Array<TierJob<Segment, Active>> = []
  readonly #taken: Set<Segment> = new Set()
  #wakeAtMs: number | undefined = undefined
  /** Bytes of Tier 1 that the next compression lacks. */
  #missingBytes = 0

  constructor(input: TierPlanInput<Segment, Active>) {
    this.#input = input
  }

  plan(): TierPlan<Segment, Active> {
    this.#clearHot()
    this.#compress()
    this.#clearWarm()
    this.#upload()
    this.#seal()
    return { jobs: this.#jobs, wakeAtMs: this.#wakeAtMs }
  }

  /** Warm files above the budget, as far as Tier 2 has them. */
  #clearWarm(): void {
    const { tier1, warm } = this.#input
    const isTight = tier1.usedBytes > tier1.bytesMax * highShare
    if (!this.#input.hasTier2 || !(isTight || this.#missingBytes > 0)) return
    let excess = Math.max(isTight ? tier1.usedBytes - tier1.bytesMax * lowShare : 0, this.#missingBytes)
    for (const segment of byUse(warm)) {
      if (excess <= 0) return
      if (!segment.isTold || segment.warmPins > 0 || !this.#mayLeave(segment)) continue
      const leaveAtMs = segment.warmSinceMs + tier1.residencyMsMin
      if (leaveAtMs > this.#input.nowMs && tier1.usedBytes <= tier1.bytesMax && this.#missingBytes === 0) {
        this.#wakeAt(leaveAtMs)
        continue
      }
      this.#add(segment, { type: "evictWarm", segment })
      excess -= segment.form?.fileBytes ?? 0
    }
  }

  /** Tier 0 files of segments that have a warm form or are in Tier 2. */
  #clearHot(): void {
    const { tier0, hot } = this.#input
    const isOver = tier0.usedBytes > tier0.bytesMax * highShare
    if (isOver || tier0.isWanted) {
      this.#evictFrom(hot, Math.max(tier0.usedBytes - tier0.bytesMax * lowShare, tier0.isWanted ? 1 : 0))
    }
    for (const streamId of tier0.wantedStreams) this.#evictFrom(ofStream(hot, streamId), 1)
  }

  #evictFrom(pool: ReadonlyArray<Segment>, bytes: number): void {
    let excess = bytes
    for (const segment of byUse(pool)) {
      if (excess <= 0) return
      const hasCopy = segment.isWarm || segment.isTold
      if (!hasCopy || segment.pins > 0 || !this.#mayLeave(segment)) continue
      this.#add(segment, { type: "evictHot", segment })
      excess -= segment.seal?.fileBytes ?? 0
    }
  }

  #upload(): void {
    const { warm, tier1, hasTier2, isUploadEager } = this.#input
    let { upload } = this.#input.slots
    const isNeeded = isUploadEager || this.#missingBytes > 0 || tier1.usedBytes > tier1.bytesMax * highShare
    if (!hasTier2 || !isNeeded || upload <= 0) return
    for (const segment of byUid(warm)) {
      if (upload === 0) return
      if (segment.cold !== undefined || !this.#isDue(segment)) continue
      this.#add(segment, { type: "upload", segment })
      upload--
    }
  }

  #compress(): void {
    const { hot, tier0, isCompressEager } = this.#input
    let { compress } = this.#input.slots
    for (const streamId of tier0.wantedStreams) compress -= this.#compressFrom(byUse(ofStream(hot, streamId)), compress)
    if (isCompressEager) this.#compressFrom(byUid(hot), compress)
    else if (tier0.isWanted || tier0.usedBytes > tier0.bytesMax * highShare) this.#compressFrom(byUse(hot), compress)
  }

  /** Starts at most `count` compressions, in order; returns how many. */
  #compressFrom(pool: ReadonlyArray<Segment>, count: number): number {
    let left = count
    for (const segment of pool) {
      if (left <= 0) break
      if (segment.form !== undefined || segment.isDamaged || !this.#isDue(segment)) continue
      if (!this.#fitsTier1(segment)) break
      this.#add(segment, { type: "compress", segment, level: this.#level() })
      left--
    }
    return count - left
  }

  /**
   * True when there is room for its warm file. When there is none it is made, and as long as nothing can leave, one compression goes over
   * the budget: Tier 0 must not wait for what Tier 1 can never give.
   */
  #fitsTier1(segment: Segment): boolean {
    const { usedBytes, bytesMax, ratio } = this.#input.tier1
    const bytes = warmBytesOf(segment, ratio)
    if (usedBytes + bytes <= bytesMax) return true
    this.#missingBytes = Math.max(this.#missingBytes, usedBytes + bytes - bytesMax)
    return bytes > bytesMax / 2 && usedBytes <= bytesMax / 2
  }

  /** With nothing else left that could go, the largest active segment is sealed: then it can. */
  #seal(): void {
    const { actives, hot, tier0 } = this.#input
    if (tier0.isWanted) this.#sealLargest(hot, actives)
    for (const streamId of tier0.wantedStreams) this.#sealLargest(ofStream(hot, streamId), ofStream(actives, streamId))
  }

  #sealLargest(hot: ReadonlyArray<Segment>, actives: ReadonlyArray<PlanActive<Active>>): void {
    if (hot.some((segment) => !segment.isDamaged && segment.pins === 0)) return
    let largest: PlanActive<Active> | undefined
    for (const one of actives) if (largest === undefined || one.bytes > largest.bytes) largest = one
    if (largest !== undefined) this.#jobs.push({ type: "seal", active: largest.active })
  }

  #level(): number {
    const { level, tier0 } = this.#input
    const share = tier0.usedBytes / tier0.bytesMax
    const hurry = hurries.find(([above]) => share > above)
    return hurry === undefined ? level : Math.min(level, hurry[1])
  }

  #isFree(segment: Segment): boolean {
    return !segment.isBusy && !this.#taken.has(segment)
  }

  #mayLeave(segment: Segment): boolean {
    if (!this.#isFree(segment)) return false
    if (segment.evictAtMs <= this.#input.nowMs) return true
    this.#wakeAt(segment.evictAtMs)
    return false
  }

  #isDue(segment: Segment): boolean {
    if (!this.#isFree(segment)) return false
    if (segment.retryAtMs <= this.#input.nowMs) return true
    this.#wakeAt(segment.retryAtMs)
    return false
  }

  #add(segment: Segment, job: TierJob<Segment, Active>): void {
    this.#taken.add(segment)
    this.#jobs.push(job)
  }

  #wakeAt(timeMs: number): void {
    if (this.#wakeAtMs === undefined || timeMs < this.#wakeAtMs) this.#wakeAtMs = timeMs
  }
}

/** What was used longest ago first. */
const byUse = <Segment extends PlanSegment>(segments: ReadonlyArray<Segment>): ReadonlyArray<Segment> =>
  [...segments].sort((one, other) => one.lastUse - other.lastUse || one.uid - other.uid)

/** In the order in which they were made. */
const byUid = <Segment extends PlanSegment>(segments: ReadonlyArray<Segment>): ReadonlyArray<Segment> =>
  [...segments].sort((one, other) => one.uid - other.uid)

const ofStream = <One extends { readonly streamId: number }>(
  all: ReadonlyArray<One>,
  streamId: number,
): ReadonlyArray<One> => all.filter((one) => one.streamId === streamId)

/** What the warm file of a segment is expected to have, at most what it has without compression. */
export const warmBytesOf = (
  segment: { readonly seal: { readonly fileBytes: number } | undefined },
  ratio: number,
): number => Math.ceil((segment.seal?.fileBytes ?? 0) * Math.min(1, ratio)) + 4096
