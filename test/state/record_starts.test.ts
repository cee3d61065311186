// Record starts against a plain list, for frames of all shapes, many in one block of the segment and far apart.

import { expect, test } from "bun:test"
import { RecordStarts } from "../../src/state/record_starts.ts"
import { makeRandom } from "../support/api.ts"

interface Frame {
  readonly frameOffset: number
  readonly lengthBytes: number
  readonly distances: ReadonlyArray<number>
  readonly number: number
}

test("finds each frame and the nearest start below, whatever the frames are like", () => {
  const random = makeRandom(7)
  const starts = new RecordStarts()
  const frames: Array<Frame> = []
  for (let frameOffset = 1536, number = 0; frames.length < 300; ) {
    const largest = [1, 20, 300, 5000][random(4)]!
    const distances: Array<number> = []
    let lengthBytes = 56
    while (lengthBytes + largest + 8 < 65_000 && distances.length < 1 + random(2000)) {
      distances.push(lengthBytes)
      lengthBytes += 8 + random(largest)
    }
    frames.push({ frameOffset, lengthBytes, distances, number })
    // Some follow at once, some in another part of the segment.
    frameOffset += (lengthBytes + 7) & ~7
    if (random(10) === 0) frameOffset += random(4_000_000) & ~7
    number += distances.length
  }
  const order = frames.map((_, at) => at).sort(() => random(3) - 1)
  const numbers = new Map<number, number>()
  for (const at of order) {
    const { frameOffset, lengthBytes, distances, number } = frames[at]!
    const list = [...distances]
    const facts = {
      frameOffset,
      lengthBytes,
      recordCount: distances.length,
      firstRecordNumber: number,
      timestampMs: at,
    }
    numbers.set(
      frameOffset,
      starts.add(facts, () => list.shift()),
    )
  }
  expect(starts.size).toBe(frames.length)
  for (const [at, { frameOffset, distances, number }] of frames.entries()) {
    const frame = starts.find(frameOffset)
    expect(frame).toBe(numbers.get(frameOffset)!)
    expect([starts.find(frameOffset + 8), starts.timestampMs(frame)]).toEqual([
      frames[at + 1]?.frameOffset === frameOffset + 8 ? frame + 1 : -1,
      at,
    ])
    expect(starts.nearest(frame, distances[0]! - 1)).toBe(-1)
    for (let ask = 0; ask < 50; ask++) {
      const record = random(distances.length)
      const target = distances[record]!
      const nearest = starts.nearest(frame, target)
      const from = starts.recordNumber(frame, nearest) - number
      expect(starts.distance(frame, nearest)).toBe(distances[from]!)
      expect(from).toBeLessThanOrEqual(record)
      // A short walk is left.
      expect(record - from).toBeLessThan(16)
    }
  }
})
