/**
 * The files of the commit journal: two of one size, zeroed when they are made, used in turn; until it is needed one has a header only. A file that is full is drained: each stream with
 * bytes in it makes them durable in its own segment, and then the file is free again. What a file holds is needed until then, so one that is
 * not drained stays where it is for recovery. A file whose write or sync failed takes nothing any more and is replaced once it is drained.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { alignGroup, encodeJournalHeader, journalBlockBytes } from "../../format/journal_block.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { JournalWriter } from "../../state/journal_writer.ts"
import { makeDurableFolder } from "../files/durable_folder.ts"
import { journalFilePath, journalFolder } from "../files/paths.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"
import { attempt, caught } from "../flow/attempt.ts"
import { journalFileNumbers, type LoadedJournal } from "./journal_load.ts"
import { groupBytesMost, zeroStepBytes } from "./journal_sizes.ts"

/** After a failure the next try to make files waits. */
const retryAfterMs = 5000

/** What a journal is made of. */
export interface JournalOptions {
  readonly directory: Directory
  readonly root: string
  readonly rootId: Uint8Array
  /** Bytes of both files; 0 for no journal. */
  readonly bytesMax: number
  readonly nowMs: () => number
  readonly wallMs: () => number
  readonly random32: () => number
  /** Says in the root file that a journal is in use, durably. */
  readonly announce: Effect.Effect<void, AofError>
  /** Says there that none is. */
  readonly retract: Effect.Effect<void, AofError>
  readonly run: (effect: Effect.Effect<void>) => void
}

/** One file and what it is used for now. */
export class JournalFile {
  readonly file: SegmentFile
  readonly number: number
  sequence = 0
  seed = 0
  /** Where the next group begins. */
  end = 0
  /** Zeros are durable up to here; where groups may lie. */
  zeroedEnd = 0
  /** Segments that have bytes here which their own files do not hold durably, and where in each of them these end. */
  readonly dirty: Map<object, number> = new Map()
  /** How many there were when the file was full. */
  dirtyCount = 0
  hasFailed = false

  constructor(file: SegmentFile, number: number) {
    this.file = file
    this.number = number
  }
}

export class Journal {
  readonly writer: JournalWriter
  /** Called when a file is full and has to be drained. */
  onFull: (file: JournalFile) => void = () => {}
  readonly #options: JournalOptions
  readonly #fileBytes: number
  readonly #files: Set<JournalFile> = new Set()
  #current: JournalFile | undefined
  /** Files that hold nothing that is needed. */
  readonly #free: Array<JournalFile> = []
  #sequence: number
  readonly #processCount: number
  /** True when a process before has left files, or this one has made one. */
  #hasLeftovers: boolean
  /** One at a time writes the root file. */
  readonly #rootGate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  #isPreparing = false
  #retryAtMs = 0
  #isClosed = false

