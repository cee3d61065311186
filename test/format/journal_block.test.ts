// The commit journal: header, groups and entries; each byte flipped, each length cut, and what an older use of the file has left.

import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import {
  alignGroup,
  decodeJournalEntries,
  decodeJournalGroup,
  decodeJournalHeader,
  encodeJournalHeader,
  journalHeader,
} from "../../src/format/journal_block.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"
import { journalSampleGroups, journalSampleHeader, makeJournalSample } from "../support/journal_sample.ts"

const seed = journalSampleHeader.checksumSeed
const sample = makeJournalSample()

/** Everything that counts in a file, group by group. */
const groupsOf = (bytes: Uint8Array, groupSeed: number = seed): Array<unknown> => {
  const found: Array<unknown> = []
  for (let at = 512; at < bytes.length; ) {
    const group = decodeJournalGroup(bytes, at, groupSeed)
    if (group === undefined) {
      at += 512
      continue
    }
    found.push(decodeJournalEntries(bytes, group)?.map((one) => ({ ...one, bytes: [...one.bytes] })))
    at = alignGroup(at + group.lengthBytes)
  }
  return found
}

const expected = journalSampleGroups.map((group) => group.map((one) => ({ ...one, bytes: [...one.bytes] })))

describe("a journal header", () => {
  const bytes = encodeJournalHeader(journalSampleHeader)
  const accepts = (source: Uint8Array): boolean => decodeJournalHeader(source) !== undefined

  test("gives what was encoded, in a block of 512 bytes", () => {
    expect(decodeJournalHeader(bytes)).toMatchObject({ sequence: 3, createdMs: 1_700_000_000_123, checksumSeed: seed })
    expect(bytes.length).toBe(512)
  })

  test("rejects each flipped byte", () => expectFlipsRejected(bytes.subarray(0, journalHeader.sizeBytes), accepts))
  test("rejects each cut", () => expectCutsRejected(bytes.subarray(0, journalHeader.sizeBytes), accepts))
})

describe("groups of a journal", () => {
  test("give the entries that were put in", () => expect(groupsOf(sample)).toEqual(expected))

  test("are those of the golden file, which was made once", () => {
    const path = fileURLToPath(new URL("../golden/v1/journal/0.jnl", import.meta.url))
    const golden = new Uint8Array(readFileSync(path))
    expect(decodeJournalHeader(golden)).toMatchObject({ sequence: 3 })
    expect(groupsOf(golden)).toEqual(expected)
  })

  test("do not count with the seed of another use of the file", () => {
    expect(groupsOf(sample, seed + 1)).toEqual([])
  })

  test("do not count anywhere but where they were written", () => {
    const moved = new Uint8Array(sample.length)
    moved.set(sample.subarray(512, 2048), 1024)
    expect(groupsOf(moved)).toEqual([])
  })

  test("are whole or not there: each flipped byte costs its group and no other", () => {
    const first = decodeJournalGroup(sample, 512, seed)!
    for (let at = 512; at < 512 + first.lengthBytes; at++) {
      const changed = sample.slice()
      changed[at]! ^= 1 << (at % 8)
      expect(groupsOf(changed)).toEqual([expected[1]])
    }
  })

  test("are whole or not there: of a file that was cut only whole groups count", () => {
    const first = decodeJournalGroup(sample, 512, seed)!
    const second = decodeJournalGroup(sample, alignGroup(512 + first.lengthBytes), seed)!
    const ends = [first, second].map(({ offset, lengthBytes }) => offset + lengthBytes)
    for (let length = 0; length < sample.length; length++) {
      expect(groupsOf(sample.subarray(0, length)).length).toBe(ends.filter((end) => end <= length).length)
    }
  })

  test("with entries that do not fit, whose checksum somebody has made right, are refused", () => {
    const group = decodeJournalGroup(sample, 512, seed)!
    expect(decodeJournalEntries(sample, { ...group, lengthBytes: group.lengthBytes - 1 })).toBeUndefined()
    expect(decodeJournalEntries(sample, { ...group, entryCount: group.entryCount + 1 })).toBeUndefined()
  })
})
