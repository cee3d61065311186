// The main thread's runner with codecs that fail, and with the event loop counted.

import { expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { FrameCodec } from "../../src/compressor/checked_codec.ts"
import { makeInlineCompressor } from "../../src/compressor/compressor.ts"
import { zlibCodec } from "../../src/compressor/frame_codec.ts"
import { crc64 } from "../../src/format/checksum.ts"
import { encodeSeekTable } from "../../src/format/seekable_zstd.ts"
import { Directory } from "../../src/port/directory.ts"
import { EventLoop } from "../../src/port/event_loop.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { tagOf } from "../support/compressor_conformance.ts"
import { compressJobOf, makeSegment } from "../support/compressor_segment.ts"

const zlib = zlibCodec()!

async function make(codec: () => Promise<FrameCodec>) {
  const services = new MemoryDisk().services()
  const directory = Context.get(services, Directory)
  const inner = Context.get(services, EventLoop)
  let turns = 0
  const eventLoop: EventLoop = {
    nextTurn: (callback) => {
      turns++
      inner.nextTurn(callback)
    },
  }
  const compressor = makeInlineCompressor({ directory, eventLoop, loadCodec: codec })
  await Effect.runPromise(directory.makeDirectory("/d"))
  const write = (path: string, bytes: Uint8Array): void => {
    const file = directory.openUnsafe(path, "create")
    file.writeUnsafe(bytes, 0, bytes.length, 0)
    file.closeUnsafe()
  }
  const segment = makeSegment([70_000, 70_000, 100_000])
  write("/d/a.seg", segment.bytes)
  const job = compressJobOf(segment, "/d/a.seg", "/d/a.zst")
  return { compressor, directory, segment, job, write, turns: () => turns }
}

test("a codec that gives other bytes back loses nothing: the job is Unavailable, and no target is left", async () => {
  const wrong: ReadonlyArray<Partial<FrameCodec>> = [
    { decompress: (frame, length) => zlib.decompress(frame, length).fill(0, 100, 101) },
    { decompress: (frame, length) => zlib.decompress(frame, length).subarray(1) },
    { compress: (bytes, level) => zlib.compress(bytes, level).fill(0, 8, 12) },
    { compress: (bytes, level) => zlib.compress(bytes, level).subarray(0, -1) },
    { compress: (bytes, level) => zlib.compress(bytes.subarray(1), level) },
  ]
  for (const [index, part] of wrong.entries()) {
    const { compressor, directory, job } = await make(async () => ({ ...zlib, ...part }))
    expect([index, await tagOf(compressor.compress(job))]).toEqual([index, "Unavailable EIO"])
    expect(await Effect.runPromise(directory.kind("/d/a.zst"))).toBe("missing")
  }
})

test("where no zstd can be loaded jobs are Unavailable", async () => {
  const { compressor, job } = await make(() => Promise.reject(new Error("there is none")))
  expect(await tagOf(compressor.compress(job))).toBe("Unavailable ENOTSUP")
})

test("there is a turn of the event loop for each zstd frame and each piece that is checksummed", async () => {
  const { compressor, job, turns, segment } = await make(async () => zlib)
  const { frameCount } = await Effect.runPromise(compressor.compress(job))
  expect(frameCount).toBe(4)
  expect(turns()).toBeGreaterThanOrEqual(frameCount)
  const before = turns()
  await Effect.runPromise(compressor.checksum({ path: "/d/a.seg", lengthBytes: segment.bytes.length }))
  expect(turns()).toBeGreaterThan(before)
})

test("a file made to deceive, with the checksum that it should have, is Corrupt", async () => {
  const { compressor, directory, segment, write } = await make(async () => zlib)
  const { bytes, checksum64 } = segment
  const frame = zlib.compress(bytes, 3)
  const other = zlib.compress(bytes.slice().fill(9, 500, 501), 3)
  const garbage = new Uint8Array(frame.length).fill(0x28)
  const join = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))
  const tables = [
    join(other, encodeSeekTable([other.length], [bytes.length])),
    join(garbage, encodeSeekTable([garbage.length], [bytes.length])),
    join(frame, encodeSeekTable([frame.length - 50, 50], [bytes.length - 8, 8])),
    join(frame, frame, encodeSeekTable([frame.length, frame.length], [bytes.length, bytes.length])),
    join(frame, garbage, encodeSeekTable([frame.length + garbage.length], [bytes.length])),
    join(frame, encodeSeekTable([], [])),
    encodeSeekTable(Array(1000).fill(1), Array(1000).fill(bytes.length)),
    new Uint8Array(0),
  ]
  for (const [index, file] of tables.entries()) {
    write(`/d/${index}.zst`, file)
    const job = {
      source: `/d/${index}.zst`,
      target: "/d/b.seg",
      sourceBytes: file.length,
      sourceChecksum64: crc64(file),
      targetBytes: bytes.length,
      targetChecksum64: checksum64,
    }
    expect([index, await tagOf(compressor.decompress(job))]).toEqual([index, "Corrupt"])
    expect(await Effect.runPromise(directory.kind("/d/b.seg"))).toBe("missing")
  }
  const good = join(frame, encodeSeekTable([frame.length], [bytes.length]))
  write("/d/good.zst", good)
  const job = { source: "/d/good.zst", target: "/d/b.seg", sourceBytes: good.length, sourceChecksum64: crc64(good) }
  const whole = { ...job, targetBytes: bytes.length, targetChecksum64: checksum64 }
  expect(await tagOf(compressor.decompress(whole))).toBe("success")
})
