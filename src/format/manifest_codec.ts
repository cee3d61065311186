/**
 * From the payload of a manifest record to its value and back: a field table, then texts or bytes whose lengths are in the table, each
 * padded with zeros to a multiple of 8. What does not fit its table is undefined when read, and never half a value.
 */
import { assert } from "../model/assert.ts"
import type { Layout } from "./field_table.ts"
import * as payloads from "./manifest_payload.ts"
import * as tiers from "./manifest_tier_payload.ts"

/** A run of bytes behind a table. */
interface Part {
  /** Name of the value. */
  readonly name: string
  /** Name of its length in the table. */
  readonly length: string
  readonly bytesMin: number
  readonly bytesMax: number
  /** `lenient`: text as version 1 first read it, with replacement characters for what is no UTF-8, and padding not looked at. */
  readonly kind: "text" | "bytes" | "lenient"
}

interface Codec {
  readonly table: Layout<any>
  readonly parts: ReadonlyArray<Part>
}

const only = (table: Layout<any>): Codec => ({ table, parts: [] })
const key: Part = { name: "key", length: "keyBytes", bytesMin: 1, bytesMax: tiers.objectKeyBytesMax, kind: "text" }
const etag: Part = { name: "etag", length: "etagBytes", bytesMin: 0, bytesMax: tiers.objectEtagBytesMax, kind: "text" }
const name: Part = { name: "name", length: "nameBytes", bytesMin: 1, bytesMax: 8192, kind: "lenient" }
const bytes: Part = {
  name: "payload",
  length: "payloadBytes",
  bytesMin: 0,
  bytesMax: payloads.customEventBytesMax,
  kind: "bytes",
}

const codecs: { readonly [type: string]: Codec } = {
  SegmentOpened: only(payloads.segmentOpened),
  SealSegment: only(payloads.sealSegment),
  CompressionStarted: only(tiers.compressionStarted),
  CompressionDone: only(tiers.compressionDone),
  CompressionFailed: only(tiers.compressionFailed),
  UploadStarted: { table: tiers.uploadStarted, parts: [key] },
  UploadDone: { table: tiers.uploadDone, parts: [key, etag] },
  UploadFailed: { table: tiers.uploadFailed, parts: [key] },
  Tier2DeleteQueued: { table: tiers.tier2DeleteQueued, parts: [key] },
  Tier2Deleted: { table: tiers.tier2Deleted, parts: [key] },
  HydrationStarted: only(tiers.hydrationStarted),
  HydrationDone: only(tiers.hydrationDone),
  HydrationFailed: only(tiers.hydrationFailed),
  LocalEvicted: only(tiers.localEvicted),
  SnapshotMarker: only(payloads.snapshotMarker),
  CustomEvent: { table: payloads.customEvent, parts: [bytes] },
  Trim: only(payloads.trim),
  Epoch: only(payloads.epoch),
  StreamCreated: { table: payloads.streamCreated, parts: [name] },
}

/** The payload tables in order of type number, for printing. `StreamDeleted` (19) has no payload. */
export const manifestPayloads: ReadonlyArray<Layout<any>> = Object.values(codecs).map(({ table }) => table)

const utf8 = new TextEncoder()
const lenientUtf8 = new TextDecoder()
const utf8Text = new TextDecoder("utf-8", { ignoreBOM: true })

/** The next multiple of 8. */
export const align8 = (length: number): number => (length + 7) & ~7

/** The payload of a record of a known type; empty when the type carries nothing. A value out of bounds is a mistake of the program. */
export const encodePayload = (type: string, value: object): Uint8Array => {
  const codec = codecs[type]
  if (codec === undefined) return new Uint8Array(0)
  const values: Record<string, unknown> = { ...value }
  const parts: Array<Uint8Array> = []
  let sizeBytes = codec.table.sizeBytes
  for (const part of codec.parts) {
    const given = values[part.name]
    const encoded = typeof given === "string" ? utf8.encode(given) : (given as Uint8Array)
    assert(
      encoded.length >= part.bytesMin && encoded.length <= part.bytesMax,
      `${part.name} of ${type} has ${part.bytesMin} to ${part.bytesMax} bytes, not ${encoded.length}`,
    )
    values[part.length] = encoded.length
    parts.push(encoded)
    sizeBytes += align8(encoded.length)
  }
  const target = new Uint8Array(sizeBytes)
  codec.table.encode(target, 0, values)
  let at = codec.table.sizeBytes
  for (const part of parts) {
    target.set(part, at)
    at += align8(part.length)
  }
  return target
}

/** The value of the payload of a known type that starts at `start`, and where it ends; undefined when it does not fit its table. */
export const decodePayload = (
  type: string | undefined,
  source: Uint8Array,
  start: number,
): { readonly value: object; readonly end: number } | undefined => {
  if (type === "StreamDeleted") return { value: { type }, end: start }
  const codec = type === undefined ? undefined : codecs[type]
  const table = codec?.table.decode(source, start) as Record<string, unknown> | undefined
  if (codec === undefined || table === undefined) return undefined
  const value: Record<string, unknown> = { type, ...table }
  let end = start + codec.table.sizeBytes
  for (const part of codec.parts) {
    const length = table[part.length] as number
    const next = end + align8(length)
    if (length < part.bytesMin || length > part.bytesMax || next > source.length) return undefined
    const decoded = decodePart(part, source.subarray(end, next), length)
    if (decoded === undefined) return undefined
    delete value[part.length]
    value[part.name] = decoded
    end = next
  }
  return { value, end }
}

const decodePart = (part: Part, padded: Uint8Array, length: number): string | Uint8Array | undefined => {
  const exact = padded.subarray(0, length)
  if (part.kind === "lenient") return lenientUtf8.decode(exact)
  if (padded.subarray(length).some((byte) => byte !== 0)) return undefined
  return part.kind === "bytes" ? exact.slice() : textOf(exact)
}

/** The text, unless its bytes are no UTF-8: then writing it again would give other bytes. */
const textOf = (source: Uint8Array): string | undefined => {
  const text = utf8Text.decode(source)
  const again = utf8.encode(text)
  return again.length === source.length && again.every((byte, index) => byte === source[index]) ? text : undefined
}
