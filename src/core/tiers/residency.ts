/**
 * Where the bytes of one segment are. One object for each segment of a root, for as long as the manager lives: it outlives the
 * closing and opening of its stream, so that the tiers go on with what they do. The files are its only truth; what the manifest
 * says about copies is filled in when the stream is recovered.
 *
 * Invariants: a copy is taken away only when another one is durable and the manifest says so; a segment with a pin keeps its Tier
 * 0 file; `isGone` is set once, by trim or deletion, and ends everything.
 */
import type { SeekTable } from "../../format/seekable_zstd.ts"
import type { AofError } from "../../model/errors.ts"
import { DamageMap, Doubt, doubtMsMax } from "../../state/damage_map.ts"
import { segmentPath, segmentsPath, warmPathOf } from "../files/paths.ts"
import type { AdmissionGuard } from "./tier0.ts"

/** What a seal has fixed for ever. */
export interface SealFacts {
  readonly fileGeneration: number
  /** Offset at which the log frames end. */
  readonly framesEnd: number
  /** Length of the sealed file. */
  readonly fileBytes: number
  /** CRC-64/NVME in its last 8 bytes. */
  readonly checksum64: bigint
}

/** The compressed form of a segment: the same bytes in Tier 1 and Tier 2. */
export interface WarmForm {
  readonly fileBytes: number
  readonly frameCount: number
  /** Where the zstd frames of index and footer start. */
  readonly tailOffset: number
  readonly checksum64: bigint
}

/** Where Tier 2 has it. */
export interface ColdPlace {
  readonly key: string
  readonly etag: string
}

/** What keeps something open that has to be let go when a file goes. */
export interface ResidencyView {
  /** Start value of the checksums of its log frames. */
  readonly checksumSeed: number
  /** The Tier 0 file appeared or disappeared: descriptors, mappings and what was verified are forgotten. */
  readonly onHotChange: () => void
}

/** In which tier a reader finds the segment first. */
export type Tier = "tier0" | "tier1" | "tier2"

/** The object that a fetch reads, as it was when the fetch began: another one may take its place meanwhile. */
export interface ColdCopy {
  readonly residency: Residency
  /** Of its warm form. */
  readonly uid: number
  readonly form: WarmForm
  readonly cold: ColdPlace
}

let nextUid = 1

export class Residency {
  /** Unlike that of any other segment in this process, and of any other warm form: what was decoded is kept by it. */
  uid: number = nextUid++
  readonly streamId: number
  /** Name of the stream. */
  readonly stream: string
  readonly index: number
  readonly #root: string
  seal: SealFacts | undefined = undefined
  /** True while the plain segment file is there. */
  isHot = true
  /** Holds its bytes in the budget of Tier 0. */
  guard: AdmissionGuard | undefined = undefined
  form: WarmForm | undefined = undefined
  /** True while the warm file is there. */
  isWarm = false
  cold: ColdPlace | undefined = undefined
  /** True while no HEAD knows of its object: local copies stay so long. */
  isUntold = false
  /** A warm file was missing or damaged and is being fetched again. */
  needsRecovery = false
  /** The source of a compression did not check: the plain file is all there is and stays. */
  isDamaged = false
  /** The object did not check as a whole: for now it is read frame by frame, and not brought to Tier 1 again by readers. */
  readonly objectDoubt: Doubt = new Doubt(doubtMsMax)
  /** Objects of it that were given up and replaced: part of the key of the next one. */
  replacements = 0
  /** Trimmed or deleted. */
  isGone = false
  /** What of the only copy did not check when it was asked for, as offsets in the segment. */
  readonly damage: DamageMap = new DamageMap()
  /** Readers that need the Tier 0 file. */
  pins = 0
  /** Readers that need the warm file. */
  warmPins = 0
  /** Rises with each use of any segment: what is lowest was used longest ago. */
  lastUse = 0
  /** Scans that came by since the segment came to Tier 0; one alone does not make it hot. */
  scanUses = 0
  /** Point reads that had to decode a frame since it left Tier 0. */
  decodedReads = 0
  /** Offset up to which scans have read it out of Tier 2. */
  scannedTo = 0
  /** When the warm file came, Unix milliseconds. */
  warmSinceMs = 0
  /** A job that changes its copies runs: there is one at a time. */
  isBusy = false
  /** Failed tries of the next step in a row, and when it is tried again. */
  failures = 0
  retryAtMs = 0
  /** When a local copy that could not be taken away is tried again. */
  evictAtMs = 0
  /** Why the last try failed. */
  lastError: AofError | undefined = undefined
  view: ResidencyView | undefined = undefined

