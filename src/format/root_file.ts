/** `<root>/ROOT`: what this directory is, which version of the formats it has, and what a reader must understand to open it. */
import { crc32 } from "./checksum.ts"
import { correctByte } from "./correct_byte.ts"
import { field, type Layout, layout } from "./field_table.ts"

/** The version that this code writes; it reads every one up to it. */
export const formatVersion = 1
/** Bit of `featuresIncompatible`: a commit journal may hold durable bytes that no segment has. */
export const featureJournal = 1
/** Bit of `featuresCompatible`: a journal is in use; there is a file of it until the root is closed in order. */
export const featureJournalInUse = 1
/** Feature bits that this code understands; any other bit in `featuresIncompatible` refuses opening. */
export const featuresKnown = 1

/** What the root file says. */
export interface RootFile {
  /** `rootMagic`. */
  readonly magic: number
  /** Format version of the whole root. */
  readonly version: number
  /** 16 random bytes drawn when the root was made; repeated in every file below it. */
  readonly rootId: Uint8Array
  /** Bits that a program must know to open the root. */
  readonly featuresIncompatible: number
  /** Bits that a program may ignore. */
  readonly featuresCompatible: number
  /** Unix time in milliseconds at which the root was made. */
  readonly createdMs: number
  /** CRC-32, seed 0, of the bytes before it. */
  readonly checksum: number
}

/** "AOFR" */
export const rootMagic = 0x52464f41

/** The layout of the root file. */
export const rootFile: Layout<RootFile> = layout("Root file", "`<root>/ROOT`", [
  field("magic", "u32", "`AOFR`"),
  field("version", "u32", "format version of the whole root, now 1"),
  field("rootId", "bytes", "16 random bytes, repeated in each file of the root", 16),
  field("featuresIncompatible", "u32", "bits that a program must know to open the root"),
  field("featuresCompatible", "u32", "bits that a program may ignore"),
  field("createdMs", "safe", "Unix time in milliseconds"),
  field("spare", "reserved", "zero", 20),
  field("checksum", "u32", "CRC-32, seed 0, of the bytes before it"),
])

/** The bytes of a root file. */
export const encodeRootFile = (
  rootId: Uint8Array,
  createdMs: number,
  featuresIncompatible = 0,
  featuresCompatible = 0,
): Uint8Array => {
  const bytes = new Uint8Array(rootFile.sizeBytes)
  const value = {
    magic: rootMagic,
    version: formatVersion,
    rootId,
    featuresIncompatible,
    featuresCompatible,
    createdMs,
  }
  rootFile.encode(bytes, 0, { ...value, checksum: 0 })
  const checksum = crc32(bytes.subarray(0, rootFile.at.checksum), 0)
  rootFile.encode(bytes, 0, { ...value, checksum })
  return bytes
}

/** Reads a root file. `version` and feature bits are for the caller to judge; undefined when it is no root file or damaged. */
export const decodeRootFile = (bytes: Uint8Array): RootFile | undefined => {
  const value = rootFile.decode(bytes, 0)
  if (value === undefined || value.magic !== rootMagic) return undefined
  return value.checksum === crc32(bytes.subarray(0, rootFile.at.checksum), 0) ? value : undefined
}

/**
 * A root file of which one byte has changed, as it was; undefined when more is wrong with it, or when it is not that of `rootId`, which other
 * files of the root repeat. One changed byte is found by trying: of all the others none has the checksum.
 */
export const correctRootFile = (bytes: Uint8Array, rootId: Uint8Array): RootFile | undefined => {
  if (bytes.length < rootFile.sizeBytes) return undefined
  const corrected = bytes.slice(0, rootFile.sizeBytes)
  if (!correctByte(corrected, { from: 0, checksumAt: rootFile.at.checksum, seed: 0 })) return undefined
  const file = decodeRootFile(corrected)
  return file?.rootId.every((byte, index) => byte === rootId[index]) ? file : undefined
}
