// A scrub on the disk of the machine, with segments that are checksummed in the compressor's worker, piece by piece.

import { expect, test } from "bun:test"
import * as fs from "node:fs"
import { AofManager } from "bop-aof"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { crc64 } from "../../src/format/checksum.ts"
import { Compressor } from "../../src/port/compressor.ts"
import { makeRandom, makeRoot } from "../support/api.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"

const MiB = 1024 * 1024

test("the checksum of a file may be taken in pieces, each from where the one before ended", async () => {
  const layer = await loadRuntimeLayer()
  const path = `${makeRoot()}/file`
  const random = makeRandom(3)
  const bytes = Uint8Array.from({ length: 300_001 }, () => random(256))
  fs.writeFileSync(path, bytes)
  const work = Effect.gen(function* () {
    const compressor = yield* Compressor
    let before = 0n
    for (let offset = 0; offset < bytes.length; offset += 70_000) {
      const lengthBytes = Math.min(70_000, bytes.length - offset)
      before = yield* compressor.checksum({ path, offset, lengthBytes, before })
    }
    const short = yield* Effect.result(compressor.checksum({ path, offset: 300_000, lengthBytes: 2 }))
    const suffix = yield* compressor.checksum({ path, offset: 10, lengthBytes: 5, suffix: bytes.slice(15, 20) })
    yield* compressor.close
    return { before, short, suffix }
  })
  const found = await Effect.runPromise(
    Effect.scoped(Effect.flatMap(Layer.build(layer), (all) => Effect.provide(work, all))),
  )
  expect(found.before).toBe(crc64(bytes))
  expect(found.suffix).toBe(crc64(bytes.slice(10, 20)))
  expect(found.short._tag === "Failure" && found.short.failure._tag).toBe("Corrupt")
})

test("segments of some MiB are found whole, and a byte that has changed is found and put right", async () => {
  const root = `${makeRoot()}/store`
  const options = { root, segmentBytes: 4 * MiB, tier2: false as const }
  const manager = await AofManager.open(options)
  const stream = await manager.stream("s")
  const payload = new Uint8Array(100_000).map((_, at) => at * 7)
  for (let number = 0; number < 40; number++) {
    if (stream.tryAppend(payload) < 0) await stream.append(payload)
  }
  await stream.seal()
  for (let number = 0; number < 10; number++) await stream.append(payload)
  const sealed = stream.segments().filter(({ state }) => state === "sealed")
  expect(sealed.length).toBe(1)
  const fast = { bytesPerSecond: 2 ** 36 }
  const clean = await manager.scrub(fast)
  expect([clean.isClean, clean.segments]).toEqual([true, 2])
  // Twice, as a whole and frame by frame, and the open segment once.
  expect(clean.bytes).toBeGreaterThan(2 * 4_000_000 + 1_000_000)
  const path = `${root}/streams/s/segments/0000000001.seg`
  const before = fs.readFileSync(path)
  const change = (at: number): void => {
    const file = fs.openSync(path, "r+")
    fs.writeSync(file, Uint8Array.of(before[at]! ^ 0x20), 0, 1, at)
    fs.closeSync(file)
  }
  change(before.length - 100)
  const { findings } = await manager.scrub(fast)
  expect(findings.map(({ segmentIndex, isHealed }) => [segmentIndex, isHealed])).toEqual([[1, true]])
  expect(fs.readFileSync(path).equals(before)).toBe(true)
  change(2 * MiB)
  const [bad] = (await manager.scrub(fast)).findings
  const from = bad!.from % 2 ** 28
  const to = bad!.to % 2 ** 28
  expect([bad!.isHealed, from <= 2 * MiB && to > 2 * MiB && to - from < 110_000]).toEqual([false, true])
  await manager.close()
})