  constructor(options: {
    readonly streamId: number
    readonly stream: string
    readonly index: number
    /** Of the store. */
    readonly root: string
  }) {
    this.streamId = options.streamId
    this.stream = options.stream
    this.index = options.index
    this.#root = options.root
  }

  /** Where its file in Tier 0 lies. Made each time: very many segments are never asked. */
  get hotPath(): string {
    return segmentPath(segmentsPath(this.#root, this.stream), this.index)
  }

  /** Where its warm file lies. */
  get warmPath(): string {
    return warmPathOf(this.#root, this.stream, this.index)
  }

  /** True when Tier 2 has it and another machine could find it there: then nothing here is needed. */
  get isTold(): boolean {
    return this.cold !== undefined && !this.isUntold
  }

  /** Undefined when no copy is known. */
  get tier(): Tier | undefined {
    if (this.isHot) return "tier0"
    if (this.isWarm) return "tier1"
    return this.cold === undefined ? undefined : "tier2"
  }

  /** What Tier 2 has of it now; undefined when it has nothing. */
  get coldCopy(): ColdCopy | undefined {
    const { uid, form, cold } = this
    return form === undefined || cold === undefined ? undefined : { residency: this, uid, form, cold }
  }

  /** False when another object has taken the place of one that was read. */
  isStill({ uid, cold }: ColdCopy): boolean {
    return this.uid === uid && this.cold?.key === cold.key
  }

  /** Bytes of the object by which another machine has it; undefined while there is none. */
  get coldBytes(): number | undefined {
    return this.isTold ? this.form?.fileBytes : undefined
  }

  /** Bytes that it holds in Tier 1. */
  get warmBytes(): number {
    return this.isWarm ? (this.form?.fileBytes ?? 0) : 0
  }

  /** Another warm form, in which nothing lies where it did, or none, takes the place of the one that was known. */
  changeForm(form: WarmForm | undefined): void {
    this.form = form
    this.uid = nextUid++
    this.damage.clear()
  }

  /** False when a seek table of which part was made up has to be asked for again: there may be a better one by now. */
  isTableBelieved({ knownBytes, contentBytes }: SeekTable, nowMs: number): boolean {
    return knownBytes === contentBytes || this.damage.isBelievedIn(knownBytes, contentBytes, nowMs)
  }

  /**
   * Nobody reads the Tier 0 file any more; returns what holds its bytes, to be released when it is gone. Descriptors go first: the one
   * that closes a file without a name waits for its blocks to be freed.
   */
  leaveHot(): AdmissionGuard | undefined {
    if (!this.isHot) return undefined
    const { guard } = this
    this.isHot = false
    this.decodedReads = 0
    this.guard = undefined
    this.view?.onHotChange()
    return guard
  }

  /** The Tier 0 file is there again, its bytes held by `guard`. */
  enterHot(guard: AdmissionGuard | undefined): void {
    this.guard = guard
    this.isHot = true
    this.scanUses = 0
    this.view?.onHotChange()
  }
}

/** Counts uses, so that segments can be told apart by when they were used last. */
export class UseClock {
  #now = 0

  /** Notes a use. A scan that passes once leaves the order as it is. */
  note(residency: Residency, isScan: boolean): void {
    const now = ++this.#now
    if (isScan && residency.scanUses++ === 0) return
    residency.lastUse = now
  }
}
