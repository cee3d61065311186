/**
 * One sync for many streams. Each turn of the event loop does here what all streams planned for it. When several of them want durability at
 * once, what each has appended goes into one group of the commit journal, and one sync of that makes all of it durable; the files of the
 * segments follow behind: when a stream falls quiet, when a journal file is full, at seal and at close. A stream that is alone, or that
 * appends much, syncs its own files.
 *
 * Invariants: one group is on its way at a time. What a group holds stays in staging memory until the segment's own file holds it durably. A
 * segment counts as dirty from its first group until then, and a journal file is used again only when no dirty segment has bytes in it. A
 * stream that syncs its own files joins no group meanwhile, so the end of its sync leaves it clean.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type JournalEntryBytes, journalBlockBytes } from "../../format/journal_block.ts"
import type { AofError } from "../../model/errors.ts"
import type { BatchWriter } from "../../port/batch_writer.ts"
import type { EventLoop } from "../../port/event_loop.ts"
import { completeShared, startFlushing, writeInTurn } from "../append/flusher.ts"
import { untracedIndexesMax } from "../append/segment_limits.ts"
import type { SyncGauge } from "../append/sync_gauge.ts"
import { writeOut } from "../append/write_out.ts"
import type { WritingSegment } from "../append/writing_segment.ts"
import { type SharedSync, type StreamState, unsettledBytes } from "../stream/stream_state.ts"
import type { Journal, JournalFile } from "./journal.ts"
import { gatherMember, type JournalMember, noteWritten } from "./journal_member.ts"
import { JournalPace } from "./journal_pace.ts"
import { SegmentsBehind } from "./segments_behind.ts"
import { SettleBatch } from "./settle_batch.ts"
import { quietMs } from "./settle_order.ts"
import { Settler } from "./settler.ts"

/** A stream with more than this to make durable at once gains nothing from writing it twice. */
const entryBytesMax = 64 * 1024
/** What only the journal has of one stream stays below this. */
const unsettledBytesMax = 4 * 1024 * 1024
/** Who waits for room in the journal waits no longer than this. */
const stallMsMax = 2000
const retryMs = 5
/** How long a sync of the main thread counts as one that is on its way. */
const freshMs = 5

/** What it works with. */
export interface JournalSyncOptions {
  readonly journal: Journal
  /** Streams that have to want durability at once. */
  readonly streamsMin: number
  readonly eventLoop: EventLoop
  readonly gauge: SyncGauge
  readonly clock: Clock.Clock
  /** Writes many files at once; undefined where there is none. */
  readonly batchWriter: BatchWriter | undefined
  readonly run: (effect: Effect.Effect<void>) => void
  /** What a process before has left in the journal, by stream. */
  readonly found: ReadonlyMap<number, ReadonlyArray<JournalEntryBytes>>
  /** Processes with a journal that did not close in order. */
  readonly processCount: number
  /** What the files of the journal hold of a stream. */
  readonly load: (streamId: number) => Effect.Effect<ReadonlyArray<JournalEntryBytes>, AofError>
}

export class JournalSync implements SharedSync {
  readonly #options: JournalSyncOptions
  readonly #journal: Journal
  #planned: Array<StreamState> = []
  #isTurnPlanned = false
  readonly #waiting: Set<StreamState> = new Set()
  /** Streams that sync their own files now. */
  #flushing = 0
  #isSyncing = false
  readonly #behind: SegmentsBehind
  /** Segments of streams that were closed dirty; at first, streams that a process before has left so. */
  readonly #held: Map<number, Array<WritingSegment>> = new Map()
  #found: ReadonlyMap<number, ReadonlyArray<JournalEntryBytes>>
  #isRecovering = true
  #isInOrder = false
  /** Since when those who wait have waited for a file of the journal. */
  #stalledSinceMs: number | undefined
  readonly #pace: JournalPace = new JournalPace()
  #isRetryPlanned = false
  #lastGroupMs = 0
  /** Has segments catch up with the journal. */
  readonly settler: Settler
  readonly counters: StreamState["counters"] = { syncs: 0, syncFailures: 0, writes: 0, writtenBytes: 0 }

