/** Reads a journal file whose header does not check: the header is put right, or what it says of the groups is found in the groups. */
import { crc32Seed } from "./checksum_seed.ts"
import { correctByte } from "./correct_byte.ts"
import {
  alignGroup,
  decodeJournalEntries,
  decodeJournalHeader,
  type JournalGroup,
  type JournalHeader,
  journalBlockBytes,
  journalGroup,
  journalHeader,
} from "./journal_block.ts"

/** The header of `bytes` without the one byte of it that has changed; undefined when more is wrong with it. */
export const correctJournalHeader = (bytes: Uint8Array): JournalHeader | undefined => {
  if (bytes.length < journalHeader.sizeBytes) return undefined
  const copy = bytes.slice(0, journalHeader.sizeBytes)
  if (!correctByte(copy, { from: 0, checksumAt: journalHeader.at.checksum, seed: 0 })) return undefined
  return decodeJournalHeader(copy)
}

/**
 * The seed that the groups of the file's last use have, computed back from them; undefined unless two groups agree on it, or one group and the
 * header's own field. Groups of earlier uses lie behind those of the last, so the first agreement is on its seed; and what an earlier use held
 * is in the segments.
 */
export const findJournalSeed = (bytes: Uint8Array): number | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const seen = new Set<number>()
  if (bytes.length >= journalHeader.sizeBytes) seen.add(view.getUint32(journalHeader.at.checksumSeed, true))
  for (let at = journalBlockBytes; at < bytes.length; ) {
    const group = shapedGroup(bytes, at)
    if (group === undefined) {
      at += journalBlockBytes
      continue
    }
    const seed = crc32Seed(bytes.subarray(at + 4, at + group.lengthBytes), group.checksum)
    if (seen.has(seed)) return seed
    seen.add(seed)
    at = alignGroup(at + group.lengthBytes)
  }
  return undefined
}

/** What has the shape of a group: place and length fit, and so do its entries. */
const shapedGroup = (bytes: Uint8Array, at: number): JournalGroup | undefined => {
  const group = journalGroup.decode(bytes, at)
  if (group === undefined || group.offset !== at || group.entryCount === 0) return undefined
  if (group.lengthBytes < journalGroup.sizeBytes || at + group.lengthBytes > bytes.length) return undefined
  return decodeJournalEntries(bytes, group) === undefined ? undefined : group
}
