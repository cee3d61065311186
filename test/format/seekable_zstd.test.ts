// The seek table: round trip, each byte flipped, each length cut, numbers that lie; and the first bytes of a zstd frame.

import { describe, expect, test } from "bun:test"
import { zlibCodec } from "../../src/compressor/frame_codec.ts"
import {
  decodeSeekTable,
  encodeSeekTable,
  isZstdFrame,
  seekTableBytes,
  seekTableBytesOf,
  storedContent,
} from "../../src/format/seekable_zstd.ts"
import { expectCutsRejected, expectFlipsRejected, fromHex } from "../support/codec.ts"

const compressed = [100, 5, 70_000, 1]
const content = [1536, 8, 65_536, 40]
const frameBytes = compressed.reduce((sum, bytes) => sum + bytes, 0)
const contentBytes = content.reduce((sum, bytes) => sum + bytes, 0)
const bytes = encodeSeekTable(compressed, content)
const fileBytes = frameBytes + bytes.length
// A frame of 70 000 bytes is longer than what it holds may become, so it is left out where the table has to be right.
const right = { compressed: [100, 5, 60_000, 1], content }
const rightBytes = encodeSeekTable(right.compressed, right.content)
const rightFileBytes = 60_106 + rightBytes.length

describe("decodeSeekTable()", () => {
  test("gives what was encoded, with the bytes of the public format", () => {
    const table = decodeSeekTable(rightBytes, { fileBytes: rightFileBytes, contentBytes })!
    expect([table.frameCount, table.contentBytes, table.compressedBytes]).toEqual([4, contentBytes, 60_106])
    expect(table.frame(2)).toEqual({
      index: 2,
      compressedOffset: 105,
      compressedBytes: 60_000,
      contentOffset: 1544,
      contentBytes: 65_536,
    })
    expect(encodeSeekTable([3], [7])).toEqual(fromHex("5e2a4d1811000000" + "0300000007000000" + "0100000000b1ea928f"))
  })

  test("finds the table behind other bytes, and its length from the last nine", () => {
    const tail = new Uint8Array(1000)
    tail.set(rightBytes, 1000 - rightBytes.length)
    expect(decodeSeekTable(tail, { fileBytes: rightFileBytes, contentBytes })?.frameCount).toBe(4)
    expect(seekTableBytesOf(rightBytes.slice(-9), rightFileBytes)).toBe(seekTableBytes(4))
    expect(seekTableBytesOf(rightBytes.slice(-8), rightFileBytes)).toBe(undefined)
    expect(seekTableBytesOf(rightBytes.slice(-9), seekTableBytes(4) - 1)).toBe(undefined)
  })

  test("rejects each flipped byte of header and footer, and of entries all that change a sum", () => {
    const accepts = (source: Uint8Array): boolean =>
      decodeSeekTable(source, { fileBytes: rightFileBytes, contentBytes }) !== undefined
    expectFlipsRejected(rightBytes, accepts)
    expectCutsRejected(rightBytes, accepts)
    expectCutsRejected(bytes, accepts)
  })

  test("rejects another length of file or segment", () => {
    for (const wrong of [-1, 1, 8, -rightFileBytes, 2 ** 32]) {
      expect(decodeSeekTable(rightBytes, { fileBytes: rightFileBytes + wrong, contentBytes })).toBe(undefined)
      expect(decodeSeekTable(rightBytes, { fileBytes: rightFileBytes, contentBytes: contentBytes + wrong })).toBe(
        undefined,
      )
    }
    expect(decodeSeekTable(rightBytes, { fileBytes: rightFileBytes })?.contentBytes).toBe(contentBytes)
  })

  test("rejects frames that are empty, too long, or hold more than a segment", () => {
    const isAccepted = (packed: number[], lengths: number[]): boolean => {
      const table = encodeSeekTable(packed, lengths)
      return decodeSeekTable(table, { fileBytes: packed.reduce((a, b) => a + b, 0) + table.length }) !== undefined
    }
    expect(isAccepted(compressed, content)).toBe(false)
    expect(isAccepted([0, 20], [8, 8])).toBe(false)
    expect(isAccepted([20, 20], [0, 8])).toBe(false)
    expect(isAccepted([20], [2 ** 25])).toBe(true)
    expect(isAccepted([20], [2 ** 25 + 1])).toBe(false)
    expect(isAccepted(Array(8).fill(20), Array(8).fill(2 ** 25))).toBe(true)
    expect(isAccepted(Array(9).fill(20), Array(9).fill(2 ** 25))).toBe(false)
  })

  test("does not believe a count that the bytes at hand do not hold", () => {
    const hostile = rightBytes.slice()
    new DataView(hostile.buffer).setUint32(hostile.length - 9, 0xffffffff, true)
    expect(decodeSeekTable(hostile, { fileBytes: 2 ** 32 - 1 })).toBe(undefined)
    new DataView(hostile.buffer).setUint32(hostile.length - 9, 2 ** 27, true)
    expect(decodeSeekTable(hostile, { fileBytes: 2 ** 32 - 1 })).toBe(undefined)
    expect(seekTableBytesOf(hostile, fileBytes)).toBe(undefined)
  })
})

