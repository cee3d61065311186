// The compressors: in workers, on the main thread over real files and over memory, and with WebAssembly in place of node:zlib.

import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeInlineCompressor } from "../../src/compressor/compressor.ts"
import { loadCodec } from "../../src/compressor/frame_codec.ts"
import { loadWasmCodec } from "../../src/compressor/wasm_codec.ts"
import { Compressor } from "../../src/port/compressor.ts"
import { Directory } from "../../src/port/directory.ts"
import { EventLoop } from "../../src/port/event_loop.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { type CompressorSubject, describeCompressor } from "../support/compressor_conformance.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"

const makeRoot = (): string => fs.mkdtempSync(join(tmpdir(), "bop-aof-"))

const inline = async (codec: typeof loadCodec): Promise<CompressorSubject> => {
  const compressor = Effect.gen(function* () {
    return makeInlineCompressor({ directory: yield* Directory, eventLoop: yield* EventLoop, loadCodec: codec })
  })
  return { layer: Layer.provideMerge(Layer.effect(Compressor, compressor), await loadRuntimeLayer()), root: makeRoot() }
}

describeCompressor("in workers", async () => ({ layer: await loadRuntimeLayer(), root: makeRoot() }))
describeCompressor("on the main thread", () => inline(loadCodec))
describeCompressor("on the main thread with WebAssembly", () => inline(loadWasmCodec))
describeCompressor("over a memory disk", async () => {
  const disk = new MemoryDisk()
  const subject = { layer: disk.layer, root: "/store" }
  await Effect.runPromise(
    Effect.provide(
      Effect.flatMap(Directory, (directory) => directory.makeDirectory("/store")),
      disk.layer,
    ),
  )
  return subject
})
