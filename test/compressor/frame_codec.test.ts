// One zstd frame: node:zlib and WebAssembly read each other's, and whatever is no such frame is Corrupt.

import { describe, expect, test } from "bun:test"
import { zstdCompressSync } from "node:zlib"
import { decodeFrameUnsafe, zlibCodec } from "../../src/compressor/frame_codec.ts"
import { loadWasmCodec } from "../../src/compressor/wasm_codec.ts"
import { xxh64Low } from "../../src/compressor/xxh64.ts"
import { Corrupt } from "../../src/model/errors.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"

const contents = [1, 3, 4, 8, 31, 32, 33, 255, 256, 4000, 65_535, 65_536, 65_792, 131_072, 2_000_000].map((length) =>
  Uint8Array.from({ length }, (_, at) => (at & 16 ? Math.imul(at, 2654435761) >>> 24 : at % 7)),
)

/** True when a frame is decoded, to anything but `same`: some bits of a frame may be changed without changing what it means. */
const accepts =
  (lengthBytes: number, decode = decodeFrameUnsafe, same?: Uint8Array) =>
  (frame: Uint8Array): boolean => {
    try {
      const decoded = decode(frame, lengthBytes)
      return same === undefined || Buffer.compare(decoded, same) !== 0
    } catch (error) {
      if (error instanceof Corrupt) return false
      throw error
    }
  }

test("node:zlib and WebAssembly read each other's frames, which have a checksum", async () => {
  const codecs = [zlibCodec()!, await loadWasmCodec()]
  expect(codecs.map(({ name }) => name)).toEqual(["zlib", "wasm"])
  for (const content of contents) {
    for (const writer of codecs) {
      for (const level of [1, 8, 19]) {
        const frame = writer.compress(content, level)
        expect(frame[4]! & 4).toBe(4)
        for (const reader of codecs) {
          expect(Buffer.compare(reader.decompress(frame, content.length), content)).toBe(0)
        }
      }
    }
  }
})

test("the checksum of frames is that of the xxHash specification", () => {
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
  // The whole values are ef46db3751d8e999, d24ec4f1a98c6e5b, 44bc2cf5ad770999 and bf2cd639b4143b80.
  const texts = ["", "a", "abc", "abcdefghijklmnopqrstuvwxyz012345"]
  expect(texts.map((text) => xxh64Low(encode(text)))).toEqual([0x51d8e999, 0xa98c6e5b, 0xad770999, 0xb4143b80])
})

describe("decodeFrameUnsafe()", () => {
  const content = contents[9]!
  const frame = zlibCodec()!.compress(content, 8)

  test("gives a buffer of its own, however short", () => {
    for (const each of contents) {
      const decoded = decodeFrameUnsafe(zlibCodec()!.compress(each, 1), each.length)
      expect(decoded.constructor).toBe(Uint8Array)
      expect([decoded.length, decoded.buffer.byteLength]).toEqual([each.length, each.length])
    }
  })

  test("gives nothing else for any flipped byte, with both codecs", async () => {
    expectFlipsRejected(frame, accepts(content.length, decodeFrameUnsafe, content))
    const wasm = await loadWasmCodec()
    expectFlipsRejected(frame, accepts(content.length, wasm.decompress, content))
    expect(Buffer.compare(wasm.decompress(frame, content.length), content)).toBe(0)
  })

  test("rejects each cut, with both codecs", async () => {
    expectCutsRejected(frame, accepts(content.length))
    expectCutsRejected(frame, accepts(content.length, (await loadWasmCodec()).decompress))
  })

  test("rejects another length than that of the frame", () => {
    for (const length of [0, -1, 1, content.length - 1, content.length + 1, 2 ** 31, Number.NaN]) {
      expect([length, accepts(length)(frame)]).toEqual([length, false])
    }
  })

  test("rejects a frame that lies about its length, before there is much memory used", () => {
    const bomb = zlibCodec()!.compress(new Uint8Array(20_000_000), 1)
    const view = new DataView(bomb.buffer, bomb.byteOffset)
    const sizeAt = (bomb[4]! & 0x20) !== 0 ? 5 : 6
    expect(view.getUint32(sizeAt, true)).toBe(20_000_000)
    view.setUint32(sizeAt, 70_000, true)
    expect(accepts(70_000)(bomb)).toBe(false)
  })

  test("rejects a frame without a checksum, and bytes that are none", () => {
    expect(accepts(content.length)(zstdCompressSync(content, { pledgedSrcSize: content.length }))).toBe(false)
    expect(accepts(0)(new Uint8Array(0))).toBe(false)
    expect(accepts(10)(new Uint8Array(10))).toBe(false)
  })
})
