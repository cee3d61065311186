/** What the files of the commit journal hold, read as a crash left them. */
import * as Effect from "effect/Effect"
import {
  alignGroup,
  decodeJournalEntries,
  decodeJournalGroup,
  decodeJournalHeader,
  encodeJournalHeader,
  type JournalEntryBytes,
  type JournalHeader,
  journalBlockBytes,
  journalGroup,
} from "../../format/journal_block.ts"
import { correctJournalHeader, findJournalSeed } from "../../format/journal_correct.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { makeDurableFolder } from "../files/durable_folder.ts"
import { journalFilePath, journalFolder } from "../files/paths.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"
import { groupBytesMost, journalFileBytesMin, zeroStepBytes } from "./journal_sizes.ts"

/** Something in a file of the journal that does not check. */
export interface JournalDamage {
  /** The file; undefined when there is none. */
  readonly fileNumber: number | undefined
  /** What is wrong, in words that name the file. */
  readonly detail: string
  /** True when records that nothing else had may have been there. */
  readonly isLost: boolean
}

/** All that was found. */
export interface LoadedJournal {
  /** Entries of each stream in the order in which they were written. */
  readonly entries: ReadonlyMap<number, ReadonlyArray<JournalEntryBytes>>
  /** The highest sequence of any file. */
  readonly lastSequence: number
  /** As in the headers: each process has left out an index in every stream. */
  readonly processCount: number
  /** Headers that do not check, and groups that do not although others follow. */
  readonly damage: ReadonlyArray<JournalDamage>
  /** Files that are there. */
  readonly fileNumbers: ReadonlyArray<number>
  /** True when there is one, or should be. */
  readonly isThere: boolean
}

/** Files that a journal ever has. */
export const journalFileNumbers: ReadonlyArray<number> = [0, 1]

/** What there is when the root file says that there is a journal, and there is none. */
const missingJournal: LoadedJournal = {
  entries: new Map(),
  lastSequence: 0,
  processCount: 1,
  damage: [{ fileNumber: undefined, detail: "the commit journal is missing", isLost: true }],
  fileNumbers: [],
  isThere: true,
}

/** What was found where the root file says that there is a journal: both files are there then, from before its first group until a close in order. */
export const withMissing = (found: LoadedJournal): LoadedJournal => {
  if (!found.isThere) return missingJournal
  const missing = journalFileNumbers.filter((number) => !found.fileNumbers.includes(number))
  const told = missing.map((number): JournalDamage => {
    return { fileNumber: number, detail: `journal file ${number} is missing`, isLost: true }
  })
  return { ...found, damage: [...found.damage, ...told] }
}

/** Reads both files. One of another root, or whose groups cannot be told from anything else without its header, holds nothing. */
export const loadJournal: (
  directory: Directory,
  root: string,
  rootId: Uint8Array,
) => Effect.Effect<LoadedJournal, AofError> = Effect.fnUntraced(function* (directory, root, rootId) {
  const damage: Array<JournalDamage> = []
  let processCount = 0
  const found: Array<ReadFile> = []
  const files: Array<readonly [number, Uint8Array]> = []
  for (const number of journalFileNumbers) {
    const bytes = yield* directory.readFile(journalFilePath(root, number))
    if (bytes !== undefined) files.push([number, bytes])
  }
  const fileNumbers = files.map(([number]) => number)
  const lengthMin = lengthLeast(files.map(([, bytes]) => bytes.length))
  for (const [number, bytes] of files) {
    const file = readFile(bytes, { rootId, lengthMin })
    processCount = Math.max(processCount, file.processCount)
    for (const { text, isLost } of file.damage) {
      damage.push({ fileNumber: number, detail: `journal file ${number}${text}`, isLost })
    }
    found.push(file)
  }
  found.sort((one, other) => one.sequence - other.sequence)
  const byStream = new Map<number, Array<JournalEntryBytes>>()
  for (const entry of found.flatMap(({ entries }) => entries)) {
    const known = byStream.get(entry.streamId)
    if (known === undefined) byStream.set(entry.streamId, [entry])
    else known.push(entry)
  }
  const lastSequence = found.at(-1)?.sequence ?? 0
  return { entries: byStream, lastSequence, processCount, damage, fileNumbers, isThere: fileNumbers.length > 0 }
})

interface ReadFile {
  readonly sequence: number
  readonly processCount: number
  readonly entries: ReadonlyArray<JournalEntryBytes>
  readonly damage: ReadonlyArray<{ readonly text: string; readonly isLost: boolean }>
}

/** Both files of a process get one size, and the first stretch of it, or all, before their names: what is below that was cut, unless it is a header alone. */
const lengthLeast = (lengths: ReadonlyArray<number>): number =>
  Math.min(zeroStepBytes, Math.max(journalFileBytesMin, ...lengths))

