/**
 * Every segment that the tiers look after, by stream and index, with the sets that the planner is asked about: what is in Tier 0,
 * what is in Tier 1, what is still to be compressed or uploaded. The sets follow the residencies, which say where bytes are.
 */
import { Residency } from "./residency.ts"
import type { TierSegments as Port, TierStream } from "./tier_services.ts"

export class TierSegments implements Port {
  readonly hot: Set<Residency> = new Set()
  readonly warm: Set<Residency> = new Set()
  /** Sealed segments in Tier 0 without a warm form. */
  readonly uncompressed: Set<Residency> = new Set()
  /** Segments with a warm file that Tier 2 does not have. */
  readonly unuploaded: Set<Residency> = new Set()
  readonly streams: Map<number, TierStream> = new Map()
  readonly #byStream: Map<number, Map<number, Residency>> = new Map()
  readonly #root: string
  #warmBytes = 0
  #reservedBytes = 0
  readonly #counted: Map<Residency, number> = new Map()

  constructor(root: string) {
    this.#root = root
  }

  get warmBytes(): number {
    return this.#warmBytes + this.#reservedBytes
  }

  /** All segments, in no order. */
  *all(): IterableIterator<Residency> {
    for (const segments of this.#byStream.values()) yield* segments.values()
  }

  /** Those of one stream, by index. */
  ofStream(streamId: number): ReadonlyMap<number, Residency> {
    return this.#byStream.get(streamId) ?? new Map()
  }

  stream(streamId: number): TierStream | undefined {
    return this.streams.get(streamId)
  }

  /** The residency of a segment, made when there is none yet. */
  take(stream: { readonly streamId: number; readonly name: string }, index: number): Residency {
    let segments = this.#byStream.get(stream.streamId)
    if (segments === undefined) this.#byStream.set(stream.streamId, (segments = new Map()))
    let residency = segments.get(index)
    if (residency === undefined) {
      residency = new Residency({ streamId: stream.streamId, stream: stream.name, index, root: this.#root })
      segments.set(index, residency)
    }
    return residency
  }

  next(residency: Residency): Residency | undefined {
    let best: Residency | undefined
    for (const one of this.ofStream(residency.streamId).values()) {
      if (one.index > residency.index && (best === undefined || one.index < best.index)) best = one
    }
    return best
  }

  changed(residency: Residency): void {
    const isSealed = residency.seal !== undefined && !residency.isGone
    put(this.hot, residency, isSealed && residency.isHot)
    put(this.warm, residency, isSealed && residency.isWarm)
    const isCold = residency.cold !== undefined
    put(this.uncompressed, residency, isSealed && residency.isHot && residency.form === undefined)
    put(this.unuploaded, residency, isSealed && residency.isWarm && !isCold)
    this.#count(residency, isSealed ? residency.warmBytes : 0)
  }

  /** A segment that was trimmed or deleted. */
  forget(residency: Residency): void {
    residency.isGone = true
    residency.guard?.release()
    residency.guard = undefined
    this.changed(residency)
    const segments = this.#byStream.get(residency.streamId)
    segments?.delete(residency.index)
    if (segments?.size === 0) this.#byStream.delete(residency.streamId)
  }

  reserveWarm(bytes: number): () => void {
    let held = bytes
    this.#reservedBytes += bytes
    return () => {
      this.#reservedBytes -= held
      held = 0
    }
  }

  #count(residency: Residency, bytes: number): void {
    this.#warmBytes += bytes - (this.#counted.get(residency) ?? 0)
    if (bytes === 0) this.#counted.delete(residency)
    else this.#counted.set(residency, bytes)
  }
}

const put = (set: Set<Residency>, residency: Residency, isIn: boolean): void => {
  if (isIn) set.add(residency)
  else set.delete(residency)
}
