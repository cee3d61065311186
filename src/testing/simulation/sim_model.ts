/**
 * What a store must hold: every append as it was asked for and answered, each trim and deletion, by stream. The rules are here: what may be
 * missing, and what must not come back.
 *
 * Invariants: entries are in the order of the calls, which is the order of the log. Nothing changes while `isFrozen`: what happens between the
 * moment of a power cut and the end of the running task has not happened.
 */

/** How sure an acknowledgement made it. */
export type SureLevel = "none" | "buffered" | "written" | "durable"

/** What lives on after the end of a process: everything, what was written, or what was synced. */
export type Survivors = "all" | "written" | "durable"

const levels: ReadonlyArray<SureLevel> = ["none", "buffered", "written", "durable"]

/** The higher of two levels. */
export const higher = (one: SureLevel, other: SureLevel): SureLevel =>
  levels.indexOf(one) >= levels.indexOf(other) ? one : other

/** Whether what was acknowledged at `level` is there after such an end. */
export const survives = (level: SureLevel, survivors: Survivors): boolean =>
  levels.indexOf(level) >= { all: 1, written: 2, durable: 3 }[survivors]

/** One record that was asked for. */
export interface ModelEntry {
  /** Its place among all that were asked for, from 0; part of its payload. */
  readonly index: number
  /** Length of its payload. */
  readonly bytes: number
  readonly extId: number
  /** Entries with the same number above 0 are there together or not at all. */
  readonly batch: number
  /** The highest acknowledgement. */
  level: SureLevel
  /** True when the call failed: it may be there or not. */
  hasFailed: boolean
  /** Record number and id once known, else -1 and 0. */
  number: number
  id: number
  /** It was not there when it could have been: it must not come back. */
  isLost: boolean
  /** A reader has passed its place without it. */
  isPassed: boolean
}

/** One stream from its creation to its deletion. */
export class ModelStream {
  readonly name: string
  /** Tells payloads of streams apart, also of those with the same name. */
  readonly tag: number
  readonly plan: { readonly trimsItself: boolean; readonly segmentBytes: number | undefined }
  entries: Array<ModelEntry> = []
  /** Ids below are asked to be trimmed, and known to be. */
  trimAsked = 0
  trimAcked = 0
  isCreated = false
  isDeleteAsked = false
  isDeleted = false
  /** The highest id that a caller has seen in this process. */
  idMax = 0
  /** Ids up to here were given to callers, or are in the log, and must not be given again. */
  idFloor = 0
  batches = 0
  /** Values given to `setCoordinatorWatermark`, which rise; the last one durable by a close. */
  watermark = 0
  /** The value that a power cut, or a kill, may not go below. */
  readonly watermarkMin = { durable: 0, written: 0 }

  constructor(name: string, tag: number, plan: ModelStream["plan"]) {
    this.name = name
    this.tag = tag
    this.plan = plan
    if (plan.trimsItself) this.trimAsked = Number.POSITIVE_INFINITY
  }

  /** A value of the watermark is known to be there after such an end. */
  sureOf(level: "durable" | "written", value: number): void {
    this.watermarkMin.written = Math.max(this.watermarkMin.written, value)
    if (level === "durable") this.watermarkMin.durable = Math.max(this.watermarkMin.durable, value)
  }

  /** Entries that may be read and are known by id. */
  known(): ReadonlyArray<ModelEntry> {
    return this.entries.filter((entry) => entry.id > 0 && !entry.isLost && entry.level !== "none")
  }
}

/** All streams. */
export class SimModel {
  isFrozen = false
  readonly streams: Array<ModelStream> = []
  /** What the ends since the last whole check have left. */
  survivors: Survivors = "all"
  #tags = 0

