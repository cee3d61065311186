// The two checksums have their published check values and can be continued.

import { describe, expect, test } from "bun:test"
import { createCRC64 } from "hash-wasm"
import { crc32, crc64, crc64Start } from "../../src/format/checksum.ts"
import { joinCrc64 } from "../../src/format/crc64_join.ts"
import { makeRandom } from "../support/random.ts"

const digits = new TextEncoder().encode("123456789")

describe("crc32()", () => {
  test("has the check value of CRC-32", () => {
    expect(crc32(digits, 0)).toBe(0xcbf43926)
  })

  test("goes on from the checksum of the bytes before", () => {
    expect(crc32(digits.subarray(4), crc32(digits.subarray(0, 4), 0))).toBe(0xcbf43926)
  })
})

describe("crc64()", () => {
  test("has the check value of CRC-64/NVME, in one piece or several", () => {
    expect(crc64(digits)).toBe(0xae8b14860a799888n)
    expect(crc64(digits.subarray(0, 3), digits.subarray(3))).toBe(0xae8b14860a799888n)
    expect(crc64()).toBe(0n)
  })

  test("is that of hash-wasm for bytes of any length, and on from any checksum before", async () => {
    const other = await createCRC64("9a6c9329ac4bc9b5")
    const reference = (...parts: ReadonlyArray<Uint8Array>): bigint => {
      other.init()
      for (const part of parts) other.update(part)
      return BigInt(`0x${other.digest()}`)
    }
    const random = makeRandom(7)
    const bytes = Uint8Array.from({ length: 200_000 }, () => random(256))
    const around = [0, 8, 64, 8192, 16_384, 32_768, 65_536, 98_304, 131_072]
    const lengths = around.flatMap((length) => [length - 9, length - 8, length - 1, length, length + 1, length + 7])
    for (const length of [...lengths, 199_000]) {
      if (length < 0) continue
      const from = random(1000)
      const part = bytes.subarray(from, from + length)
      expect([length, crc64(part)]).toEqual([length, reference(part)])
      const cut = random(length + 1)
      const running = crc64Start(crc64(part.subarray(0, cut)))
      running.update(part.subarray(cut))
      expect([length, cut, running.digest()]).toEqual([length, cut, reference(part)])
      expect(joinCrc64(crc64(digits), crc64(part), length)).toBe(reference(digits, part))
    }
  })

  test("runs several times side by side, and on after a digest", () => {
    const one = crc64Start()
    const other = crc64Start()
    one.update(digits.subarray(0, 5))
    other.update(digits)
    expect(one.digest()).toBe(crc64(digits.subarray(0, 5)))
    one.update(digits.subarray(5))
    expect([one.digest(), other.digest()]).toEqual([0xae8b14860a799888n, 0xae8b14860a799888n])
  })

  test("goes on from a checksum that was made elsewhere", () => {
    for (let cut = 0; cut <= digits.length; cut++) {
      const rest = crc64Start(crc64(digits.subarray(0, cut)))
      rest.update(digits.subarray(cut))
      expect([cut, rest.digest()]).toEqual([cut, 0xae8b14860a799888n])
    }
  })

  test("takes bytes into two at once as it does into each", () => {
    const random = makeRandom(3)
    const lengths = [0, 1, 2, 3, 7, 8, 9, 255, 256, 257, 4095, 65_536, 65_543, 131_072, 1_048_576, 3_000_001]
    for (const length of lengths) {
      const bytes = Uint8Array.from({ length }, () => random(256))
      const [one, other, none] = [crc64Start(), crc64Start(0xfedcba9876543210n), crc64Start()]
      one.update(digits)
      one.updateBoth(other, bytes)
      // Into one that has none before, and on from there.
      one.updateBoth(none, bytes)
      other.update(digits)
      const alone = crc64Start(0xfedcba9876543210n)
      alone.update(bytes)
      alone.update(digits)
      expect([length, one.digest()]).toEqual([length, crc64(digits, bytes, bytes)])
      expect([length, other.digest()]).toEqual([length, alone.digest()])
      expect([length, none.digest()]).toEqual([length, crc64(bytes)])
    }
  })

  test("does not take bytes into itself twice", () => {
    const one = crc64Start()
    expect(() => one.updateBoth(one, digits)).toThrow("assertion failed")
  })
})
