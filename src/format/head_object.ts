/**
 * `HEAD`: the one object that makes a bucket enough. It names the writer that has the root, and the files of the manifest that are in the
 * bucket, each with its key, length and checksum. It is small and replaced as a whole, only by who knows the etag of the one before.
 *
 * A nonce names one HEAD of one writer: its first 12 bytes are drawn when the writer opens the root, the last 4 count its HEADs. An `Epoch`
 * record with epoch and nonce is in the manifest before a HEAD is put, so that a root knows every HEAD that may be its own.
 */
import { crc64 } from "./checksum.ts"
import { field, type Layout, layout } from "./field_table.ts"
import { manifestKindLog, manifestKindSnapshot } from "./manifest_chunk.ts"

/** The key of the object, behind the prefix of the store. */
export const headKey = "HEAD"
/** "AOFH" */
export const headMagic = 0x48464f41
/** Largest object in bytes. */
export const headBytesMax: number = 16 * 1024 * 1024
/** Bit of `featuresIncompatible`, in a HEAD only: the root has moved to another bucket, and goes on there. */
export const headFeatureMoved = 0x80000000
/** Bytes of a nonce that are the same in all HEADs of one writer. */
export const nonceWriterBytes = 12

/** A file of the manifest in the bucket. */
export interface HeadFile {
  /** `manifestKindLog` or `manifestKindSnapshot`. */
  readonly kind: number
  /** The number in the file's name. */
  readonly chunkSequence: number
  /** Sequence of its first record; of a snapshot the first one that it does not contain. */
  readonly firstRecordSequence: number
  /** Length of the object, which is the file byte for byte. */
  readonly fileBytes: number
  /** CRC-64/NVME of the object. */
  readonly checksum64: bigint
  /** Its key. */
  readonly key: string
}

/** The layout of what lies before the key of a file. */
export const headFile: Layout<Omit<HeadFile, "key"> & { readonly keyBytes: number }> = layout(
  "HEAD file entry",
  "behind the head and behind each other, before the key in UTF-8, padded to 8",
  [
    field("kind", "u16", "0: chunk of the log; 1: snapshot"),
    field("keyBytes", "u16", "bytes of the object's key that follows, 1 to 1024"),
    field("spare", "reserved", "zero", 4),
    field("chunkSequence", "safe", "the number in the file's name"),
    field("firstRecordSequence", "safe", "as in the header of the file"),
    field("fileBytes", "safe", "length of the object, which is the file byte for byte"),
    field("checksum64", "u64", "CRC-64/NVME of the object"),
  ],
)

/** What the object says. */
export interface HeadObject {
  /** As in the root file. */
  readonly rootId: Uint8Array
  /** As in the root file: when the root was made. */
  readonly rootCreatedMs: number
  /** Epoch of the writer that has the root. */
  readonly epoch: number
  /** 16 bytes: which HEAD of which writer this is. */
  readonly nonce: Uint8Array
  /** Sequence of the `Epoch` record with which the epoch starts in the manifest of its writer. */
  readonly epochSequence: number
  /** All records of the log up to this sequence are in the files. */
  readonly lastSequence: number
  /** When it was put, Unix time in milliseconds. */
  readonly writtenMs: number
  /** The snapshot, where there is one, then the chunks behind it in order. */
  readonly files: ReadonlyArray<HeadFile>
  /** True for the last HEAD of a bucket that the root has left for another one. */
  readonly isMoved?: boolean | undefined
}

/** What stands before the files. */
export interface HeadBytes extends Omit<HeadObject, "files" | "isMoved"> {
  /** `headMagic`. */
  readonly magic: number
  /** Version of this layout. */
  readonly version: number
  /** Files that follow. */
  readonly fileCount: number
  /** Bytes of the whole object. */
  readonly lengthBytes: number
  /** Format version of the root. */
  readonly formatVersion: number
  /** As in the root file. */
  readonly featuresIncompatible: number
  /** As in the root file. */
  readonly featuresCompatible: number
  /** CRC-64/NVME of the object without these 8 bytes. */
  readonly checksum64: bigint
}

/** The layout of what stands before the files. */
export const headBytes: Layout<HeadBytes> = layout("HEAD", "at offset 0 of the object `HEAD`", [
  field("magic", "u32", "`AOFH`"),
  field("version", "u16", "now 1"),
  field("fileCount", "u16", "entries that follow"),
  field("lengthBytes", "u32", "bytes of the whole object"),
  field("formatVersion", "u32", "as `version` of the root file"),
  field("featuresIncompatible", "u32", "as in the root file; bit 31: the root has moved to another bucket"),
  field("featuresCompatible", "u32", "as in the root file"),
  field("rootId", "bytes", "as in the root file", 16),
  field(
    "nonce",
    "bytes",
    "12 bytes drawn when its writer opened the root, then a u32 that counts that writer's HEADs",
    16,
  ),
  field("epoch", "safe", "epoch of the writer that has the root"),
  field("epochSequence", "safe", "sequence of the Epoch record with which that epoch starts"),
  field("lastSequence", "safe", "all records of the log up to it are in the files"),
  field("rootCreatedMs", "safe", "`createdMs` of the root file"),
  field("writtenMs", "safe", "when it was put, Unix time in milliseconds"),
  field("spare", "reserved", "zero", 24),
  field("checksum64", "u64", "CRC-64/NVME of the object without these 8 bytes"),
])