  /** A new stream of this name. */
  add(name: string, plan: ModelStream["plan"]): ModelStream {
    const stream = new ModelStream(name, ++this.#tags, plan)
    this.streams.push(stream)
    return stream
  }

  /** Those that are there, or may be. */
  get present(): ReadonlyArray<ModelStream> {
    return this.streams.filter((stream) => !stream.isDeleted && !stream.isDeleteAsked)
  }

  /** The process has ended. */
  end(survivors: Survivors): void {
    const order: ReadonlyArray<Survivors> = ["all", "written", "durable"]
    if (order.indexOf(survivors) > order.indexOf(this.survivors)) this.survivors = survivors
  }

  /** Notes a record before it is asked for. */
  call(stream: ModelStream, bytes: number, extId: number, batch: number): ModelEntry {
    const entry: ModelEntry = {
      index: stream.entries.length,
      bytes,
      extId,
      batch,
      level: "none",
      hasFailed: false,
      number: -1,
      id: 0,
      isLost: false,
      isPassed: false,
    }
    if (!this.isFrozen) stream.entries.push(entry)
    return entry
  }

  /** Takes back an entry that is known not to be there: the last one. */
  refuse(stream: ModelStream, entry: ModelEntry): void {
    if (this.isFrozen) return
    if (stream.entries.at(-1) === entry) stream.entries.pop()
    else entry.hasFailed = true
  }

  /** Notes an acknowledgement; returns what is wrong with it. */
  acknowledge(
    stream: ModelStream,
    entry: ModelEntry,
    ack: { readonly recordId: number; readonly recordNumber: number; readonly level: SureLevel },
  ): string | undefined {
    if (this.isFrozen) return undefined
    const { recordId, recordNumber, level } = ack
    const where = `stream ${stream.name}, entry ${entry.index}`
    if (entry.isPassed) return `${where} is acknowledged and a reader has passed its place without it`
    if (entry.id > 0 && recordId > 0 && entry.id !== recordId)
      return `${where} has the id ${recordId} and had ${entry.id}`
    if (entry.id === 0 && level !== "none" && recordId > 0 && recordId <= stream.idFloor) {
      return `${where} has the id ${recordId}, and ids up to ${stream.idFloor} were given before`
    }
    if (entry.number >= 0 && recordNumber >= 0 && entry.number !== recordNumber) {
      return `${where} has the number ${recordNumber} and had ${entry.number}`
    }
    if (recordId > 0) entry.id = recordId
    if (recordNumber >= 0) entry.number = recordNumber
    entry.level = higher(entry.level, level)
    stream.idMax = Math.max(stream.idMax, recordId)
    return orderFault(stream, entry)
  }
}

/** Ids and numbers rise along the entries; looked at among the neighbours that are known. */
const orderFault = (stream: ModelStream, entry: ModelEntry): string | undefined => {
  const { entries, name } = stream
  const isKnown = (one: ModelEntry): boolean => one.id > 0 && !one.isLost
  if (entry.id === 0) return undefined
  let before: ModelEntry | undefined
  for (let at = entry.index - 1; at >= 0 && before === undefined; at--) {
    if (isKnown(entries[at] as ModelEntry)) before = entries[at]
  }
  let after: ModelEntry | undefined
  for (let at = entry.index + 1; at < entries.length && after === undefined; at++) {
    if (isKnown(entries[at] as ModelEntry)) after = entries[at]
  }
  const isWrong = (low: ModelEntry | undefined, high: ModelEntry | undefined): boolean =>
    low !== undefined &&
    high !== undefined &&
    (low.id >= high.id || (low.number >= 0 && high.number >= 0 && low.number >= high.number))
  if (!isWrong(before, entry) && !isWrong(entry, after)) return undefined
  const show = (one: ModelEntry | undefined): string => (one === undefined ? "none" : `${one.id} number ${one.number}`)
  return `stream ${name}, entry ${entry.index} is ${show(entry)} between ${show(before)} and ${show(after)}`
}

const headBytes = 12

/** The least payload: it says which entry it belongs to. */
export const payloadBytesMin: number = headBytes

/** The payload of an entry: its stream, place and length, then bytes that follow from them. */
export const payloadOf = (
  stream: { readonly tag: number },
  entry: { readonly index: number; readonly bytes: number },
  isNoise: boolean,
): Uint8Array => {
  const payload = new Uint8Array(entry.bytes)
  const view = new DataView(payload.buffer)
  view.setUint32(0, stream.tag, true)
  view.setUint32(4, entry.index, true)
  view.setUint32(8, entry.bytes, true)
  let state = (Math.imul(stream.tag, 0x9e3779b1) ^ Math.imul(entry.index + 1, 0x85ebca6b)) | 1
  for (let at = headBytes; at < payload.length; at++) {
    if (isNoise || at % 64 === 0) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
    }
    payload[at] = state
  }
  return payload
}

/** Which entry a payload says that it is; undefined when it is too short to say. */
export const entryOf = (payload: Uint8Array): { readonly tag: number; readonly index: number } | undefined => {
  if (payload.length < headBytes) return undefined
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  return { tag: view.getUint32(0, true), index: view.getUint32(4, true) }
}
