/** What a reader is given, record by record, against the model. */
import type { ModelEntry, ModelStream, SimModel, SureLevel } from "./sim_model.ts"
import { entryOf, payloadOf } from "./sim_model.ts"

/** A record, however it was read. */
export interface ReadRecord {
  readonly recordId: number
  readonly recordNumber: number
  readonly extId: bigint
  readonly bytes: Uint8Array
}

/** Where and how a reader goes. */
export interface ReadingOptions {
  readonly model: SimModel
  readonly stream: ModelStream
  readonly isNoise: boolean
  readonly isReverse: boolean
  /** What reads, for people. */
  readonly what: string
  /** How sure a record is that this reader is given: it must survive as one that was acknowledged so. */
  readonly level: SureLevel
  /** False where records of damaged files may be missing. */
  readonly isWhole: boolean
}

/** One reader. Each method gives what is wrong, or nothing. */
export class Reading {
  readonly #options: ReadingOptions
  readonly #durableIndex: number
  readonly #isFrozen: () => boolean
  first: ModelEntry | undefined
  last: ModelEntry | undefined
  count = 0

  constructor(options: ReadingOptions) {
    this.#options = options
    this.#isFrozen = () => options.model.isFrozen
    this.#durableIndex =
      options.stream.entries.findLast((entry) => entry.level === "durable" && !entry.isLost)?.index ?? -1
  }

  /** The next record. */
  take(record: ReadRecord): string | undefined {
    if (this.#isFrozen()) return undefined
    const { stream, what, isReverse, isWhole } = this.#options
    const where = `${what} of stream ${stream.name}, record ${record.recordId} number ${record.recordNumber}`
    const entry = this.#match(record)
    if (typeof entry === "string") return `${where}: ${entry}`
    const { last } = this
    this.first ??= entry
    this.last = entry
    this.count++
    if (last === undefined) return undefined
    const [low, high] = isReverse ? [entry, last] : [last, entry]
    if (low.index >= high.index) return `${where}: entry ${entry.index} comes after entry ${last.index}`
    if (low.id >= high.id) return `${where}: the id before was ${last.id}`
    if (!isWhole) return undefined
    if (high.number - low.number !== 1) return `${where}: the number before was ${last.number}`
    for (let index = low.index + 1; index < high.index; index++) {
      const fault = this.#pass(stream.entries[index] as ModelEntry)
      if (fault !== undefined) return `${where}: ${fault}`
    }
    return undefined
  }

  /** A forward read that began at the first record is at its end, which was the durable watermark when it began. */
  endWhole(trimAskedAtStart: number): string | undefined {
    if (this.#isFrozen()) return undefined
    const { stream, what } = this.#options
    const where = `${what} of stream ${stream.name}`
    const end = this.last?.index ?? -1
    const firstIndex = this.first?.index ?? Number.POSITIVE_INFINITY
    for (const entry of stream.entries) {
      if (entry.index > Math.max(end, this.#durableIndex)) break
      if (entry.index >= firstIndex && entry.index <= end) continue
      if (entry.level !== "durable" || entry.isLost || entry.id === 0) continue
      if (entry.index > this.#durableIndex) continue
      // What was trimmed may be missing in front, by whole records.
      if (entry.id < Math.max(trimAskedAtStart, stream.trimAsked)) continue
      return `${where}: durable entry ${entry.index} with the id ${entry.id} is missing; it read ${this.count} records`
    }
    return undefined
  }

  #match(record: ReadRecord): ModelEntry | string {
    const { stream, isNoise, model } = this.#options
    const found = entryOf(record.bytes)
    const entry = found?.tag === stream.tag ? stream.entries[found.index] : undefined
    if (entry === undefined) return `holds bytes that nobody appended here (${record.bytes.length})`
    if (!isEqual(record.bytes, payloadOf(stream, entry, isNoise))) return `holds other bytes than entry ${entry.index}`
    if (entry.isLost) return `entry ${entry.index} was lost and is back`
    if (entry.isPassed) return `entry ${entry.index} was passed before`
    if (record.extId !== BigInt(entry.extId)) return `has the extId ${record.extId}, not ${entry.extId}`
    return model.acknowledge(stream, entry, { ...record, level: this.#options.level }) ?? entry
  }

  #pass(entry: ModelEntry): string | undefined {
    if (entry.level !== "none" && !entry.isLost)
      return `entry ${entry.index}, acknowledged ${entry.level}, is not there`
    entry.isPassed = true
    return undefined
  }
}

/** True when two arrays hold the same bytes. */
export const isEqual = (one: Uint8Array, other: Uint8Array): boolean => {
  if (one.length !== other.length) return false
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return false
  return true
}
