/**
 * Many segments that catch up with the journal at once: a thread of its own writes what their files lack, makes those that are not there, and makes
 * all of it durable. Their streams go on meanwhile, in the journal too.
 *
 * Invariants: one batch at a time. What a segment is told to hold durably is what the batch was given, and only when the file is still the one it
 * was then and no sync of it has failed meanwhile. While a segment is in a batch its file is neither sealed nor replaced, and its stream not released.
 */
import * as Effect from "effect/Effect"
import { encodeSegmentHeader, segmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import type { BatchFile, BatchOutcome, BatchPiece, BatchWriter } from "../../port/batch_writer.ts"
import { noteBatch, startFlushing } from "../append/flusher.ts"
import type { WritingSegment } from "../append/writing_segment.ts"
import { streamPath } from "../files/paths.ts"
import { copyStaged } from "./journal_member.ts"
import type { Settling } from "./settle_order.ts"

/** So many files at a time: each next batch begins where this one has ended, so that none takes long. */
const filesMax = 256
/** One that has as much is full. */
const bytesMax = 8 * 1024 * 1024

/** What one segment has in a batch. */
interface Member extends Settling {
  readonly end: number
  readonly fileGeneration: number
  readonly file: BatchFile
}

export class SettleBatch {
  readonly filesMin: number
  readonly filesMax: number = filesMax
  /** Segments of the batch that is on its way. */
  files = 0
  /** When it began, or the last one, Unix milliseconds. */
  sinceMs = 0
  /** How long the last one took. */
  tookMs = 0
  readonly #writer: BatchWriter | undefined
  readonly #nowMs: () => number
  #isRefused = false

  constructor(writer: BatchWriter | undefined, nowMs: () => number) {
    this.#writer = writer
    this.filesMin = writer?.filesMin ?? 0
    this.#nowMs = nowMs
  }

  get isWriting(): boolean {
    return this.files > 0
  }

  /** True when a batch may begin. */
  get isReady(): boolean {
    return this.#writer !== undefined && !this.#isRefused && !this.isWriting && !this.#writer.isResting
  }

  /** Writes as many of them as fit; those of which something stands in the way sync their own files. True when a batch was written. */
  write(settling: ReadonlyArray<Settling>): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const { members, bytes } = gather(settling)
      if (members.length === 0 || this.#writer === undefined) return Effect.succeed(false)
      this.files = members.length
      this.sinceMs = this.#nowMs()
      const files = members.map(({ file }) => file)
      // Also when it dies: whoever waits for the end of a batch waits for this.
      const written = Effect.ensuring(
        Effect.result(this.#writer.write(files, bytes)),
        Effect.sync(() => this.#noteEnd(members)),
      )
      const ended = Effect.map(written, (result) => {
        // Nothing was written; what is not said to pass by itself does not.
        if (result._tag === "Failure") {
          if (result.failure.code !== "EAGAIN") this.#isRefused = true
          return false
        }
        // Another file may have lost what it was given before, and the next sync of the file system would not say so: it was told already.
        if (result.success.includes("lost")) this.#isRefused = true
        for (const [index, member] of members.entries()) end(member, result.success[index]!)
        return true
      })
      // A manager that closes interrupts all its fibers, and waits for the batch behind that.
      return Effect.uninterruptible(ended)
    })
  }

  /** All of them at once: who is told of the end of one may begin the next batch. */
  #noteEnd(members: ReadonlyArray<Member>): void {
    this.files = 0
    this.tookMs = this.#nowMs() - this.sinceMs
    for (const { writing } of members) writing.isInBatch = false
  }

  /** Ends the thread, after the batch that is on its way; when that takes too long it is cut off, as others may get the root then. */
  get close(): Effect.Effect<void> {
    const ended = Effect.gen({ self: this }, function* () {
      this.#isRefused = true
      while (this.isWriting) yield* Effect.sleep(1)
    })
    return Effect.ensuring(ended, this.#writer?.close ?? Effect.void)
  }
}

const gather = (
  settling: ReadonlyArray<Settling>,
): { readonly members: ReadonlyArray<Member>; readonly bytes: Uint8Array } => {
  const members: Array<Member> = []
  let length = 0
  for (const one of settling) {
    if (length >= bytesMax) break
    const member = takePart(one, length)
    if (member === undefined) continue
    members.push(member)
    length = member.file.pieces.at(-1)?.to ?? length
  }
  const bytes = new Uint8Array(length)
  for (const { writing, file } of members) {
    writing.isInBatch = true
    for (const piece of file.pieces) fill(writing, piece, bytes)
  }
  return { members, bytes }
}

/** What a segment puts into a batch from `at` on; undefined when it is left to its own syncs, or to the next batch. */
const takePart = ({ stream, writing }: Settling, at: number): Member | undefined => {
  const { segment, writer } = writing
  // Who syncs his own file catches up by that.
  if (stream.closedAs !== undefined || stream.isFlushing) return undefined
  if (writing !== stream.active || writer === undefined || writer.isInBatch || isTaken(writing)) {
    startFlushing(stream)
    return undefined
  }
  writer.closeFrame()
  const end = writing.endOffset
  const isNew = segment.maker !== undefined
  const pieces: Array<BatchPiece> = []
  // Without the slots: they may be written already.
  if (isNew) pieces.push({ from: at, to: at + segmentHeader.sizeBytes, position: 0 })
  const from = pieces.at(-1)?.to ?? at
  const { writtenOffset: position } = writing
  if (end > position) pieces.push({ from, to: from + end - position, position })
  const { path } = segment
  const folders = writing.isEntrySynced ? [] : [streamPath(stream.services.config.root, stream.name), stream.path]
  return { stream, writing, end, fileGeneration: segment.header.fileGeneration, file: { path, isNew, folders, pieces } }
}

/** True while the file is not to be written, or not to be trusted. */
const isTaken = (writing: WritingSegment): boolean =>
  writing.isReplacing || writing.isSuspect || writing.isTailing || writing.zeroing !== undefined

const fill = (writing: WritingSegment, { from, to, position }: BatchPiece, bytes: Uint8Array): void => {
  if (position >= segmentHeaderBytes) {
    copyStaged(writing, { from: position, end: position + to - from }, bytes, from)
    return
  }
  const block = new Uint8Array(segmentHeaderBytes)
  encodeSegmentHeader(block, writing.segment.header)
  bytes.set(block.subarray(0, to - from), from)
}

const end = (member: Member, outcome: BatchOutcome): void => {
  const { stream, writing } = member
  if (!isSame(member)) return
  if (outcome === "durable") return noteBatch(stream, writing, member.end)
  if (outcome === "lost") writing.isSuspect = true
  startFlushing(stream)
}

const isSame = ({ stream, writing, fileGeneration }: Member): boolean =>
  stream.closedAs === undefined &&
  !writing.isReplacing &&
  !writing.isSuspect &&
  writing.segment.header.fileGeneration === fileGeneration