const isCut = ({ length }: Uint8Array, lengthMin: number): boolean =>
  length !== journalBlockBytes && (length < lengthMin || (length < zeroStepBytes && length % journalBlockBytes !== 0))

/** A file gets its name when its header and zeros behind it are durable: a header that does not check is damage. */
const readFile = (
  bytes: Uint8Array,
  { rootId, lengthMin }: { readonly rootId: Uint8Array; readonly lengthMin: number },
): ReadFile => {
  const intact = decodeJournalHeader(bytes)
  const header = intact ?? correctJournalHeader(bytes)
  const { sequence = 0, processCount = 1 } = header ?? {}
  const nothing = { sequence, processCount, entries: [] }
  if (bytes.length < journalBlockBytes) {
    return { ...nothing, damage: [{ text: `: it has ${bytes.length} bytes, less than its header`, isLost: true }] }
  }
  if (header !== undefined && !header.rootId.every((byte, at) => byte === rootId[at])) {
    const isLost = isUsed(bytes)
    return { ...nothing, sequence: 0, damage: [{ text: ": it is the one of another root", isLost }] }
  }
  const seed = header?.checksumSeed ?? findJournalSeed(bytes)
  if (seed === undefined) {
    // A file has its header before its name: zeros alone are what is left of one.
    const isBlank = bytes.every((byte) => byte === 0)
    const text = isBlank ? ": it holds nothing but zeros" : ": its header does not check"
    return { ...nothing, damage: [{ text, isLost: isBlank || isUsed(bytes) }] }
  }
  const { entries, gaps, isShort } = readGroups(bytes, seed)
  const damage = gaps.map(({ from, to }) => ({ text: `, bytes ${from} to ${to}: no group checks`, isLost: true }))
  if (isShort || isCut(bytes, lengthMin)) {
    damage.push({ text: `: it was longer, and ends at byte ${bytes.length}`, isLost: true })
  }
  if (intact === undefined) {
    const how = header === undefined ? "its groups were found without it" : "a byte of it was put right"
    damage.unshift({ text: `: its header does not check; ${how}`, isLost: false })
  }
  return { sequence, processCount, entries, damage }
}

/** True when anything was ever written behind the header. */
const isUsed = (bytes: Uint8Array): boolean => bytes.subarray(journalBlockBytes).some((byte) => byte !== 0)

/**
 * The entries of all groups that check. One is written only after the one before is durable: what does not check is the end, unless another
 * group follows, and then it is damage. One that begins there and would run past the end of the file says that this was cut: groups are written
 * to where zeros are durable already.
 */
const readGroups = (
  bytes: Uint8Array,
  seed: number,
): {
  readonly entries: ReadonlyArray<JournalEntryBytes>
  readonly gaps: ReadonlyArray<{ readonly from: number; readonly to: number }>
  readonly isShort: boolean
} => {
  const entries: Array<JournalEntryBytes> = []
  const gaps: Array<{ readonly from: number; readonly to: number }> = []
  let gapFrom: number | undefined
  let isShort = false
  for (let at = journalBlockBytes; at < bytes.length; ) {
    const group = decodeJournalGroup(bytes, at, seed)
    const own = group === undefined ? undefined : decodeJournalEntries(bytes, group)
    if (group === undefined || own === undefined) {
      if (gapFrom === undefined) isShort = runsPastEnd(bytes, at)
      gapFrom ??= at
      at += journalBlockBytes
      continue
    }
    if (gapFrom !== undefined) gaps.push({ from: gapFrom, to: at })
    gapFrom = undefined
    for (const entry of own) entries.push(entry)
    at = alignGroup(at + group.lengthBytes)
  }
  return { entries, gaps, isShort }
}

const runsPastEnd = (bytes: Uint8Array, at: number): boolean => {
  const start = journalGroup.decode(bytes, at)
  if (start === undefined || start.offset !== at || start.entryCount === 0) return false
  return start.lengthBytes <= groupBytesMost && at + start.lengthBytes > bytes.length
}

/**
 * Empties the journal: all that it held is where it belongs. Files with a header stay until the store is closed in order, for the next
 * process to know how many there were, and that none is missing.
 */
export const emptyJournal: (
  directory: Directory,
  root: string,
  header: JournalHeader,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (directory, root, header) {
  yield* makeDurableFolder(directory, journalFolder(root))
  const bytes = encodeJournalHeader(header)
  for (const number of journalFileNumbers) {
    yield* replaceSmallFile(directory, { folder: journalFolder(root), path: journalFilePath(root, number), bytes })
  }
})
