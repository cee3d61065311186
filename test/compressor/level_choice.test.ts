// Which level frames are made at: the fast one only where the other gained nothing, and never at the cost of the size.

import { beforeAll, describe, expect, test } from "bun:test"
import type { FrameCodec } from "../../src/compressor/checked_codec.ts"
import { zlibCodec } from "../../src/compressor/frame_codec.ts"
import { LevelChoice } from "../../src/compressor/level_choice.ts"
import { loadWasmCodec } from "../../src/compressor/wasm_codec.ts"
import { makeRandom } from "../support/random.ts"

const frameBytes = 65536
const KiB = 1024

const noise = (seed: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  let state = seed * 2 + 1
  for (let at = 0; at < length; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes[at] = state >>> 16
  }
  return bytes
}

const text = (seed: number, length: number): Uint8Array => {
  const random = makeRandom(seed)
  let lines = ""
  while (lines.length < length) {
    lines += `{"at":${1_700_000_000 + random(1e6)},"level":"${["info", "warn"][random(2)]}","took":${random(5000)},"id":"${random(2 ** 32).toString(16)}"}\n`
  }
  return Buffer.from(lines.slice(0, length), "latin1")
}

const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))
const times = (count: number, part: (index: number) => Uint8Array): Uint8Array =>
  join(Array.from({ length: count }, (_, index) => part(index)))

/** Random bytes with the first `length` of each frame once more, `distance` behind. */
const repeated =
  (distance: number, length: number, at = 0) =>
  (): Uint8Array =>
    times(48, (index) => {
      const frame = noise(index + 1, frameBytes)
      frame.copyWithin(at + distance, at, at + Math.min(length, frameBytes - at - distance))
      return frame
    })

/** A frame of random bytes of which the first 4 KiB are its last ones too. */
const echo = (seed: number): Uint8Array => {
  const frame = noise(seed + 1, frameBytes)
  frame.copyWithin(60 * KiB, 0, 4 * KiB)
  return frame
}

const inputs: ReadonlyArray<readonly [string, () => Uint8Array]> = [
  ["text", () => text(1, 32 * frameBytes)],
  ["random bytes", () => noise(2, 48 * frameBytes)],
  ["frames of text and of random bytes in turn", () => times(40, (i) => (i & 1 ? noise : text)(i, frameBytes))],
  ["a frame of text behind each seven of random bytes", () => times(64, (i) => (i & 7 ? noise : text)(i, frameBytes))],
  ["a frame of text behind each twenty", () => times(84, (i) => (i % 21 === 20 ? text : noise)(i, frameBytes))],
  ["text, much of random bytes, text", () => times(72, (i) => (i < 8 || i > 63 ? text : noise)(i, frameBytes))],
  ["text and random bytes within a frame", () => times(96, (i) => (i & 1 ? noise : text)(i, 32 * KiB))],
  ["4 KiB of text in 60 of random bytes", () => times(80, (i) => (i & 1 ? noise(i, 60 * KiB) : text(i, 4 * KiB)))],
  [
    "2 KiB of text in the middle of each frame",
    () => times(96, (i) => (i & 1 ? text(i, 2 * KiB) : noise(i, 62 * KiB))),
  ],
  ["records of 200 bytes of text and 4 KiB", () => times(1000, (i) => (i & 1 ? noise(i, 4 * KiB) : text(i, 200)))],
  ["random bytes once more after 16 KiB", repeated(16 * KiB, 48 * KiB)],
  ["random bytes once more after 32 KiB", repeated(32 * KiB, 32 * KiB)],
  ["random bytes once more after 60 KiB", repeated(60 * KiB, 4 * KiB)],
  [
    "a frame like that behind each eight of random bytes",
    () => times(90, (i) => (i % 9 ? noise(i, frameBytes) : echo(i))),
  ],
  ["8 KiB amid the frame once more after 30", repeated(30 * KiB, 8 * KiB, 20 * KiB)],
  ["2 KiB amid the frame once more after 16", repeated(16 * KiB, 2 * KiB, 40 * KiB)],
  ["random bytes in base64", () => Buffer.from(Buffer.from(noise(3, 36 * frameBytes)).toString("base64"), "latin1")],
  ["bytes of which few are missing", () => noise(4, 48 * frameBytes).map((byte) => (byte < 230 ? byte : byte >> 1))],
  ["long runs", () => times(40, (i) => new Uint8Array(frameBytes).fill(i))],
  [
    "long runs behind random bytes",
    () => times(90, (i) => (i % 30 < 25 ? noise(i, frameBytes) : new Uint8Array(frameBytes))),
  ],
]

