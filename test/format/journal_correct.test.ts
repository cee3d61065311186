// A journal header that does not check: one changed byte is put right, and without a header the groups say which seed they have.

import { expect, test } from "bun:test"
import { journalBlockBytes, journalHeader } from "../../src/format/journal_block.ts"
import { correctJournalHeader, findJournalSeed } from "../../src/format/journal_correct.ts"
import { journalSampleHeader, makeJournalSample } from "../support/journal_sample.ts"

test("each changed byte of a header is put right", () => {
  for (let at = 0; at < journalHeader.sizeBytes; at++) {
    for (const mask of [1, 0x80, 0xff]) {
      const bytes = makeJournalSample()
      bytes[at]! ^= mask
      expect(correctJournalHeader(bytes)).toMatchObject({ ...journalSampleHeader })
    }
  }
})

test("two changed bytes are not, nor is a header that is cut", () => {
  const bytes = makeJournalSample()
  bytes[10]! ^= 1
  bytes[30]! ^= 1
  expect(correctJournalHeader(bytes)).toBeUndefined()
  expect(correctJournalHeader(makeJournalSample().subarray(0, journalHeader.sizeBytes - 1))).toBeUndefined()
  expect(correctJournalHeader(new Uint8Array(journalBlockBytes))).toBeUndefined()
})

test("two groups say which seed they have, and one does with the header's own field", () => {
  const whole = makeJournalSample()
  whole.fill(0, 0, journalBlockBytes)
  expect(findJournalSeed(whole)).toBe(journalSampleHeader.checksumSeed)
  const one = makeJournalSample()
  one[journalBlockBytes + 100]! ^= 1
  expect(findJournalSeed(one)).toBe(journalSampleHeader.checksumSeed)
  one.fill(0, 0, journalBlockBytes)
  expect(findJournalSeed(one)).toBeUndefined()
  expect(findJournalSeed(new Uint8Array(4096))).toBeUndefined()
  expect(findJournalSeed(new Uint8Array(10))).toBeUndefined()
})
