/**
 * A file of the manifest: a chunk of the log or a snapshot, in one layout. A header written and synced once, two commit slots
 * written in turn, then records. A slot goes out with the records that it commits, before one sync of both: its length counts
 * only if the records up to it have its CRC-64, else the slot before it holds, which was durable when this one was written.
 */
import { crc32 } from "./checksum.ts"
import { field, type Layout, layout } from "./field_table.ts"

/** Bytes before the first record. */
export const manifestHeaderBytes = 1536
/** Where the two commit slots lie; odd sequences go to the first. */
export const commitSlotOffsets: readonly [number, number] = [512, 1024]
/** "AOFM" */
export const manifestMagic = 0x4d464f41
/** A chunk of the log. */
export const manifestKindLog = 0
/** A snapshot: it stands for all log records up to its marker. */
export const manifestKindSnapshot = 1
/** The smallest size in bytes at which a chunk may count as full. */
export const chunkBytesMin = 16384
/** The largest size in bytes at which a chunk counts as full. */
export const chunkBytesMax = 1048576
/** The size in bytes at which a chunk is full unless told otherwise. */
export const chunkBytesDefault = 262144

/** What the header of a manifest file says. */
export interface ManifestHeader {
  /** `manifestKindLog` or `manifestKindSnapshot`. */
  readonly kind: number
  /** 16 bytes, as in the root file. */
  readonly rootId: Uint8Array
  /** The number in the file's name. */
  readonly chunkSequence: number
  /** In a chunk of its first record: all before were durable when it was made. In a snapshot of the first one that it does not contain. */
  readonly firstRecordSequence: number
  /** Unix time in milliseconds at which the file was made. */
  readonly createdMs: number
}

/** A manifest header with the fields that only its bytes have. */
export interface ManifestHeaderBytes extends ManifestHeader {
  /** `manifestMagic`. */
  readonly magic: number
  /** Version of this layout. */
  readonly version: number
  /** CRC-32, seed 0, of the bytes before it. */
  readonly checksum: number
}

/** The layout of a manifest header. */
export const manifestHeader: Layout<ManifestHeaderBytes> = layout(
  "Manifest file header",
  "at offset 0 of a chunk or snapshot",
  [
    field("magic", "u32", "`AOFM`"),
    field("version", "u16", "now 1"),
    field("kind", "u16", "0: chunk of the log; 1: snapshot"),
    field("rootId", "bytes", "as in the root file", 16),
    field("chunkSequence", "safe", "the number in the file's name"),
    field(
      "firstRecordSequence",
      "safe",
      "sequence of the first record; in a snapshot of the first log record that it does not contain",
    ),
    field("createdMs", "safe", "Unix time in milliseconds"),
    field("spare", "reserved", "zero", 12),
    field("checksum", "u32", "CRC-32, seed 0, of the bytes before it"),
  ],
)

/** How far the records of a file are committed. */
export interface CommitSlot {
  /** Rises with each slot written into this file, from 1. */
  readonly sequence: number
  /** Bytes of committed records, counted from the end of the header block. */
  readonly committedBytes: number
  /** Records in those bytes. */
  readonly recordCount: number
  /** CRC-64/NVME of those bytes. */
  readonly checksum64: bigint
}

/** A commit slot with its checksum. */
export interface CommitSlotBytes extends CommitSlot {
  /** CRC-32, seed 0, of the bytes before it. */
  readonly checksum: number
}

/** The layout of a commit slot. */
export const commitSlot: Layout<CommitSlotBytes> = layout(
  "Commit slot",
  "at offsets 512 (odd sequences) and 1024 (even ones) of a chunk or snapshot",
  [
    field("sequence", "safe", "from 1; the slot with the higher one is the newer"),
    field("committedBytes", "safe", "bytes of committed records from offset 1536 on"),
    field("recordCount", "safe", "records in those bytes"),
    field("checksum64", "u64", "CRC-64/NVME of those bytes"),
    field("spare", "reserved", "zero", 4),
    field("checksum", "u32", "CRC-32, seed 0, of the bytes before it"),
  ],
)

/** The header block of a new file, with a first slot that commits nothing. The CRC-64 of no bytes is 0. */
export const encodeManifestHeader = (value: ManifestHeader): Uint8Array => {
  const bytes = new Uint8Array(manifestHeaderBytes)
  const all = { ...value, magic: manifestMagic, version: 1 }
  manifestHeader.encode(bytes, 0, { ...all, checksum: 0 })
  manifestHeader.encode(bytes, 0, { ...all, checksum: crc32(bytes.subarray(0, manifestHeader.at.checksum), 0) })
  encodeCommitSlot(bytes, commitSlotOffsets[0], { sequence: 1, committedBytes: 0, recordCount: 0, checksum64: 0n })
  return bytes
}

/** Reads a header; undefined when it does not check. */
export const decodeManifestHeader = (source: Uint8Array): ManifestHeader | undefined => {
  const value = manifestHeader.decode(source, 0)
  if (value === undefined || value.magic !== manifestMagic || value.version !== 1) return undefined
  return value.checksum === crc32(source.subarray(0, manifestHeader.at.checksum), 0) ? value : undefined
}

/** Where the slot with this sequence lies. */
export const commitSlotOffset = (sequence: number): number => commitSlotOffsets[(sequence + 1) % 2]!

/**
 * The sequence of the slot that seals a file: above `newest`, in the other place than `counting`, the slot that counts, so that this
 * one stays whatever happens, and not next to it, which tells a sealed file from one that was closed and may be gone on with.
 */
export const sealingSequence = (counting: number, newest: number): number => {
  const least = Math.max(newest + 1, counting + 2)
  return (least - counting) % 2 === 1 ? least : least + 1
}

/** Writes a slot at `start` of `target`. */
export const encodeCommitSlot = (target: Uint8Array, start: number, value: CommitSlot): void => {
  commitSlot.encode(target, start, { ...value, checksum: 0 })
  const checksum = crc32(target.subarray(start, start + commitSlot.at.checksum), 0)
  commitSlot.encode(target, start, { ...value, checksum })
}

/** The valid slots of a header block, the newer one first. */
export const decodeCommitSlots = (source: Uint8Array): ReadonlyArray<CommitSlot> => {
  const slots: Array<CommitSlot> = []
  for (const start of commitSlotOffsets) {
    const slot = commitSlot.decode(source, start)
    if (slot === undefined || slot.sequence === 0 || commitSlotOffset(slot.sequence) !== start) continue
    if (slot.checksum === crc32(source.subarray(start, start + commitSlot.at.checksum), 0)) slots.push(slot)
  }
  return slots.sort((one, other) => other.sequence - one.sequence)
}

/** The name of a file of the manifest. */
export const manifestFileName = (kind: number, chunkSequence: number): string =>
  `${String(chunkSequence).padStart(10, "0")}.${kind === manifestKindSnapshot ? "snapshot" : "chunk"}`

/** Kind and number in a file name; undefined when it names no file of the manifest. */
export const parseManifestFileName = (
  name: string,
): { readonly kind: number; readonly chunkSequence: number } | undefined => {
  const match = /^(\d{10})\.(chunk|snapshot)$/.exec(name)
  if (match === null) return undefined
  return { kind: match[2] === "snapshot" ? manifestKindSnapshot : manifestKindLog, chunkSequence: Number(match[1]) }
}
