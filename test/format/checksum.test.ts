// The two checksums have their published check values and can be continued.

import { beforeAll, describe, expect, test } from "bun:test"
import { crc32, crc64, crc64Start, loadCrc64 } from "../../src/format/checksum.ts"

const digits = new TextEncoder().encode("123456789")

beforeAll(loadCrc64)

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
})
