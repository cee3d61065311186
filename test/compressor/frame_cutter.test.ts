// Where zstd frames end: with log frames, near the wished size, never above twice of it.

import { expect, test } from "bun:test"
import fc from "fast-check"
import { cutWindowBytes, FrameCutter } from "../../src/compressor/frame_cutter.ts"
import { makeSegment, type SampleSegment } from "../support/compressor_segment.ts"

/** All cuts, with no more of the segment in the window than the cutter may look at. */
const cutsOf = (segment: Pick<SampleSegment, "bytes" | "framesEnd">, frameBytes: number): number[] => {
  const { bytes, framesEnd } = segment
  const cutter = new FrameCutter({ sourceBytes: bytes.length, framesEnd, frameBytes })
  const cuts: number[] = []
  for (let start = 0; start < bytes.length; ) {
    const window = bytes.subarray(start, start + cutWindowBytes(frameBytes))
    const end = cutter.cut(window, start, start)
    if (end <= start) throw new Error(`the cut ${end} does not go beyond ${start}`)
    cuts.push(end)
    start = end
  }
  return cuts
}

test("full log frames have a zstd frame each, the header being part of the first", () => {
  const segment = makeSegment([65_480, 65_480, 65_536, 100], 200)
  expect(cutsOf(segment, 65_536)).toEqual([67_016, 132_496, 198_032, 198_136, 198_336])
})

test("short log frames gather up to the wished size", () => {
  const segment = makeSegment(Array(100).fill(1000), 24)
  expect(cutsOf(segment, 10_000).slice(0, 3)).toEqual([9536, 19_536, 29_536])
})

test("a log frame above twice the wished size is cut, and does not begin in the frame before", () => {
  const segment = makeSegment([1000, 35_000, 1000], 24)
  const start = segment.frameOffsets[1]!
  expect(cutsOf(segment, 10_000).slice(0, 4)).toEqual([start, start + 10_000, start + 20_000, segment.frameOffsets[2]!])
})

test("each cut is an end of a log frame, or inside of one that is too long", () => {
  const lengths = fc.array(fc.oneof(fc.integer({ min: 57, max: 3000 }), fc.integer({ min: 57, max: 30_000 })), {
    maxLength: 40,
  })
  fc.assert(
    fc.property(
      lengths,
      fc.integer({ min: 0, max: 9000 }),
      fc.integer({ min: 1024, max: 9000 }),
      (frames, tail, size) => {
        const segment = makeSegment(frames, tail + 8)
        const cuts = cutsOf(segment, size)
        expect(cuts).toContain(segment.framesEnd)
        const ends = new Set([...segment.frameOffsets, segment.framesEnd])
        let start = 0
        for (const end of cuts) {
          expect(end - start).toBeLessThanOrEqual(start < segment.framesEnd ? 2 * size : size)
          if (end <= segment.framesEnd && !ends.has(end)) {
            const from = segment.frameOffsets.findLast((offset) => offset < end)!
            const next = segment.frameOffsets.find((offset) => offset > end) ?? segment.framesEnd
            expect([next - from > 2 * size, end - start]).toEqual([true, size])
          }
          start = end
        }
        expect(start).toBe(segment.bytes.length)
      },
    ),
  )
})

test("any bytes at all are cut to the end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 9, maxLength: 9000 }), fc.nat(9000), (bytes, end) => {
      const framesEnd = Math.min(end, bytes.length)
      const cuts = cutsOf({ bytes, framesEnd }, 1024)
      expect(cuts.at(-1)).toBe(bytes.length)
      if (framesEnd > 0) expect(cuts).toContain(framesEnd)
    }),
  )
})
