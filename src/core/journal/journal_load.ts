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
} from "../../format/journal_block.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { journalFilePath, journalFolder } from "../files/paths.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"

/** All that was found. */
export interface LoadedJournal {
  /** Entries of each stream in the order in which they were written. */
  readonly entries: ReadonlyMap<number, ReadonlyArray<JournalEntryBytes>>
  /** The highest sequence of any file. */
  readonly lastSequence: number
  /** As in the headers: each process has left out an index in every stream. */
  readonly processCount: number
  /** Groups that do not check although others follow, in words. */
  readonly damage: ReadonlyArray<string>
  /** True when there is a file. */
  readonly isThere: boolean
}

/** Files that a journal ever has. */
export const journalFileNumbers: ReadonlyArray<number> = [0, 1]

/** Reads both files. A file of another root, or whose header does not check, holds nothing. */
export const loadJournal: (
  directory: Directory,
  root: string,
  rootId: Uint8Array,
) => Effect.Effect<LoadedJournal, AofError> = Effect.fnUntraced(function* (directory, root, rootId) {
  const damage: Array<string> = []
  let processCount = 0
  const found: Array<{ readonly sequence: number; readonly entries: ReadonlyArray<JournalEntryBytes> }> = []
  let isThere = false
  for (const number of journalFileNumbers) {
    const bytes = yield* directory.readFile(journalFilePath(root, number))
    if (bytes === undefined) continue
    isThere = true
    const header = decodeJournalHeader(bytes)
    if (header === undefined) {
      if (bytes.subarray(0, journalBlockBytes).some((byte) => byte !== 0)) {
        damage.push(`journal file ${number}: its header does not check`)
      }
      continue
    }
    if (!header.rootId.every((byte, at) => byte === rootId[at])) continue
    processCount = Math.max(processCount, header.processCount)
    const { entries, gaps } = readGroups(bytes, header.checksumSeed)
    for (const { from, to } of gaps) damage.push(`journal file ${number}, bytes ${from} to ${to}: no group checks`)
    found.push({ sequence: header.sequence, entries })
  }
  found.sort((one, other) => one.sequence - other.sequence)
  const byStream = new Map<number, Array<JournalEntryBytes>>()
  for (const entry of found.flatMap(({ entries }) => entries)) {
    const known = byStream.get(entry.streamId)
    if (known === undefined) byStream.set(entry.streamId, [entry])
    else known.push(entry)
  }
  return { entries: byStream, lastSequence: found.at(-1)?.sequence ?? 0, processCount, damage, isThere }
})

/**
 * The entries of all groups that check. One is written only after the one before is durable: what does not check is the end, unless another
 * group follows, and then it is damage.
 */
const readGroups = (
  bytes: Uint8Array,
  seed: number,
): {
  readonly entries: ReadonlyArray<JournalEntryBytes>
  readonly gaps: ReadonlyArray<{ readonly from: number; readonly to: number }>
} => {
  const entries: Array<JournalEntryBytes> = []
  const gaps: Array<{ readonly from: number; readonly to: number }> = []
  let gapFrom: number | undefined
  for (let at = journalBlockBytes; at < bytes.length; ) {
    const group = decodeJournalGroup(bytes, at, seed)
    const own = group === undefined ? undefined : decodeJournalEntries(bytes, group)
    if (group === undefined || own === undefined) {
      gapFrom ??= at
      at += journalBlockBytes
      continue
    }
    if (gapFrom !== undefined) gaps.push({ from: gapFrom, to: at })
    gapFrom = undefined
    for (const entry of own) entries.push(entry)
    at = alignGroup(at + group.lengthBytes)
  }
  return { entries, gaps }
}

/**
 * Empties the journal: all that it held is where it belongs. A file with a header stays until the store is closed in order, for the next
 * process to know how many there were.
 */
export const emptyJournal: (
  directory: Directory,
  root: string,
  header: JournalHeader,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (directory, root, header) {
  const [kept = 0, ...others] = journalFileNumbers
  const bytes = encodeJournalHeader(header)
  yield* replaceSmallFile(directory, { folder: journalFolder(root), path: journalFilePath(root, kept), bytes })
  for (const number of others) yield* directory.remove(journalFilePath(root, number))
  yield* directory.sync(journalFolder(root))
})
