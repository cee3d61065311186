/** One record as readers get it: a value of its own that stays as it is for as long as it is held. */
import type { Codec } from "../../model/codec.ts"

/** A byte order mark is a character of the payload like any other. */
const decoder: TextDecoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** A record of a stream. */
export class AofRecord<T = unknown> {
  /** The record's id. */
  readonly recordId: number
  /** Ordinal in the stream, from 0. */
  readonly recordNumber: number
  /** Unix time in milliseconds. */
  readonly timestampMs: number
  /** The caller's own number; 0n when there is none. */
  readonly extId: bigint
  /**
   * The payload; unchanged for as long as it is held. It may be a view of more memory, which others hold too: `copy` when you keep it long or
   * write into it. What is written into it others see, and a read may call it `Corrupt` until the store is opened again.
   */
  readonly bytes: Uint8Array
  readonly #codec: Codec<T> | undefined

  /** Records come from reads; `bytes` becomes the record's own. */
  constructor(
    fields: {
      readonly recordId: number
      readonly recordNumber: number
      readonly timestampMs: number
      readonly extId: bigint
    },
    bytes: Uint8Array,
    codec: Codec<T> | undefined,
  ) {
    this.recordId = fields.recordId
    this.recordNumber = fields.recordNumber
    this.timestampMs = fields.timestampMs
    this.extId = fields.extId
    this.bytes = bytes
    this.#codec = codec
  }

  /** The payload as UTF-8 text. */
  text(): string {
    return decoder.decode(this.bytes)
  }

  /** The payload in memory of its own. */
  copy(): Uint8Array {
    return this.bytes.slice()
  }

  /** The payload through the stream's codec; its bytes when there is none. Throws what the codec throws. */
  get value(): T {
    return this.#codec === undefined ? (this.bytes as T) : this.#codec.decode(this.bytes)
  }
}
