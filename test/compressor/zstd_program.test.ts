// The warm file of a segment that the store wrote and sealed is one that the zstd program takes.

import { afterAll, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { decodeSeekTable } from "../../src/format/seekable_zstd.ts"
import { decodeSegmentFooter, segmentFooter } from "../../src/format/segment_footer.ts"
import { decodeSegmentHeader } from "../../src/format/segment_header.ts"
import { Compressor } from "../../src/port/compressor.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"

const root = fs.mkdtempSync(join(tmpdir(), "bop-aof-"))
const golden = join(import.meta.dirname!, "..", "golden", "v1", "streams", "orders", "segments", "0000000001.seg")
const hasProgram = spawnSync("zstd", ["--version"], { stdio: "ignore" }).status === 0

afterAll(() => fs.rmSync(root, { recursive: true }))

test("the golden segment has one frame for its index and footer, and comes back", async () => {
  const { bytes, target, made, framesEnd } = await compressGolden()
  const file = new Uint8Array(fs.readFileSync(target))
  const table = decodeSeekTable(file, { fileBytes: made.fileBytes, contentBytes: bytes.length })!
  const tail = table.frameAt(framesEnd)!
  expect([tail.compressedOffset, tail.index]).toEqual([made.tailOffset, table.frameCount - 1])
})

test.skipIf(!hasProgram)("[needs the zstd program] it accepts the warm file and restores the segment", async () => {
  const { bytes, target } = await compressGolden()
  expect(spawnSync("zstd", ["-t", "-q", target]).status).toBe(0)
  const { status, stdout } = spawnSync("zstd", ["-d", "-c", target], { maxBuffer: 2 ** 28 })
  expect([status, Buffer.compare(stdout, bytes)]).toEqual([0, 0])
})

async function compressGolden() {
  const bytes = new Uint8Array(fs.readFileSync(golden))
  const { checksumSeed } = decodeSegmentHeader(bytes)!
  const { durableBytes, checksum64 } = decodeSegmentFooter(bytes, bytes.length - segmentFooter.sizeBytes, checksumSeed)!
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(Layer.buildWithScope(await loadRuntimeLayer(), scope))
  const target = join(root, "golden.seg.zst")
  const made = await Effect.runPromise(
    Context.get(context, Compressor).compress({
      source: golden,
      target,
      sourceBytes: bytes.length,
      framesEnd: durableBytes,
      checksum64,
      level: 8,
      frameBytes: 65_536,
    }),
  )
  await Effect.runPromise(Scope.close(scope, Exit.void))
  return { bytes, target, made, framesEnd: durableBytes }
}
