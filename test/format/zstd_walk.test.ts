import { describe, expect, test } from "bun:test"
import { loadCodec } from "../../src/compressor/frame_codec.ts"
import { encodeSeekTable } from "../../src/format/seekable_zstd.ts"
import { walkZstdFrames, type ZstdRead } from "../../src/format/zstd_walk.ts"
import { noise } from "../support/tier_workload.ts"

const contents = [1, 200, 255, 256, 257, 5000, 70_000, 300_000].flatMap((bytes) => [
  new TextEncoder().encode(noise("noise", bytes)).subarray(0, bytes),
  new Uint8Array(bytes).fill(7),
])

// That of the runtime, with the content size in each frame as the store's own have it.
const codec = await loadCodec()
const frames = contents.map((one) => codec.compress(one, 3))
const framesBytes = new Uint8Array(Buffer.concat(frames))
const table = encodeSeekTable(
  frames.map((one) => one.length),
  contents.map((one) => one.length),
)
const bounds = {
  fileBytes: framesBytes.length + table.length,
  contentBytes: contents.reduce((sum, one) => sum + one.length, 0),
  frameCount: frames.length,
}
const reading =
  (bytes: Uint8Array): ZstdRead =>
  (offset, length) =>
    bytes.subarray(offset, offset + length)

describe("walkZstdFrames()", () => {
  test("finds where each frame lies and what it holds", () => {
    const walked = walkZstdFrames(reading(framesBytes), bounds)!
    expect(walked.frameCount).toBe(frames.length)
    let [offset, content] = [0, 0]
    for (const [index, frame] of frames.entries()) {
      expect(walked.frame(index)).toEqual({
        index,
        compressedOffset: offset,
        compressedBytes: frame.length,
        contentOffset: content,
        contentBytes: contents[index]!.length,
      })
      offset += frame.length
      content += contents[index]!.length
    }
  })

  test("refuses a file that is cut anywhere, and sums that are not its own", () => {
    for (let length = 0; length < framesBytes.length; length += length < 2000 ? 1 : 997) {
      const fileBytes = length + table.length
      expect(walkZstdFrames(reading(framesBytes.subarray(0, length)), { ...bounds, fileBytes })).toBeUndefined()
    }
    const contentBytes = bounds.contentBytes + 1
    expect(walkZstdFrames(reading(framesBytes), { ...bounds, contentBytes })).toBeUndefined()
    const frameCount = frames.length - 1
    expect(walkZstdFrames(reading(framesBytes), { ...bounds, frameCount })).toBeUndefined()
  })

  test("stays within the file whatever byte is flipped", () => {
    const bytes = framesBytes.slice(0, 4000)
    for (let at = 0; at < bytes.length; at++) {
      bytes[at]! ^= 0xff
      const read: ZstdRead = (offset, length) => {
        if (offset < 0 || offset + length > bounds.fileBytes) throw new Error(`read ${length} bytes at ${offset}`)
        return at < offset + length && at >= offset
          ? new Uint8Array([
              ...framesBytes.subarray(offset, at),
              bytes[at]!,
              ...framesBytes.subarray(at + 1, offset + length),
            ])
          : framesBytes.subarray(offset, offset + length)
      }
      const walked = walkZstdFrames(read, bounds)
      if (walked !== undefined) expect(walked.contentBytes).toBe(bounds.contentBytes)
      bytes[at]! ^= 0xff
    }
  })
})
