/**
 * A binary layout declared once as a table of fields. Sizes, offsets, the encoder, the decoder and the byte tables of
 * `README.md` all come from the table. Everything is little-endian; `reserved` bytes are written as zero and checked.
 */
import { assert } from "../model/assert.ts"

/**
 * `u8` to `u32` are numbers; `safe` is 8 bytes whose value must be a safe integer, read as a number; `u64` is 8 bytes read as
 * a bigint; `bytes` a fixed run of bytes; `reserved` zeros.
 */
export type FieldType = "u8" | "u16" | "u32" | "safe" | "u64" | "bytes" | "reserved"

/** One row of a table. */
export interface Field {
  /** Name of the field in values, and in the byte tables. */
  readonly name: string
  /** How the bytes are read. */
  readonly type: FieldType
  /** What it means, as the byte tables print it. */
  readonly about: string
  /** Bytes that it takes, at least 1. */
  readonly sizeBytes: number
}

/** A row with its place. */
export interface PlacedField extends Field {
  /** Bytes from the start of the layout. */
  readonly offset: number
}

/** A layout of fixed size for values of type `T`. */
export interface Layout<T> {
  /** Title of the layout, as the byte tables print it. */
  readonly name: string
  /** Where in a file it lies. */
  readonly about: string
  /** Bytes of a whole value. */
  readonly sizeBytes: number
  /** The rows with their places, in order of offset. */
  readonly fields: ReadonlyArray<PlacedField>
  /** Byte offset of each named field. */
  readonly at: { readonly [K in keyof T]: number }
  /** Writes `value` at `start` of `target`, reserved bytes included. */
  readonly encode: (target: Uint8Array, start: number, value: T) => void
  /** Reads a value; undefined when the source is too short, a reserved byte is not zero or a `safe` field is not safe. */
  readonly decode: (source: Uint8Array, start: number) => T | undefined
}

const sizes: Record<FieldType, number> = { u8: 1, u16: 2, u32: 4, safe: 8, u64: 8, bytes: 0, reserved: 0 }

/** A row of a table; `sizeBytes` is needed for `bytes` and `reserved` only. */
export const field = (name: string, type: FieldType, about: string, sizeBytes: number = sizes[type]): Field => {
  assert(sizeBytes > 0, `the field ${name} has a size`)
  return { name, type, about, sizeBytes }
}

/** Makes a layout of its rows. */
export const layout = <T>(name: string, about: string, rows: ReadonlyArray<Field>): Layout<T> => {
  const fields: Array<PlacedField> = []
  const at: Record<string, number> = {}
  let sizeBytes = 0
  for (const row of rows) {
    fields.push({ ...row, offset: sizeBytes })
    if (row.type !== "reserved") at[row.name] = sizeBytes
    sizeBytes += row.sizeBytes
  }
  return {
    name,
    about,
    sizeBytes,
    fields,
    at: at as { readonly [K in keyof T]: number },
    encode: (target, start, value) => {
      assert(start + sizeBytes <= target.length, `${name} fits its target`)
      const view = new DataView(target.buffer, target.byteOffset, target.byteLength)
      for (const one of fields)
        encodeField(target, view, start + one.offset, one, (value as Record<string, unknown>)[one.name])
    },
    decode: (source, start) => {
      if (start < 0 || start + sizeBytes > source.length) return undefined
      const view = new DataView(source.buffer, source.byteOffset, source.byteLength)
      const value: Record<string, unknown> = {}
      for (const one of fields) {
        const decoded = decodeField(source, view, start + one.offset, one)
        if (decoded === undefined) return undefined
        if (one.type !== "reserved") value[one.name] = decoded
      }
      return value as T
    },
  }
}

const encodeField = (target: Uint8Array, view: DataView, at: number, one: Field, value: unknown): void => {
  switch (one.type) {
    case "u8":
      return view.setUint8(at, value as number)
    case "u16":
      return view.setUint16(at, value as number, true)
    case "u32":
      return view.setUint32(at, value as number, true)
    case "safe":
      return setSafe(view, at, value as number)
    case "u64":
      return view.setBigUint64(at, value as bigint, true)
    case "reserved":
      target.fill(0, at, at + one.sizeBytes)
      return
    case "bytes": {
      const bytes = value as Uint8Array
      assert(bytes.length <= one.sizeBytes, `${one.name} fits ${one.sizeBytes} bytes`)
      target.fill(0, at, at + one.sizeBytes)
      target.set(bytes, at)
    }
  }
}

const decodeField = (source: Uint8Array, view: DataView, at: number, one: Field): unknown => {
  switch (one.type) {
    case "u8":
      return view.getUint8(at)
    case "u16":
      return view.getUint16(at, true)
    case "u32":
      return view.getUint32(at, true)
    case "safe":
      return getSafe(view, at)
    case "u64":
      return view.getBigUint64(at, true)
    case "bytes":
      return source.slice(at, at + one.sizeBytes)
    case "reserved": {
      for (let i = at; i < at + one.sizeBytes; i++) if (source[i] !== 0) return undefined
      return 0
    }
  }
}

/** Writes a safe integer of at least 0 as 8 bytes. */
export const setSafe = (view: DataView, at: number, value: number): void => {
  view.setUint32(at, value >>> 0, true)
  view.setUint32(at + 4, Math.floor(value / 4294967296), true)
}

/** Reads 8 bytes as a safe integer; undefined when they hold more. */
export const getSafe = (view: DataView, at: number): number | undefined => {
  const high = view.getUint32(at + 4, true)
  return high >= 0x200000 ? undefined : high * 4294967296 + view.getUint32(at, true)
}
