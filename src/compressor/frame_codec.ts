/** Finds the zstd of the runtime: that of `node:zlib`, else WebAssembly, which is loaded only then. */
import { Buffer } from "node:buffer"
import * as zlib from "node:zlib"
import { unavailable } from "../model/errors.ts"
import { checkedCodec, type FrameCodec, type FrameLengths } from "./checked_codec.ts"

/** Smallest and largest piece in which `node:zlib` gathers its output. */
const [chunkBytesMin, chunkBytesMax] = [64, 1024 * 1024]
const chunkBytes = (lengthBytes: number): number => Math.min(Math.max(lengthBytes, chunkBytesMin), chunkBytesMax)

/** The codec of `node:zlib`, or undefined where that has no zstd. */
export const zlibCodec = (): FrameCodec | undefined => {
  // Asked by name: an import of a name that an older runtime lacks would keep the whole module from loading.
  const { zstdCompressSync, zstdDecompressSync, constants } = zlib
  if (typeof zstdCompressSync !== "function" || typeof zstdDecompressSync !== "function") return undefined
  const decompress = (frame: Uint8Array, lengthBytes: number): Uint8Array =>
    zstdDecompressSync(frame, { maxOutputLength: lengthBytes, chunkSize: chunkBytes(lengthBytes) })
  return checkedCodec({
    name: "zlib",
    compress: (bytes, level) =>
      zstdCompressSync(bytes, {
        params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
        pledgedSrcSize: bytes.length,
        // One piece of output, however little the bytes compress.
        chunkSize: chunkBytes(bytes.length + (bytes.length >> 8) + 512),
      }),
    decompress,
    decompressRun: decodesRuns(zstdCompressSync, decompress) ? decompress : undefined,
  })
}

/** Deno stops behind the first of several frames. */
const decodesRuns = (
  compress: (bytes: Uint8Array) => Uint8Array,
  decompress: (frames: Uint8Array, lengthBytes: number) => Uint8Array,
): boolean => {
  const frame = compress(Uint8Array.of(1))
  try {
    return decompress(Buffer.concat([frame, frame]), 2).length === 2
  } catch {
    return false
  }
}

let found: FrameCodec | undefined
let loading: Promise<FrameCodec> | undefined

/** The codec of this runtime; loads WebAssembly only where nothing else is there. Rejects when that cannot be loaded either. */
export const loadCodec = (): Promise<FrameCodec> => {
  loading ??= load().catch((error) => {
    loading = undefined
    throw error
  })
  return loading
}

const load = async (): Promise<FrameCodec> => {
  found = zlibCodec() ?? (await (await import("./wasm_codec.ts")).loadWasmCodec())
  return found
}

/** Decodes one frame with the codec of this runtime. Throws `Corrupt`; `Unavailable` when WebAssembly is needed and not loaded. */
export const decodeFrameUnsafe = (frame: Uint8Array, lengthBytes: number): Uint8Array =>
  codecUnsafe().decompress(frame, lengthBytes)

/** Decodes frames one behind the other as `FrameCodec.decompressRun` does. Throws `Unavailable` as `decodeFrameUnsafe`. */
export const decodeRunUnsafe = (packed: Uint8Array, frames: ReadonlyArray<FrameLengths>): Uint8Array | undefined =>
  codecUnsafe().decompressRun(packed, frames)

const codecUnsafe = (): FrameCodec => {
  found ??= zlibCodec()
  if (found === undefined) throw unavailable("decoding a zstd frame", "ENOTSUP", "zstd is not loaded")
  return found
}