  constructor(options: JournalSyncOptions) {
    this.#options = options
    this.#journal = options.journal
    this.#found = options.found
    this.#behind = new SegmentsBehind(options.journal)
    this.settler = new Settler({
      ...options,
      behind: this.#behind,
      batch: new SettleBatch(options.batchWriter, () => options.clock.currentTimeMillisUnsafe()),
      isBusy: () => this.#isBusy,
      isUrgent: () => this.#pace.isWaiting,
      onSync: () => {
        this.counters.syncs++
      },
    })
    this.#journal.onFull = (file) => {
      this.#behind.full.add(file)
      this.settler.more()
    }
  }

  plan(stream: StreamState): void {
    this.#planned.push(stream)
    this.#planTurn()
  }

  flushBegins(): void {
    this.#flushing++
  }

  flushEnds(stream: StreamState): void {
    this.#flushing--
    // What it could not write is tried again with the next sweep.
    if (stream.active !== undefined) this.#behind.settling.delete(stream.active)
  }

  isPreferred(stream: StreamState): boolean {
    const others = this.#flushing - 1 + this.#waiting.size
    return (
      (this.#isSyncing || others + 1 >= this.#options.streamsMin) &&
      this.#journal.take() !== undefined &&
      this.#canShare(stream)
    )
  }

  hurry(): void {
    if (this.#behind.dirty.size > 0) this.settler.hurry()
  }

  get settleAll(): Effect.Effect<void> {
    return this.settler.all
  }

  get lostIndexes(): number {
    return this.#isRecovering ? this.#options.processCount * untracedIndexesMax : 0
  }

  get isInOrder(): boolean {
    return this.#isInOrder
  }

  endInOrder(): void {
    this.#isInOrder = true
  }

  get isSyncing(): boolean {
    // The main thread never sees itself sync.
    return this.#isSyncing || this.#flushing > 0 || this.#waiting.size > 0 || this.#options.gauge.isFresh(freshMs)
  }

  get isJournaling(): boolean {
    // Before its first file is there, nothing would tell after a kill that ids were given in segments that have no file.
    return this.#behind.dirty.size > 0 || (this.#waiting.size > 0 && this.#journal.isThere)
  }

  settled(writing: WritingSegment): void {
    this.#behind.settling.delete(writing)
    this.#settle(writing, writing.durableOffset)
    if (this.#behind.dirty.size > 0) this.settler.more()
  }

  forget(stream: StreamState, isDeleted: boolean): void {
    this.#waiting.delete(stream)
    if (this.#behind.dirty.size === 0) return
    let isWritten = isDeleted
    for (const [writing, dirty] of this.#behind.dirty) {
      if (dirty.stream !== stream) continue
      // What is in the file when the stream is opened again is not read from the journal.
      if (!isWritten) isWritten = writeOut(stream)
      this.#behind.drop(writing)
      this.#held.set(stream.streamId, [...(this.#held.get(stream.streamId) ?? []), writing])
    }
    this.settler.more()
  }

  held(streamId: number): Effect.Effect<ReadonlyArray<JournalEntryBytes>, AofError> {
    return this.#held.has(streamId) ? this.#options.load(streamId) : Effect.succeed(this.#found.get(streamId) ?? [])
  }

  /** All streams of the process before were recovered. */
  endRecovery(): void {
    this.#found = new Map()
    this.#isRecovering = false
  }

  release(streamId: number): void {
    const held = this.#held.get(streamId)
    this.#held.delete(streamId)
    for (const writing of held ?? []) this.#settle(writing, Number.POSITIVE_INFINITY)
  }

  /** What a segment had in the journal up to `offset` is needed no more. */
  #settle(writing: WritingSegment, offset: number): void {
    const hasDrained = this.#behind.settled(writing, offset)
    if (hasDrained && (this.#pace.isWaiting || this.#stalledSinceMs !== undefined)) this.#planTurn()
  }

  #planTurn(): void {
    if (this.#isTurnPlanned) return
    this.#isTurnPlanned = true
    const { eventLoop, gauge } = this.#options
    const askedMs = gauge.nowMs
    eventLoop.nextTurn(() => {
      gauge.noteTurn(askedMs)
      this.#turn()
    })
  }

  #turn(): void {
    this.#isTurnPlanned = false
    const streams = this.#planned
    this.#planned = []
    for (const stream of streams) stream.isTurnPlanned = false
    const isShared = this.#isShared(streams)
    for (const stream of streams) {
      if (stream.closedAs !== undefined) continue
      if (isShared && wantsSync(stream) && this.#canShare(stream)) this.#waiting.add(stream)
      else writeInTurn(stream)
    }
    if (this.#waiting.size > 0 && !this.#isSyncing) this.#commit()
  }

  /** True when those who want durability now are enough, or a group is on its way that they may follow. */
  #isShared(streams: ReadonlyArray<StreamState>): boolean {
    if (!this.#journal.isEnabled) return false
    if (this.#isSyncing || this.#waiting.size > 0) return true
    let count = this.#flushing - this.settler.flushing
    for (const stream of streams) if (wantsSync(stream)) count++
    return count >= this.#options.streamsMin
  }

  /** True when what the stream has to make durable may go into a group. */
  #canShare(stream: StreamState): boolean {
    const { active } = stream
    if (active?.writer === undefined || stream.sealing.length > 0) return false
    if (active.isSuspect || active.isReplacing || active.writer.isInBatch) return false
    const pending = active.endOffset - Math.max(active.durableOffset, active.journaledOffset)
    // One entry, and a header, fit an empty group.
    const most = Math.min(entryBytesMax, this.#journal.writer.groupBytesMax - 2 * journalBlockBytes)
    return pending <= most && unsettledBytes(stream) < unsettledBytesMax
  }

  /** Makes a group of what those who wait have appended, and syncs it. */
  #commit(): void {
    const file = this.#journal.take()
    if (file === undefined) return this.#stall()
    this.#stalledSinceMs = undefined
    const [drained] = this.#behind.full
    const nowMs = this.#options.clock.currentTimeMillisUnsafe()
    if (this.#pace.waits(this.#journal.fillOf(file), drained, nowMs)) {
      if (!this.#isRetryPlanned) this.#options.run(this.#retry)
      return this.settler.more()
    }
    const { writer } = this.#journal
    writer.begin()
    const members: Array<JournalMember> = []
    for (const stream of this.#waiting) {
      // The loop that syncs its own files sees what it wants.
      if (stream.closedAs !== undefined || stream.isFlushing) {
        this.#waiting.delete(stream)
        continue
      }
      if (!this.#canShare(stream)) {
        this.#giveUp([stream])
        continue
      }
      const member = gatherMember(stream, writer)
      if (member === undefined) break
      if (member.hasBytes) this.#behind.note(stream, member.writing, { end: member.end, file, nowMs })
      this.#waiting.delete(stream)
      members.push(member)
    }
    // Nobody fits an empty group: who waits is not left waiting.
    if (members.length === 0) return this.#giveUp([...this.#waiting])
    const error = writer.isEmpty ? undefined : this.#journal.write(file)
    if (error !== undefined) {
      this.#giveUp(members.map(({ stream }) => stream))
      if (this.#waiting.size > 0) this.#planTurn()
      return
    }
    for (const member of members) noteWritten(member)
    if (!writer.isEmpty) {
      this.counters.writes++
      this.counters.writtenBytes += writer.lengthBytes
    }
    this.#isSyncing = true
    this.#lastGroupMs = this.#options.clock.currentTimeMillisUnsafe()
    const synced = writer.isEmpty ? Effect.void : this.#synced(file, writer.lengthBytes)
    this.#options.run(Effect.map(Effect.result(synced), ({ _tag }) => this.#end(members, file, _tag === "Success")))
    this.settler.watch()
  }

  #synced(file: JournalFile, lengthBytes: number): Effect.Effect<void, AofError> {
    const { counters } = this
    return Effect.onExit(this.#options.gauge.sync(file.file, lengthBytes, true), ({ _tag }) =>
      Effect.sync(() => {
        if (_tag === "Success") counters.syncs++
        else counters.syncFailures++
      }),
    )
  }

  /** There is no room in the journal: a file that is nearly free is worth waiting for. */
  #stall(): void {
    const nowMs = this.#options.clock.currentTimeMillisUnsafe()
    if (this.#behind.full.size > 0 || this.#journal.isComing) {
      this.#stalledSinceMs ??= nowMs
      if (nowMs - this.#stalledSinceMs < stallMsMax) {
        if (!this.#isRetryPlanned) this.#options.run(this.#retry)
        return
      }
    }
    this.#stalledSinceMs = undefined
    this.#giveUp([...this.#waiting])
  }

  readonly #retry: Effect.Effect<void> = Effect.suspend(() => {
    this.#isRetryPlanned = true
    return Effect.map(Effect.sleep(retryMs), () => {
      this.#isRetryPlanned = false
      if (this.#waiting.size > 0) this.#planTurn()
    })
  })

  #end(members: ReadonlyArray<JournalMember>, file: JournalFile, isDurable: boolean): void {
    this.#isSyncing = false
    if (isDurable && !file.hasFailed) {
      for (const { stream, writing, end, mark } of members) completeShared(stream, writing, end, mark)
    } else {
      this.#journal.fail(file)
      this.#giveUp(members.map(({ stream }) => stream))
    }
    if (this.#waiting.size > 0) this.#planTurn()
  }

  /** They sync their own files. */
  #giveUp(streams: ReadonlyArray<StreamState>): void {
    for (const stream of streams) {
      this.#waiting.delete(stream)
      if (stream.closedAs !== undefined) continue
      stream.flushWanted = Number.POSITIVE_INFINITY
      startFlushing(stream)
    }
  }

  /** True while groups go to the journal. */
  get #isBusy(): boolean {
    return this.#isSyncing || Math.abs(this.#options.clock.currentTimeMillisUnsafe() - this.#lastGroupMs) < quietMs
  }
}

const wantsSync = (stream: StreamState): boolean =>
  stream.closedAs === undefined && !stream.isFlushing && stream.flushWanted > stream.durable.position