const framesOf = (bytes: Uint8Array): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / frameBytes) }, (_, index) =>
    bytes.subarray(index * frameBytes, (index + 1) * frameBytes),
  )

const sizeOf = (bytes: Uint8Array, compress: (frame: Uint8Array) => Uint8Array): number =>
  framesOf(bytes).reduce((sum, frame) => sum + compress(frame).length, 0)

/** A codec that notes the levels that it is asked for. */
const noting = (codec: FrameCodec, levels: number[]): Pick<FrameCodec, "compress"> => ({
  compress: (bytes, level) => {
    levels.push(level)
    return codec.compress(bytes, level)
  },
})

const zlib = zlibCodec()!
let wasm: FrameCodec
beforeAll(async () => {
  wasm = await loadWasmCodec()
})

describe("the size is within one percent of that of the level", () => {
  test.each(inputs.map(([name]) => name))("of %s", (name: string) => {
    const bytes = inputs.find((each) => each[0] === name)![1]()
    const choice = new LevelChoice(zlib, 8)
    const size = sizeOf(bytes, (frame) => {
      const made = choice.compress(frame)
      expect(Buffer.compare(zlib.decompress(made, frame.length), frame)).toBe(0)
      return made
    })
    expect(size / sizeOf(bytes, (frame) => zlib.compress(frame, 8))).toBeLessThan(1.01)
  })

  test("with WebAssembly too", () => {
    const bytes = times(24, (i) => (i < 20 ? noise : text)(i, frameBytes))
    const choice = new LevelChoice(wasm, 8)
    const size = sizeOf(bytes, (frame) => choice.compress(frame))
    expect(size / sizeOf(bytes, (frame) => wasm.compress(frame, 8))).toBeLessThan(1.01)
  })
})

describe("compress()", () => {
  test("tries the fast level where eight frames gained nothing, and the other for one frame in sixteen", () => {
    const levels: number[] = []
    const choice = new LevelChoice(noting(zlib, levels), 8)
    for (const frame of framesOf(noise(5, 50 * frameBytes))) choice.compress(frame)
    const isFull = levels.flatMap((level, index) => (level === 8 ? [index] : []))
    expect(levels.length).toBe(50)
    expect(isFull).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 23, 39])
  })

  test("goes back with the first frame that shrinks at the fast level, and stays while frames shrink", () => {
    const levels: number[] = []
    const choice = new LevelChoice(noting(zlib, levels), 8)
    for (const frame of framesOf(noise(6, 11 * frameBytes))) choice.compress(frame)
    levels.length = 0
    const frames = framesOf(text(7, 5 * frameBytes))
    const made = frames.map((frame) => choice.compress(frame))
    expect(levels).toEqual([1, 8, 8, 8, 8, 8])
    for (const [index, frame] of frames.entries()) {
      expect(made[index]!.length).toBeLessThanOrEqual(zlib.compress(frame, 8).length)
    }
  })

  test("does nothing of the kind for text, and at the fast level", () => {
    for (const [level, bytes] of [
      [8, text(8, 20 * frameBytes)],
      [1, noise(8, 20 * frameBytes)],
    ] as const) {
      const levels: number[] = []
      const choice = new LevelChoice(noting(zlib, levels), level)
      for (const frame of framesOf(bytes)) choice.compress(frame)
      expect(levels).toEqual(Array(20).fill(level))
    }
  })

  test("makes the same frames of the same bytes", () => {
    const frames = framesOf(times(30, (i) => (i % 9 === 8 ? text : noise)(i, frameBytes)))
    const [first, second] = [0, 1].map(() => {
      const choice = new LevelChoice(zlib, 8)
      return join(frames.map((frame) => choice.compress(frame)))
    })
    expect(Buffer.compare(first!, second!)).toBe(0)
  })
})
