// Compresses a segment, says what came of it, and leaves without closing anything. `<segment> <target>`; with a third
// argument it does not wait for the result.

import { readFileSync } from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { makeWorkerCompressor } from "../../src/compressor/compressor.ts"
import { loadCodec } from "../../src/compressor/frame_codec.ts"
import { startJobWorker } from "../../src/compressor/worker_runner.ts"
import { Directory } from "../../src/port/directory.ts"
import { EventLoop } from "../../src/port/event_loop.ts"
import { loadRuntimeLayer } from "./runtime_layer.ts"

const [source, target, isAbandoned] = process.argv.slice(2)
const bytes = new Uint8Array(readFileSync(source!))
const context = await Effect.runPromise(Layer.buildWithScope(await loadRuntimeLayer(), Scope.makeUnsafe()))
let isInWorker = false
const compressor = makeWorkerCompressor(
  { directory: Context.get(context, Directory), eventLoop: Context.get(context, EventLoop), loadCodec },
  (data) => {
    const worker = startJobWorker(data)
    worker?.on("message", () => {
      isInWorker = true
    })
    return worker
  },
)
const running = Effect.runPromise(
  compressor.compress({
    source: source!,
    target: target!,
    sourceBytes: bytes.length,
    framesEnd: bytes.length - 200,
    checksum64: new DataView(bytes.buffer).getBigUint64(bytes.length - 8, true),
    level: 3,
    frameBytes: 65536,
  }),
)
if (isAbandoned === undefined) {
  const { frameCount } = await running
  console.log(JSON.stringify({ frameCount, isInWorker }))
}