describe("frameAt()", () => {
  test("finds the frame of each byte, and none outside", () => {
    const lengths = Array.from({ length: 50 }, (_, index) => 1 + ((index * 7) % 13))
    const table = encodeSeekTable(lengths, lengths)
    const total = lengths.reduce((sum, length) => sum + length, 0)
    const decoded = decodeSeekTable(table, { fileBytes: total + table.length })!
    let offset = 0
    lengths.forEach((length, index) => {
      for (let end = offset + length; offset < end; offset++) expect(decoded.frameAt(offset)?.index).toBe(index)
    })
    for (const outside of [-1, total, total + 1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(decoded.frameAt(outside)).toBe(undefined)
    }
    for (const outside of [-1, 50, 0.5, Number.NaN]) expect(decoded.frame(outside)).toBe(undefined)
  })

  test("finds nothing in a table without frames", () => {
    const table = decodeSeekTable(encodeSeekTable([], []), { fileBytes: 17, contentBytes: 0 })!
    expect([table.frameCount, table.frameAt(0), table.frame(0)]).toEqual([0, undefined, undefined])
  })
})

/** The header of a block, in hexadecimal. */
const block = (size: number, type: number, isLast: boolean): string => {
  const value = (size << 3) | (type << 1) | (isLast ? 1 : 0)
  return [0, 8, 16].map((shift) => ((value >>> shift) & 255).toString(16).padStart(2, "0")).join("")
}

describe("isZstdFrame()", () => {
  test("takes each form of content size, with a checksum and no dictionary", () => {
    const frames: ReadonlyArray<readonly [string, number]> = [
      ["28b52ffd24c8", 200],
      ["28b52ffd6400ff", 65_536],
      ["28b52ffd4458" + "00ff", 65_536],
      ["28b52ffda4a0860100", 100_000],
      ["28b52ffdc458" + "a086010000000000", 100_000],
    ]
    for (const [header, length] of frames) {
      const hex = `${header}${block(3, 2, false)}aabbcc${block(9, 1, false)}aa${block(2, 0, true)}aabb01020304`
      expect([hex, isZstdFrame(fromHex(hex), length)]).toEqual([hex, true])
      expect([hex, isZstdFrame(fromHex(hex), length + 1)]).toEqual([hex, false])
      expect(isZstdFrame(fromHex(`${hex}00`), length)).toBe(false)
      expectCutsRejected(fromHex(hex), (bytes) => isZstdFrame(bytes, length))
      expectFlipsRejected(fromHex(hex), (bytes) => isZstdFrame(bytes, length), 0, 4)
    }
  })

  test("rejects a frame without checksum, without size, with a dictionary or reserved bits", () => {
    for (const descriptor of ["60", "04", "65", "66", "67", "6c"]) {
      const hex = `28b52ffd${descriptor}00ff${block(0, 0, true)}01020304`
      expect([descriptor, isZstdFrame(fromHex(hex), 65_536)]).toEqual([descriptor, false])
    }
    expect(isZstdFrame(fromHex(`28b52ffd6400ff${block(0, 0, true)}01020304`), 65_536)).toBe(true)
  })

  test("rejects blocks of the reserved type, that are too long, or that go beyond the end", () => {
    for (const wrong of [block(0, 3, true), block(1, 0, true), block(131_073, 1, true), block(0, 0, false)]) {
      expect([wrong, isZstdFrame(fromHex(`28b52ffd6400ff${wrong}01020304`), 65_536)]).toEqual([wrong, false])
    }
  })
})

describe("storedContent()", () => {
  /** A frame with a content size of 4 bytes, one block of the type and size given, and four bytes for a checksum. */
  const frameOf = (type: number, content: Uint8Array, { isLast = 1, size = content.length } = {}): Uint8Array => {
    const frame = new Uint8Array(9 + 3 + content.length + 4)
    const view = new DataView(frame.buffer)
    view.setUint32(0, 0xfd2fb528, true)
    frame[4] = 0xa4
    view.setUint32(5, content.length, true)
    view.setUint16(9, (isLast | (type << 1) | (size << 3)) & 0xffff, true)
    frame[11] = size >>> 13
    frame.set(content, 12)
    return frame
  }
  const content = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 31) & 255)

  test("is a view of what the one block of the frame holds", () => {
    const frame = frameOf(0, content)
    const stored = storedContent(frame, content.length)!
    expect([stored.buffer === frame.buffer, stored.byteOffset, stored.length]).toEqual([true, 12, content.length])
    expect(stored).toEqual(content)
  })

  test("is nothing for a block that is compressed or a run, one of several, and one of another length", () => {
    for (const type of [1, 2, 3]) expect(storedContent(frameOf(type, content), content.length)).toBe(undefined)
    expect(storedContent(frameOf(0, content, { isLast: 0 }), content.length)).toBe(undefined)
    expect(storedContent(frameOf(0, content, { size: content.length - 1 }), content.length)).toBe(undefined)
    expect(storedContent(frameOf(0, content), content.length - 1)).toBe(undefined)
    expect(storedContent(frameOf(0, new Uint8Array(128 * 1024 + 1)), 128 * 1024 + 1)).toBe(undefined)
  })

  test("is nothing for a frame that was cut or goes on", () => {
    const frame = frameOf(0, content.subarray(0, 40))
    for (let length = 0; length < frame.length; length++) {
      expect(storedContent(frame.subarray(0, length), 40)).toBe(undefined)
    }
    expect(storedContent(new Uint8Array([...frame, 0]), 40)).toBe(undefined)
  })

  test("is what the library of the runtime has stored", () => {
    let state = 1
    const noise = Uint8Array.from({ length: 65_000 }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return state >>> 17
    })
    const frame = zlibCodec()?.compress(noise, 8)
    if (frame !== undefined) expect(storedContent(frame, noise.length)).toEqual(noise)
    const zeros = zlibCodec()?.compress(new Uint8Array(1000), 8)
    if (zeros !== undefined) expect(storedContent(zeros, 1000)).toBe(undefined)
  })
})
