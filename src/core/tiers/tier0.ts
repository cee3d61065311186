/**
 * The byte budget of Tier 0: what all segment files of all streams hold together. Whoever wants room gets an `AdmissionGuard`, which
 * holds its bytes until it is released; who gets none is told when some was given back. Plain functions: nothing waits here.
 */
import type { Tier0Config } from "../../model/tier_config.ts"

/** Who asks for room: a stream. */
export interface Tier0Owner {
  readonly streamId: number
  /** A budget of its own within the whole, or undefined. */
  readonly tier0BytesMax: number | undefined
  /** Called when bytes were given back after it had been refused. */
  readonly onRoom: () => void
}

/** How far `elastic` goes above the budget. */
const elasticShare = 0.5

/** Bytes of the budget that somebody holds. */
export class AdmissionGuard {
  readonly #tier0: Tier0
  readonly #owner: Tier0Owner
  #bytes: number
  #isReleased = false

  constructor(tier0: Tier0, owner: Tier0Owner, bytes: number) {
    this.#tier0 = tier0
    this.#owner = owner
    this.#bytes = bytes
  }

  /** Bytes held now. */
  get bytes(): number {
    return this.#bytes
  }

  /** Holds at least `bytes`; false when there is no room for what is missing, and nothing changes. */
  tryGrow(bytes: number): boolean {
    if (bytes <= this.#bytes) return true
    if (this.#isReleased || !this.#tier0.hasRoom(this.#owner, bytes - this.#bytes)) return false
    this.resize(bytes)
    return true
  }

  /** Holds exactly `bytes` from now on, whether there is room or not: they are on disk. */
  resize(bytes: number): void {
    if (this.#isReleased) return
    const change = bytes - this.#bytes
    this.#bytes = bytes
    this.#tier0.change(this.#owner, change)
  }

  /** Another guard that holds the bytes from now on, for `owner`, who is of the same stream; this one holds nothing and is done. */
  handOver(owner: Tier0Owner = this.#owner): AdmissionGuard {
    const next = new AdmissionGuard(this.#tier0, owner, this.#isReleased ? 0 : this.#bytes)
    this.#bytes = 0
    this.#isReleased = true
    return next
  }

  /** Gives everything back; a second release does nothing. */
  release(): void {
    if (this.#isReleased) return
    this.resize(0)
    this.#isReleased = true
  }
}

export class Tier0 {
  readonly config: Tier0Config
  /** Called when somebody was refused: room is wanted. */
  onRefused: () => void = () => {}
  /** Called once when `bytes` are held. */
  onHeld: { readonly bytes: number; readonly call: () => void } | undefined = undefined
  readonly #usedByStream: Map<number, number> = new Map()
  /** Those refused, and whether their own budget was the reason. */
  readonly #refused: Map<Tier0Owner, "all" | "own"> = new Map()
  #usedBytes = 0
  #highestBytes = 0
  #isTelling = false

  constructor(config: Tier0Config) {
    this.config = config
  }

  /** Bytes held by all guards. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** The most that was ever held. */
  get highestBytes(): number {
    return this.#highestBytes
  }

  /** The most that may be held: the budget, and with `elastic` what lies above. */
  get limitBytes(): number {
    const { bytesMax, policy } = this.config
    return policy === "elastic" ? bytesMax + Math.floor(bytesMax * elasticShare) : bytesMax
  }

  /** A single append or batch larger than this can never be admitted for sure. */
  get admissionBytesMax(): number {
    return Math.floor(this.config.bytesMax / 2)
  }

  /** Who waits for room, and in which budget. */
  get refused(): ReadonlyMap<Tier0Owner, "all" | "own"> {
    return this.#refused
  }

  /** True when this stream waits for room. */
  isRefused(owner: Tier0Owner): boolean {
    return this.#refused.has(owner)
  }

  /** Bytes that a stream holds. */
  usedBytesOf(streamId: number): number {
    return this.#usedByStream.get(streamId) ?? 0
  }

  /** True when `bytes` more fit the budget of all and of the stream. */
  fits(owner: Tier0Owner, bytes: number): boolean {
    return this.#fitsAll(bytes) && this.#fitsOwn(owner, bytes)
  }

  #fitsAll(bytes: number): boolean {
    return this.#usedBytes + bytes <= this.limitBytes
  }

  #fitsOwn({ tier0BytesMax, streamId }: Tier0Owner, bytes: number): boolean {
    return tier0BytesMax === undefined || this.usedBytesOf(streamId) + bytes <= tier0BytesMax
  }

  /** True when `bytes` more fit the budget of all and of the stream. When not, the owner is told when room was made. */
  hasRoom(owner: Tier0Owner, bytes: number): boolean {
    if (this.fits(owner, bytes)) return true
    this.#refused.set(owner, this.#fitsAll(bytes) ? "own" : "all")
    this.onRefused()
    return false
  }

  /** Holds `bytes` when there is room for them. */
  tryAdmit(owner: Tier0Owner, bytes: number): AdmissionGuard | undefined {
    return this.hasRoom(owner, bytes) ? this.admit(owner, bytes) : undefined
  }

  /** Holds `bytes` whether there is room or not, for what is on disk already. */
  admit(owner: Tier0Owner, bytes: number): AdmissionGuard {
    const guard = new AdmissionGuard(this, owner, 0)
    guard.resize(bytes)
    return guard
  }

  /** For guards: moves the account. */
  change(owner: Tier0Owner, bytes: number): void {
    this.#usedBytes += bytes
    if (this.#usedBytes > this.#highestBytes) this.#highestBytes = this.#usedBytes
    if (this.onHeld !== undefined && this.#usedBytes >= this.onHeld.bytes) {
      const { call } = this.onHeld
      this.onHeld = undefined
      call()
    }
    const own = this.usedBytesOf(owner.streamId) + bytes
    if (own === 0) this.#usedByStream.delete(owner.streamId)
    else this.#usedByStream.set(owner.streamId, own)
    if (bytes < 0 && this.#refused.size > 0 && !this.#isTelling) this.#tell()
  }

  /** A stream that is closed waits no longer. */
  forget(owner: Tier0Owner): void {
    this.#refused.delete(owner)
  }

  /** Tells all that were refused; who is refused again is told again. */
  #tell(): void {
    this.#isTelling = true
    const refused = [...this.#refused.keys()]
    this.#refused.clear()
    for (const owner of refused) owner.onRoom()
    this.#isTelling = false
  }
}
