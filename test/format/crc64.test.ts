// The CRC-64 machine against the library from which its results were first taken, in all the ways bytes can be cut.

import { beforeAll, expect, test } from "bun:test"
import { createCRC64 } from "hash-wasm"
import { crc64, crc64Start, loadCrc64 } from "../../src/format/checksum.ts"

const bytes = Uint8Array.from({ length: 700_000 }, (_, at) => Math.imul(at, 2_654_435_761) >>> 13)

beforeAll(loadCrc64)

test("crc64() gives what hash-wasm gives, at the borders of words, stripes and pieces too", async () => {
  const hasher = await createCRC64("9a6c9329ac4bc9b5")
  const lengths = [
    0, 1, 7, 8, 9, 4095, 4096, 16_383, 16_384, 16_385, 32_768, 32_771, 262_143, 262_144, 262_145, 700_000,
  ]
  for (const length of lengths) {
    const part = bytes.subarray(bytes.length - length)
    hasher.init()
    expect(crc64(part)).toBe(BigInt(`0x${hasher.update(part).digest()}`))
  }
})

test("a running crc64 does not see where its bytes were cut, nor another one beside it", () => {
  const whole = crc64(bytes)
  for (const cut of [1, 8, 4097, 16_384, 20_000, 262_144, 600_001]) {
    const [one, other] = [crc64Start(), crc64Start()]
    one.update(bytes.subarray(0, cut))
    other.update(bytes.subarray(cut))
    one.update(bytes.subarray(cut))
    expect(one.digest()).toBe(whole)
    expect(other.digest()).toBe(crc64(bytes.subarray(cut)))
  }
})
