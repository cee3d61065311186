/**
 * One zstd frame at a time, whatever the library.
 *
 * Invariants: a frame that is made has its content size and a checksum; what is decoded has exactly the length that was asked
 * for. The length is always compared, because some runtimes take a truncated frame for the end of the data and give nothing; and
 * the frame has to be whole, because they do not miss a checksum that was cut off.
 */
import { isZstdFrame } from "../format/seekable_zstd.ts"
import { corrupt } from "../model/errors.ts"

/** What is known of a frame before it is decoded. */
export interface FrameLengths {
  readonly compressedBytes: number
  readonly contentBytes: number
}

/** What a library does. Each may throw anything and give any length. */
export interface RawCodec {
  /** `zlib` or `wasm`. */
  readonly name: string
  readonly compress: (bytes: Uint8Array, level: number) => Uint8Array
  readonly decompress: (frame: Uint8Array, lengthBytes: number) => Uint8Array
  /** Decodes frames that lie one behind the other; undefined where a library stops after the first. */
  readonly decompressRun?: ((frames: Uint8Array, lengthBytes: number) => Uint8Array) | undefined
}

/** Makes zstd frames and reads them back, at once. */
export interface FrameCodec {
  /** `zlib` or `wasm`. */
  readonly name: string
  /** One frame with all of `bytes`, of which there is at least one; the result is overwritten by nobody. */
  readonly compress: (bytes: Uint8Array, level: number) => Uint8Array
  /** The content of a frame in a buffer of its own. Throws `Corrupt` when it is not exactly `lengthBytes` or does not check. */
  readonly decompress: (frame: Uint8Array, lengthBytes: number) => Uint8Array
  /**
   * The contents of frames that lie one behind the other in `packed`, in one buffer of its own, in fewer calls of the library than one a
   * frame. Undefined when one of them does not check: which one, `decompress` tells.
   */
  readonly decompressRun: (packed: Uint8Array, frames: ReadonlyArray<FrameLengths>) => Uint8Array | undefined
}

/** Puts around a library what every codec checks. */
export const checkedCodec = (raw: RawCodec): FrameCodec => {
  const decompress = (frame: Uint8Array, lengthBytes: number): Uint8Array => {
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
  }
  return {
    name: raw.name,
    compress: (bytes, level) => plainBytes(raw.compress(bytes, level)),
    decompress,
    decompressRun: (packed, frames) => {
      try {
        return raw.decompressRun === undefined ? joined(packed, frames, decompress) : decodeRun(raw, packed, frames)
      } catch {
        return undefined
      }
    },
  }
}

/** All frames in one call of the library. Each has to be whole where it is said to be: then what comes out is theirs, one by one. */
const decodeRun = (raw: RawCodec, packed: Uint8Array, frames: ReadonlyArray<FrameLengths>): Uint8Array | undefined => {
  let [at, lengthBytes] = [0, 0]
  for (const { compressedBytes, contentBytes } of frames) {
    if (!isZstdFrame(packed.subarray(at, at + compressedBytes), contentBytes)) return undefined
    at += compressedBytes
    lengthBytes += contentBytes
  }
  const content = raw.decompressRun!(packed.subarray(0, at), lengthBytes)
  return content.length === lengthBytes ? ownBytes(content) : undefined
}

const joined = (
  packed: Uint8Array,
  frames: ReadonlyArray<FrameLengths>,
  decompress: FrameCodec["decompress"],
): Uint8Array => {
  const bytes = new Uint8Array(frames.reduce((sum, { contentBytes }) => sum + contentBytes, 0))
  let [from, to] = [0, 0]
  for (const { compressedBytes, contentBytes } of frames) {
    bytes.set(decompress(packed.subarray(from, from + compressedBytes), contentBytes), to)
    from += compressedBytes
    to += contentBytes
  }
  return bytes
}

/** The same memory as a plain array: a Buffer answers some methods differently. */
const plainBytes = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** A plain array over memory of its own: small results of `node:zlib` are views into a pool. */
const ownBytes = (bytes: Uint8Array): Uint8Array =>
  bytes.byteLength === bytes.buffer.byteLength ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes)
