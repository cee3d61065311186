/**
 * One zstd frame at a time, whatever the library.
 *
 * Invariants: a frame that is made has its content size and a checksum; what is decoded has exactly the length that was asked
 * for. The length is always compared, because some runtimes take a truncated frame for the end of the data and give nothing; and
 * the frame has to be whole, because they do not miss a checksum that was cut off.
 */
import { isZstdFrame } from "../format/seekable_zstd.ts"
import { corrupt } from "../model/errors.ts"

/** Makes zstd frames and reads them back, at once. */
export interface FrameCodec {
  /** `zlib` or `wasm`. */
  readonly name: string
  /** One frame with all of `bytes`, of which there is at least one; the result is overwritten by nobody. */
  readonly compress: (bytes: Uint8Array, level: number) => Uint8Array
  /** The content of a frame in a buffer of its own. Throws `Corrupt` when it is not exactly `lengthBytes` or does not check. */
  readonly decompress: (frame: Uint8Array, lengthBytes: number) => Uint8Array
}

/** Puts around a library what every codec checks; `raw.decompress` may throw anything and give any length. */
export const checkedCodec = (raw: FrameCodec): FrameCodec => ({
  name: raw.name,
  compress: (bytes, level) => plainBytes(raw.compress(bytes, level)),
  decompress: (frame, lengthBytes) => {
    if (!isZstdFrame(frame, lengthBytes)) {
      throw corrupt("zstd frame", `is not one whole frame with a checksum and ${lengthBytes} bytes of content`)
    }
    let content: Uint8Array
    try {
      content = raw.decompress(frame, lengthBytes)
    } catch (error) {
      throw corrupt("zstd frame", error instanceof Error ? error.message : String(error))
    }
    if (content.length === lengthBytes) return ownBytes(content)
    throw corrupt("zstd frame", `gave ${content.length} bytes instead of ${lengthBytes}`)
  },
})

/** The same memory as a plain array: a Buffer answers some methods differently. */
const plainBytes = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** A plain array over memory of its own: small results of `node:zlib` are views into a pool. */
const ownBytes = (bytes: Uint8Array): Uint8Array =>
  bytes.byteLength === bytes.buffer.byteLength ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes)