  /** What a process before has left decides where sequences go on. */
  constructor(options: JournalOptions, before: Pick<LoadedJournal, "lastSequence" | "processCount" | "isThere">) {
    this.#options = options
    this.#sequence = before.lastSequence
    this.#processCount = before.processCount + 1
    this.#hasLeftovers = before.isThere
    this.#fileBytes = Math.floor(options.bytesMax / 2 / journalBlockBytes) * journalBlockBytes
    const groupBytesMax = Math.min(groupBytesMost, alignGroup(Math.floor(this.#fileBytes / 8)))
    this.writer = new JournalWriter(options.bytesMax === 0 ? 0 : groupBytesMax)
  }

  /** All files there are. */
  get files(): Iterable<JournalFile> {
    return this.#files
  }

  get isEnabled(): boolean {
    return this.#options.bytesMax > 0 && !this.#isClosed
  }

  /** The file for a group, with room for the largest; undefined when there is none now, and one is made where that helps. */
  take(): JournalFile | undefined {
    if (!this.isEnabled) return undefined
    const current = this.#current
    if (current !== undefined && !current.hasFailed && this.#hasRoom(current)) {
      // Made ahead, so that there is a file to go on with when this one is full.
      if (current.end * 2 > this.#fileBytes) this.#prepare()
      return current
    }
    if (current !== undefined && !current.hasFailed && current.zeroedEnd < this.#fileBytes) return undefined
    const next = this.#free.shift()
    if (next === undefined) {
      this.#prepare()
      return undefined
    }
    this.#current = next
    if (current !== undefined) this.#leave(current)
    return this.#begin(next) === undefined ? next : undefined
  }

  /** True when a file says after a kill that there was a process with a journal. */
  get isThere(): boolean {
    return this.#files.size > 0
  }

  /** True when there will be room soon, without anybody's doing. */
  get isComing(): boolean {
    return this.#isPreparing || (this.#current !== undefined && this.#current.zeroedEnd < this.#fileBytes)
  }

  /** How much of a file is used, 0 to 1. */
  fillOf({ end }: JournalFile): number {
    return end / this.#fileBytes
  }

  #hasRoom({ end, zeroedEnd }: JournalFile): boolean {
    return end + this.writer.groupBytesMax <= zeroedEnd
  }

  /** Writes the group of the writer behind what the file holds. A failure means that the file takes nothing any more. */
  write(file: JournalFile): AofError | undefined {
    const length = this.writer.end(file.end, file.seed)
    const error = caught(() => file.file.writeUnsafe(this.writer.bytes, 0, length, file.end))
    if (error === undefined) file.end += length
    else this.fail(file)
    return error
  }

  /** Nothing that is written to the file from now on can be trusted. */
  fail(file: JournalFile): void {
    if (file.hasFailed) return
    file.hasFailed = true
    this.#retryAtMs = this.#options.nowMs() + retryAfterMs
    if (file !== this.#current) return
    this.#current = undefined
    this.#leave(file)
  }

  /** True when a segment, which is durable to `offset` in its own file, had bytes in this one and needs none of them any more. */
  settle(file: JournalFile, segment: object, offset: number): boolean {
    const end = file.dirty.get(segment)
    if (end === undefined || end > offset) return false
    file.dirty.delete(segment)
    this.#freeWhenDrained(file)
    return true
  }

  /** Gives the files back, and removes them when nothing in them is needed: never after an end that was not in order. */
  close(isInOrder: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#isClosed = true
      const files = [...this.#files]
      for (const { file } of files) file.closeUnsafe()
      this.#files.clear()
      this.#current = undefined
      this.#free.length = 0
      const isEmpty = files.length === 0 && !this.#hasLeftovers
      if (!isInOrder || isEmpty || files.some(({ dirty }) => dirty.size > 0)) return Effect.void
      return Effect.ignore(Effect.andThen(this.#retract, this.#remove(journalFileNumbers)))
    })
  }

  #begin(file: JournalFile): AofError | undefined {
    file.sequence = ++this.#sequence
    file.seed = this.#options.random32()
    file.end = journalBlockBytes
    const block = this.#header(file)
    const error = caught(() => file.file.writeUnsafe(block, 0, block.length, 0))
    if (error !== undefined) this.fail(file)
    return error
  }

  #header({ sequence, seed: checksumSeed }: { readonly sequence: number; readonly seed: number }): Uint8Array {
    const { rootId, wallMs } = this.#options
    const processCount = this.#processCount
    return encodeJournalHeader({ rootId, sequence, createdMs: wallMs(), processCount, checksumSeed })
  }

  #leave(file: JournalFile): void {
    file.dirtyCount = file.dirty.size
    if (file.dirty.size > 0) this.onFull(file)
    else this.#freeWhenDrained(file)
  }

  #freeWhenDrained(file: JournalFile): void {
    if (file.dirty.size > 0 || file === this.#current || this.#isClosed) return
    if (!file.hasFailed) {
      this.#free.push(file)
      return
    }
    this.#files.delete(file)
    // It stays as long as the root file says that there is a journal, without what it takes of the disk: one that is gone is missed.
    const closed = Effect.sync(() => file.file.closeUnsafe())
    this.#options.run(Effect.ensuring(Effect.ignore(file.file.truncate(journalBlockBytes)), closed))
  }

  #prepare(): void {
    if (this.#files.size >= 2 || this.#isPreparing || this.#options.nowMs() < this.#retryAtMs) return
    this.#isPreparing = true
    const made = Effect.map(Effect.result(this.#make()), (result) => {
      this.#isPreparing = false
      if (result._tag === "Failure") this.#retryAtMs = this.#options.nowMs() + retryAfterMs
      else this.#add(result.success)
    })
    this.#options.run(made)
  }

  #add(file: JournalFile): void {
    if (this.#isClosed) return file.file.closeUnsafe()
    this.#files.add(file)
    this.#free.push(file)
    this.#options.run(this.#zero(file))
  }

  /**
   * Zeros the rest of a file that is in use already; one that cannot be zeroed takes no more. Through a descriptor of its own: the system tells
   * each descriptor once that a write was lost, and the sync of a group has to hear it itself.
   */
  #zero(file: JournalFile): Effect.Effect<void> {
    const { directory, root } = this.#options
    const zeroed = Effect.gen({ self: this }, function* () {
      const own = yield* attempt(() => directory.openUnsafe(journalFilePath(root, file.number), "write"))
      const rest = Effect.gen({ self: this }, function* () {
        while (file.zeroedEnd < this.#fileBytes && !file.hasFailed && !this.#isClosed) {
          const end = Math.min(this.#fileBytes, file.zeroedEnd + zeroStepBytes)
          yield* own.zeroFill(file.zeroedEnd, end)
          file.zeroedEnd = end
        }
      })
      yield* Effect.ensuring(
        rest,
        Effect.sync(() => own.closeUnsafe()),
      )
    })
    return Effect.catch(zeroed, () => Effect.sync(() => this.fail(file)))
  }

  /**
   * Where the root file says that there is a journal both files of it are there, and no group is written before it says so. Not interrupted, and never
   * at the same time as the opposite: what the root file says in the end would be chance.
   */
  get #announce(): Effect.Effect<void, AofError> {
    const { announce } = this.#options
    const unlessClosed = Effect.suspend(() => (this.#isClosed ? Effect.void : announce))
    return Effect.uninterruptible(this.#rootGate.withPermits(1)(unlessClosed))
  }

  get #retract(): Effect.Effect<void, AofError> {
    return this.#rootGate.withPermits(1)(this.#options.retract)
  }

  readonly #make: () => Effect.Effect<JournalFile, AofError> = Effect.fnUntraced(
    { self: this },
    function* (this: Journal) {
      const { directory, root } = this.#options
      yield* makeDurableFolder(directory, journalFolder(root))
      const taken = new Set([...this.#files].map((file) => file.number))
      const number = taken.has(0) ? 1 : 0
      const path = journalFilePath(root, number)
      // What has the name already says how many processes there were, and must not be missing for a moment.
      const temporary = `${path}.tmp`
      yield* directory.remove(temporary)
      const file = yield* attempt(() => directory.openUnsafe(temporary, "create"))
      const zeroedEnd = Math.min(this.#fileBytes, zeroStepBytes)
      const block = this.#header({ sequence: this.#sequence, seed: this.#options.random32() })
      const named = Effect.gen({ self: this }, function* () {
        yield* attempt(() => file.writeUnsafe(block, 0, block.length, 0))
        yield* file.zeroFill(block.length, zeroedEnd)
        this.#hasLeftovers = true
        yield* this.#makeOther(number, block)
        yield* directory.rename(temporary, path)
        yield* directory.sync(journalFolder(root))
        yield* this.#announce
      })
      // On a full disk it would take room that others need.
      const emptied = Effect.onError(named, () => Effect.ignore(file.truncate(journalBlockBytes)))
      const closed = Effect.ensuring(
        emptied,
        Effect.sync(() => file.closeUnsafe()),
      )
      yield* Effect.onError(closed, () => Effect.ignore(directory.remove(temporary)))
      const made = new JournalFile(yield* attempt(() => directory.openUnsafe(path, "write")), number)
      made.zeroedEnd = zeroedEnd
      return made
    },
  )

  /** The file that is not made now has a name as well, if only with a header: so one that is missing later was there. */
  readonly #makeOther: (made: number, block: Uint8Array) => Effect.Effect<void, AofError> = Effect.fnUntraced(
    { self: this },
    function* (this: Journal, made: number, block: Uint8Array) {
      const { directory, root } = this.#options
      const folder = journalFolder(root)
      for (const number of journalFileNumbers) {
        const path = journalFilePath(root, number)
        if (number === made || (yield* directory.sizeOf(path)) !== undefined) continue
        yield* replaceSmallFile(directory, { folder, path, bytes: block })
      }
    },
  )

  #remove(numbers: ReadonlyArray<number>): Effect.Effect<void, AofError> {
    const { directory, root } = this.#options
    return Effect.andThen(
      Effect.forEach(numbers, (number) => directory.remove(journalFilePath(root, number))),
      directory.sync(journalFolder(root)),
    )
  }
}
