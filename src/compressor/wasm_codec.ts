/**
 * zstd as WebAssembly, for a runtime whose `node:zlib` has none. The library makes frames without a checksum and takes no flag
 * for one, so it is added here: a bit of the frame's descriptor, and four bytes at its end (RFC 8878, section 3.1.1).
 */
import { zstdFlagChecksum, zstdMagic } from "../format/seekable_zstd.ts"
import { checkedCodec, type FrameCodec } from "./checked_codec.ts"
import { xxh64Low } from "./xxh64.ts"

/** As much of the library as is used here. */
interface ZstdModule {
  readonly init: () => Promise<void>
  readonly compress: (bytes: Uint8Array, level: number) => Uint8Array
  readonly decompress: (frame: Uint8Array) => Uint8Array
}

let loading: Promise<FrameCodec> | undefined

/** Loads and starts the library, once. Rejects when it is not installed or WebAssembly is not allowed. */
export const loadWasmCodec = (): Promise<FrameCodec> => {
  // A second start would exchange the library's memory while frames of the first are made in it.
  loading ??= load()
  return loading
}

const load = async (): Promise<FrameCodec> => {
  const loaded = (await import("@bokuweb/zstd-wasm")) as unknown as ZstdModule & { readonly default?: ZstdModule }
  const library = typeof loaded.init === "function" ? loaded : (loaded.default ?? loaded)
  await library.init()
  return checkedCodec({
    name: "wasm",
    compress: (bytes, level) => addChecksum(library.compress(bytes, level), bytes),
    decompress: (frame) => library.decompress(frame),
  })
}

const addChecksum = (frame: Uint8Array, content: Uint8Array): Uint8Array => {
  const result = new Uint8Array(frame.length + 4)
  result.set(frame)
  const view = new DataView(result.buffer)
  if (view.getUint32(0, true) !== zstdMagic || (result[4]! & zstdFlagChecksum) !== 0) {
    throw new Error("the WebAssembly of zstd made a frame of another kind")
  }
  result[4] = result[4]! | zstdFlagChecksum
  view.setUint32(frame.length, xxh64Low(content), true)
  return result
}
