/**
 * The commit journal that the streams of a root share: a header, then groups, each at a multiple of 512 so that no write touches the sectors
 * of an older one. A group holds what one sync made durable: stretches of the segments of several streams. Files are used again and
 * again; a header with a new seed makes what an older use has left unreadable.
 */
import { crc32 } from "./checksum.ts"
import { field, type Layout, layout } from "./field_table.ts"

/** "AOFJ" */
export const journalMagic = 0x4a464f41
/** Bytes before the first group; groups begin at multiples of it. */
export const journalBlockBytes = 512

/** What the header of a journal file says. */
export interface JournalHeader {
  /** 16 bytes, as in the root file. */
  readonly rootId: Uint8Array
  /** Rises with each use of any journal file of the root: what has a higher one is younger. */
  readonly sequence: number
  /** Unix time in milliseconds at which this use began. */
  readonly createdMs: number
  /** Processes that have used a journal since the root was last closed in order, this one included. */
  readonly processCount: number
  /** Start value of the CRC-32 of each group. */
  readonly checksumSeed: number
}

/** A journal header with the fields that only its bytes have. */
export interface JournalHeaderBytes extends JournalHeader {
  /** `journalMagic`. */
  readonly magic: number
  /** Version of this layout. */
  readonly version: number
  /** Offset of the first group. */
  readonly headerBytes: number
  /** CRC-32, seed 0, of the bytes before it. */
  readonly checksum: number
}

/** The layout of a journal header. */
export const journalHeader: Layout<JournalHeaderBytes> = layout("Journal header", "at offset 0 of a journal file", [
  field("magic", "u32", "`AOFJ`"),
  field("version", "u16", "now 1"),
  field("headerBytes", "u16", "offset of the first group, 512"),
  field("rootId", "bytes", "as in the root file", 16),
  field("sequence", "safe", "rises with each use of any journal file of the root"),
  field("createdMs", "safe", "Unix time in milliseconds at which this use began"),
  field(
    "processCount",
    "safe",
    "processes that have used a journal since the root was last closed in order, this one included",
  ),
  field("spare", "reserved", "zero", 8),
  field("checksumSeed", "u32", "random; start value of the CRC-32 of each group"),
  field("checksum", "u32", "CRC-32, seed 0, of the bytes before it"),
])

/** The start of a group. */
export interface JournalGroup {
  /** CRC-32, with the file's seed, of the rest of the group. */
  readonly checksum: number
  /** Bytes of this header and all entries, without the padding behind them. */
  readonly lengthBytes: number
  /** Where the group begins in the file. */
  readonly offset: number
  /** Entries that follow, 1 or more. */
  readonly entryCount: number
}

/** The layout of a group's start. */
export const journalGroup: Layout<JournalGroup> = layout("Journal group", "at multiples of 512 of a journal file", [
  field("checksum", "u32", "CRC-32, seed of the file, of the rest of the group"),
  field("lengthBytes", "u32", "of this header and all entries, without padding"),
  field("offset", "u32", "of this group in the file"),
  field("entryCount", "u32", "entries that follow"),
])

/** The start of an entry: bytes of one segment, which follow. */
export interface JournalEntry {
  /** Id of the stream. */
  readonly streamId: number
  /** Index of the segment. */
  readonly segmentIndex: number
  /** Where the bytes lie in the segment; 0 for its header. */
  readonly offset: number
  /** How many bytes follow. */
  readonly lengthBytes: number
}

/** The layout of an entry's start. */
export const journalEntry: Layout<JournalEntry> = layout("Journal entry", "one behind the other in a group", [
  field("streamId", "safe", "of the stream"),
  field("segmentIndex", "u32", "of the segment"),
  field("offset", "u32", "of the bytes in the segment; 0 for its header"),
  field("lengthBytes", "u32", "bytes that follow"),
  field("spare", "reserved", "zero", 4),
])

/** The next place at which a group may begin. */
export const alignGroup = (offset: number): number => Math.ceil(offset / journalBlockBytes) * journalBlockBytes

/** The block that begins a use of a journal file. */
export const encodeJournalHeader = (value: JournalHeader): Uint8Array => {
  const block = new Uint8Array(journalBlockBytes)
  const all = { ...value, magic: journalMagic, version: 1, headerBytes: journalBlockBytes }
  journalHeader.encode(block, 0, { ...all, checksum: 0 })
  journalHeader.encode(block, 0, { ...all, checksum: crc32(block.subarray(0, journalHeader.at.checksum), 0) })
  return block
}

/** Reads a header; undefined when it does not check. */
export const decodeJournalHeader = (bytes: Uint8Array): JournalHeader | undefined => {
  const value = journalHeader.decode(bytes, 0)
  if (value === undefined || value.magic !== journalMagic || value.version !== 1) return undefined
  if (value.headerBytes !== journalBlockBytes) return undefined
  return value.checksum === crc32(bytes.subarray(0, journalHeader.at.checksum), 0) ? value : undefined
}

/** Reads the start of the group at `offset`; undefined when no group is there that checks. */
export const decodeJournalGroup = (bytes: Uint8Array, offset: number, seed: number): JournalGroup | undefined => {
  const value = journalGroup.decode(bytes, offset)
  if (value === undefined || value.offset !== offset || value.entryCount === 0) return undefined
  if (value.lengthBytes < journalGroup.sizeBytes || offset + value.lengthBytes > bytes.length) return undefined
  return value.checksum === crc32(bytes.subarray(offset + 4, offset + value.lengthBytes), seed) ? value : undefined
}

/** An entry with its bytes, which are a view into what was decoded. */
export interface JournalEntryBytes extends JournalEntry {
  readonly bytes: Uint8Array
}

/** The entries of a group that checks; undefined when they do not fit it, which only somebody who means to can bring about. */
export const decodeJournalEntries = (
  bytes: Uint8Array,
  group: JournalGroup,
): ReadonlyArray<JournalEntryBytes> | undefined => {
  const entries: Array<JournalEntryBytes> = []
  const end = group.offset + group.lengthBytes
  let at = group.offset + journalGroup.sizeBytes
  while (at < end) {
    const entry = journalEntry.decode(bytes, at)
    const start = at + journalEntry.sizeBytes
    if (entry === undefined || start + entry.lengthBytes > end) return undefined
    entries.push({ ...entry, bytes: bytes.subarray(start, start + entry.lengthBytes) })
    at = start + entry.lengthBytes
  }
  return entries.length === group.entryCount ? entries : undefined
}
