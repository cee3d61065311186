// The seed of a CRC-32 is found again from any bytes and their checksum, and so is a byte that has changed.

import { expect, test } from "bun:test"
import { crc32 } from "../../src/format/checksum.ts"
import { crc32ChangedByte, crc32Seed } from "../../src/format/checksum_seed.ts"
import { correctByte } from "../../src/format/correct_byte.ts"
import { makeRandom } from "../support/random.ts"

test("crc32Seed() undoes crc32()", () => {
  const random = makeRandom(5)
  for (let round = 0; round < 200; round++) {
    const bytes = Uint8Array.from({ length: random(300) }, () => random(256))
    const seed = [0, 1, 0xffffffff, (random(65536) * 65536 + random(65536)) >>> 0][round % 4]!
    expect([round, crc32Seed(bytes, crc32(bytes, seed))]).toEqual([round, seed])
  }
})

test("crc32ChangedByte() finds each change of each byte, and correctByte() puts it right", () => {
  const random = makeRandom(6)
  for (const length of [1, 2, 60, 112, 300]) {
    const bytes = Uint8Array.from({ length: length + 4 }, () => random(256))
    const seed = random(65536)
    new DataView(bytes.buffer).setUint32(length, crc32(bytes.subarray(0, length), seed), true)
    const range = { from: 0, checksumAt: length, seed }
    for (let at = 0; at < length + 4; at++) {
      for (const mask of [1, 0x80, 0xff, 1 + random(255)]) {
        const changed = bytes.slice()
        changed[at]! ^= mask
        if (at < length) {
          const difference = crc32(changed.subarray(0, length), seed) ^ crc32(bytes.subarray(0, length), seed)
          expect(crc32ChangedByte(length, difference)).toEqual({ at, mask })
        }
        expect([length, at, mask, correctByte(changed, range)]).toEqual([length, at, mask, true])
        expect(changed).toEqual(bytes)
      }
    }
  }
})

test("correctByte() does not take two changed bytes for one", () => {
  const random = makeRandom(7)
  let wrong = 0
  for (let round = 0; round < 500; round++) {
    const bytes = Uint8Array.from({ length: 64 }, () => random(256))
    new DataView(bytes.buffer).setUint32(60, crc32(bytes.subarray(0, 60), 0), true)
    const [one, other] = [random(60), random(59)]
    bytes[one]! ^= 1 + random(255)
    bytes[other >= one ? other + 1 : other]! ^= 1 + random(255)
    if (correctByte(bytes, { from: 0, checksumAt: 60, seed: 0 })) wrong++
  }
  expect(wrong).toBe(0)
})
