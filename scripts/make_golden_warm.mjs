// Writes the warm file of the golden segment of version 1 once; never over one that is there. Run it with Bun.

import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { withCompressor } from "../src/compressor/compressor.ts"
import { decodeSegmentFooter, segmentFooter } from "../src/format/segment_footer.ts"
import { decodeSegmentHeader } from "../src/format/segment_header.ts"
import { Compressor } from "../src/port/compressor.ts"
import { layer } from "../src/runtime/bun.ts"

const stream = fileURLToPath(new URL("../test/golden/v1/streams/orders", import.meta.url))
const source = join(stream, "segments", "0000000001.seg")
const target = join(stream, "warm", "0000000001.seg.zst")
if (existsSync(target)) {
  console.error(`${target} is there: golden files are never made again`)
  process.exit(1)
}
mkdirSync(dirname(target), { recursive: true })
const bytes = new Uint8Array(readFileSync(source))
const { checksumSeed } = decodeSegmentHeader(bytes)
const { durableBytes, checksum64 } = decodeSegmentFooter(bytes, bytes.length - segmentFooter.sizeBytes, checksumSeed)
const job = { source, target, sourceBytes: bytes.length, framesEnd: durableBytes, checksum64 }
const program = Effect.gen(function* () {
  const compressor = Context.get(yield* Layer.build(withCompressor(layer)), Compressor)
  return yield* compressor.compress({ ...job, level: 8, frameBytes: 65536 })
})
console.log(await Effect.runPromise(Effect.scoped(program)))
