// A small journal file: two groups of two streams, one of which is new.

import { encodeJournalHeader, type JournalEntry, type JournalHeader } from "../../src/format/journal_block.ts"
import { JournalWriter } from "../../src/state/journal_writer.ts"

export const journalSampleHeader: JournalHeader = {
  rootId: Uint8Array.from({ length: 16 }, (_, index) => 0xb0 + index),
  sequence: 3,
  createdMs: 1_700_000_000_123,
  processCount: 2,
  checksumSeed: 0x12345678,
}

export interface SampleEntry extends JournalEntry {
  readonly bytes: Uint8Array
}

const entry = (streamId: number, segmentIndex: number, offset: number, text: string): SampleEntry => {
  const bytes = new TextEncoder().encode(text)
  return { streamId, segmentIndex, offset, lengthBytes: bytes.length, bytes }
}

export const journalSampleGroups: ReadonlyArray<ReadonlyArray<SampleEntry>> = [
  [entry(1, 1, 0, "header of a new segment"), entry(1, 1, 1536, "first frame"), entry(2, 7, 4096, "x".repeat(700))],
  [entry(2 ** 40, 33_000_000, 268_000_000, "far away")],
]

/** The bytes of the file, zeros behind the last group included. */
export const makeJournalSample = (): Uint8Array => {
  const file = new Uint8Array(4096)
  file.set(encodeJournalHeader(journalSampleHeader))
  const writer = new JournalWriter(2048)
  let end = 512
  for (const group of journalSampleGroups) {
    writer.begin()
    for (const one of group) writer.bytes.set(one.bytes, writer.add(one))
    const length = writer.end(end, journalSampleHeader.checksumSeed)
    file.set(writer.bytes.subarray(0, length), end)
    end += length
  }
  return file
}