/** The HEAD that a writer found when it took an epoch. */
export interface EpochBase {
  /** Epoch of that HEAD. */
  readonly epoch: number
  /** Nonce of that HEAD. */
  readonly nonce: Uint8Array
}

/** The layout of `EpochBase`. */
export const epochBase: Layout<EpochBase> = layout(
  "Epoch base",
  "behind the payload of an Epoch record with which a writer takes over from a HEAD that is there",
  [field("epoch", "safe", "epoch of that HEAD"), field("nonce", "bytes", "nonce of that HEAD", 16)],
)

const utf8 = new TextEncoder()
const utf8Text = new TextDecoder()
const padded = (length: number): number => (length + 7) & ~7
const checksumAt = headBytes.at.checksum64
const formatVersionMax = 1

const checksumOf = (bytes: Uint8Array): bigint =>
  crc64(bytes.subarray(0, checksumAt), bytes.subarray(headBytes.sizeBytes))

/** The bytes of a HEAD. */
export const encodeHead = (head: HeadObject): Uint8Array => {
  const keys = head.files.map(({ key }) => utf8.encode(key))
  const lengthBytes = keys.reduce((sum, key) => sum + headFile.sizeBytes + padded(key.length), headBytes.sizeBytes)
  const bytes = new Uint8Array(lengthBytes)
  headBytes.encode(bytes, 0, {
    ...head,
    magic: headMagic,
    version: 1,
    fileCount: head.files.length,
    lengthBytes,
    formatVersion: formatVersionMax,
    featuresIncompatible: head.isMoved === true ? headFeatureMoved : 0,
    featuresCompatible: 0,
    checksum64: 0n,
  })
  let at = headBytes.sizeBytes
  head.files.forEach((file, index) => {
    const key = keys[index]!
    headFile.encode(bytes, at, { ...file, keyBytes: key.length })
    bytes.set(key, at + headFile.sizeBytes)
    at += headFile.sizeBytes + padded(key.length)
  })
  new DataView(bytes.buffer).setBigUint64(checksumAt, checksumOf(bytes), true)
  return bytes
}

/** A HEAD with what is to be judged before the rest of it is used. */
export interface DecodedHead extends HeadObject {
  /** Format version of the root. */
  readonly formatVersion: number
  /** As in the root file. */
  readonly featuresIncompatible: number
}

/** Reads a HEAD; undefined when it does not check. */
export const decodeHead = (bytes: Uint8Array): DecodedHead | undefined => {
  const value = headBytes.decode(bytes, 0)
  if (value === undefined || value.magic !== headMagic || value.version !== 1) return undefined
  if (value.lengthBytes !== bytes.length || value.checksum64 !== checksumOf(bytes)) return undefined
  const files: Array<HeadFile> = []
  let at = headBytes.sizeBytes
  for (let index = 0; index < value.fileCount; index++) {
    const entry = headFile.decode(bytes, at)
    const isKind = entry?.kind === manifestKindLog || entry?.kind === manifestKindSnapshot
    if (entry === undefined || !isKind || entry.keyBytes < 1 || entry.keyBytes > 1024) return undefined
    const keyAt = at + headFile.sizeBytes
    at = keyAt + padded(entry.keyBytes)
    if (at > bytes.length) return undefined
    const { keyBytes, ...rest } = entry
    files.push({ ...rest, key: utf8Text.decode(bytes.subarray(keyAt, keyAt + keyBytes)) })
  }
  if (at !== bytes.length) return undefined
  const { rootId, rootCreatedMs, epoch, nonce, epochSequence, lastSequence, writtenMs } = value
  const { formatVersion, featuresIncompatible } = value
  const head = { rootId, rootCreatedMs, epoch, nonce, epochSequence, lastSequence, writtenMs }
  const isMoved = (featuresIncompatible & headFeatureMoved) !== 0 || undefined
  return { ...head, files, isMoved, formatVersion, featuresIncompatible }
}

/** The nonce of HEAD number `count` of the writer that has drawn `writer`. */
export const nonceOf = (writer: Uint8Array, count: number): Uint8Array => {
  const nonce = new Uint8Array(16)
  nonce.set(writer.subarray(0, nonceWriterBytes))
  new DataView(nonce.buffer).setUint32(nonceWriterBytes, count, true)
  return nonce
}

/** How many HEADs its writer had put before the one with this nonce. */
export const nonceCount = (nonce: Uint8Array): number =>
  new DataView(nonce.buffer, nonce.byteOffset, nonce.byteLength).getUint32(nonceWriterBytes, true)

/** True when two nonces are of one writer. */
export const isSameWriter = (one: Uint8Array, other: Uint8Array): boolean => {
  for (let at = 0; at < nonceWriterBytes; at++) if (one[at] !== other[at]) return false
  return true
}
