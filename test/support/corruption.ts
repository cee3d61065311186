// A small store in one tier, every byte of which is damaged in turn, and what must hold after each damage: the store opens (or names the file
// that keeps it from opening), every record outside of the frame that was touched is there with its bytes, what is missing is named by an
// error or in the report, appending goes on, and another open finds the same.

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Aof } from "../../src/api/aof.ts"
import { type AofManager, openWith } from "../../src/api/manager.ts"
import { alignFrame, frameHeader, isFrameHeader } from "../../src/format/frame.ts"
import { decodeSeekTable } from "../../src/format/seekable_zstd.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { noise } from "./tier_workload.ts"

export type Place = "hot" | "warm" | "cold"

const common: AofManagerOptions = {
  root: "/store",
  segmentBytes: 64 * 1024,
  stagingBytes: 4096,
  preallocateBytesMax: 0,
  tier1: { frameBytes: 4096, residencyMsMin: 0, retryBackoffMs: 1, retriesMax: 1 },
}

/** Objects lie below the root, where the root itself is all that knows of them. */
export const optionsOf = (place: Place): AofManagerOptions =>
  place === "cold"
    ? { ...common, tier2: { upload: "eager", deleteGraceMs: 0, retry: { maxAttempts: 1, baseDelayMs: 1 } } }
    : { ...common, tier2: false }

/** A record as it was appended. */
export interface Wanted {
  readonly stream: string
  readonly number: number
  readonly recordId: number
  readonly text: string
  /** Records with the same number above 0 are one batch. */
  readonly batch: number
}

/** A store that was closed in order, with the bytes of all its files. */
export interface BaseStore {
  readonly place: Place
  readonly disk: MemoryDisk
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly wanted: ReadonlyArray<Wanted>
}

const onDisk = <A>(disk: MemoryDisk, use: (directory: Directory) => Effect.Effect<A, unknown>): Promise<A> =>
  Effect.runPromise(use(Context.get(disk.services(), Directory)) as Effect.Effect<A>)

const fillStream = async (
  stream: Aof,
  { name, segments, bytes }: { readonly name: string; readonly segments: number; readonly bytes: number },
): Promise<ReadonlyArray<Wanted>> => {
  const wanted: Array<Wanted> = []
  const note = (recordId: number, text: string, batch: number): void => {
    wanted.push({ stream: name, number: wanted.length, recordId, text, batch })
  }
  for (let segment = 0; segment <= segments; segment++) {
    for (let group = 0; group < 4; group++) {
      for (let one = 0; one < 2; one++) {
        const text = noise(`${name} ${wanted.length} `, bytes)
        note(stream.tryAppend(text, wanted.length + 1), text, 0)
      }
      await stream.flush()
    }
    const members = [0, 1, 2].map((one) => noise(`${name} batch ${wanted.length + one} `, 60))
    const batch = wanted.length + 1
    const ack = await stream.appendBatch(members.map((payload, one) => ({ payload, extId: batch + one })))
    // Their ids follow from the layout: 8 bytes of header and 8 of extId each.
    for (const [one, text] of members.entries()) {
      note(one === 2 ? ack.last.recordId : ack.first.recordId + one * 76, text, batch)
    }
    await stream.flush()
    if (segment < segments) await stream.seal()
  }
  return wanted
}

/** Makes the store, brings its sealed segments to their place, and closes it. */
export const makeBase = async (place: Place): Promise<BaseStore> => {
  const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
  const manager = await openWith(disk.layer, optionsOf(place))
  const one = await manager.stream("one")
  const other = await manager.stream("other")
  const wanted = [
    // Large enough for several zstd frames in a segment.
    ...(await fillStream(one, { name: "one", segments: 2, bytes: 700 })),
    ...(await fillStream(other, { name: "other", segments: 1, bytes: 90 })),
  ]
  if (place !== "hot") {
    for (const stream of [one, other]) await stream.evict({ to: place === "warm" ? "tier1" : "tier2" })
  }
  await manager.settled()
  await manager.close()
  return { place, disk, files: await allFiles(disk), wanted }
}

const allFiles = (disk: MemoryDisk): Promise<Map<string, Uint8Array>> => {
  const files = new Map<string, Uint8Array>()
  const walk: (directory: Directory, folder: string) => Effect.Effect<void, unknown> = Effect.fnUntraced(
    function* (directory, folder) {
      for (const { name, isDirectory } of yield* directory.list(folder)) {
        const path = `${folder}/${name}`
        if (isDirectory) yield* walk(directory, path)
        else files.set(path, (yield* directory.readFile(path))!.slice())
      }
    },
  )
  return Effect.runPromise(
    Effect.suspend(() => {
      const directory = Context.get(disk.services(), Directory)
      return Effect.map(walk(directory, "/store"), () => files)
    }) as Effect.Effect<Map<string, Uint8Array>>,
  )
}

/** One damage of one file. */
export type Damage =
  | { readonly kind: "flip"; readonly path: string; readonly at: number }
  | { readonly kind: "cut"; readonly path: string; readonly length: number }

const apply = (disk: MemoryDisk, damage: Damage): Promise<void> =>
  onDisk(disk, (directory) => {
    const file = directory.openUnsafe(damage.path, "write")
    const close = Effect.sync(() => file.closeUnsafe())
    if (damage.kind === "cut") return Effect.ensuring(file.truncate(damage.length), close)
    return Effect.sync(() => {
      const one = new Uint8Array(1)
      file.readUnsafe(one, 0, 1, damage.at)
      one[0]! ^= 1 << (damage.at % 8)
      file.writeUnsafe(one, 0, 1, damage.at)
      file.closeUnsafe()
    })
  })

/** What became of a damage. */
export type Outcome = "harmless" | "healed" | "detected" | "refused"

interface Range {
  readonly from: number
  readonly to: number
}

interface Seen {
  readonly found: ReadonlySet<Wanted>
  readonly ranges: ReadonlyArray<Range & { readonly stream: string }>
  readonly isTold: boolean
}

const toldEvents = [
  "tier0_corrupt",
  "tier1_missing",
  "tier2_corrupt_frame",
  "tier1_hydration_failed",
  "tier2_fetch_failed",
]

/** Damages a copy of the store and checks it. Throws when anything is wrong or lost beyond what was touched. */
export const checkDamage = async (base: BaseStore, damage: Damage): Promise<Outcome> => {
  const disk = base.disk.fork()
  await apply(disk, damage)
  const where = damage.kind === "flip" ? `flip at ${damage.at}` : `cut to ${damage.length}`
  const fail = (why: string): never => {
    throw new Error(`${base.place}, ${damage.path}, ${where}: ${why}`)
  }
  const first = await look(base, disk, fail, true)
  if (typeof first === "string") {
    if (first.includes(damage.path)) return "refused"
    return fail(`does not open: ${first}`)
  }
  const mayLose = touched(base, damage)
  const lost = base.wanted.filter((one) => !first.found.has(one))
  const beyond = lost.filter((one) => !mayLose.has(one))
  if (beyond.length > 0)
    fail(`lost beyond what was touched: ${beyond.map((one) => `${one.stream} ${one.number}`).join(", ")}`)
  for (const one of lost) {
    const isNamed = first.ranges.some(
      ({ stream, from, to }) => stream === one.stream && one.recordId >= from && one.recordId < Math.max(to, from + 1),
    )
    if (!isNamed)
      fail(`nobody names lost record ${one.stream} ${one.number} at ${one.recordId}: ${JSON.stringify(first.ranges)}`)
  }
  const second = await look(base, disk, fail, false)
  if (typeof second === "string") return fail(`does not open again: ${second}`)
  const gone = base.wanted.filter((one) => first.found.has(one) && !second.found.has(one))
  if (gone.length > 0) fail(`was there and is gone at the next open: ${gone.map((one) => one.number).join(", ")}`)
  if (lost.length > 0) return "detected"
  return first.isTold ? "healed" : "harmless"
}

/** The records that are read from a store, by cursor or by id, in order. */
export const readBack = async (base: BaseStore, disk: MemoryDisk): Promise<ReadonlyArray<Wanted>> => {
  const fail = (why: string): never => {
    throw new Error(`${base.place}: ${why}`)
  }
  const seen = await look(base, disk, fail, true)
  return typeof seen === "string" ? fail(seen) : base.wanted.filter((one) => seen.found.has(one))
}

/** Damages a copy of the store as often as one likes: it opens or names a file, and whatever is read is right. Throws when not. */
export const checkSurvival = async (base: BaseStore, damages: ReadonlyArray<Damage>): Promise<void> => {
  const disk = base.disk.fork()
  for (const damage of damages) await apply(disk, damage)
  const fail = (why: string): never => {
    throw new Error(`${base.place}, ${JSON.stringify(damages)}: ${why}`)
  }
  const first = await look(base, disk, fail, true)
  if (typeof first === "string") return
  const second = await look(base, disk, fail, false)
  if (typeof second === "string") fail(`does not open again: ${second}`)
}

/** Opens, reads everything by cursor and by id, and appends; or the message of what keeps it from opening. */
const look = async (
  base: BaseStore,
  disk: MemoryDisk,
  fail: (why: string) => never,
  isFirst: boolean,
): Promise<Seen | string> => {
  let isTold = false
  const onEvent = ({ name }: { readonly name: string }): void => {
    if (toldEvents.includes(name)) isTold = true
  }
  let manager: AofManager
  try {
    manager = await openWith(disk.layer, { ...optionsOf(base.place), onEvent })
  } catch (error) {
    const { _tag, message } = error as { readonly _tag?: string; readonly message: string }
    return _tag === "Corrupt" ? message : fail(`opening has thrown ${String(error)}`)
  }
  try {
    const { quarantined, trimmed, restored, manifestDamage } = manager.recovery
    if (quarantined.length + trimmed.length + restored.length + manifestDamage.length > 0) isTold = true
    const ranges: Array<Range & { readonly stream: string }> = [...quarantined, ...trimmed]
    const found = new Set<Wanted>()
    for (const name of ["one", "other"]) {
      if (!manager.streams().includes(name)) continue
      const stream = await manager.stream(name)
      const wanted = base.wanted.filter((one) => one.stream === name)
      await readStream(stream, wanted, { found, ranges, fail })
      await getAll(stream, wanted, { found, ranges, fail })
      await stream.append(isFirst ? "after" : "after again", { extId: 1_000_000 })
    }
    return { found, ranges, isTold: isTold || ranges.length > 0 }
  } finally {
    await manager.close()
  }
}

interface Notes {
  readonly found: Set<Wanted>
  readonly ranges: Array<Range & { readonly stream: string }>
  readonly fail: (why: string) => never
}

/** Reads by a cursor, which goes on behind damage. */
const readStream = async (
  stream: Aof,
  wanted: ReadonlyArray<Wanted>,
  { found, ranges, fail }: Notes,
): Promise<void> => {
  const cursor = stream.cursor({ from: "start" })
  const decoder = new TextDecoder()
  let last = -1
  for (let tries = 0; tries < 1000; tries++) {
    try {
      if (!cursor.next()) return
    } catch (error) {
      const { _tag, from, to } = error as { readonly _tag?: string; readonly from: number; readonly to: number }
      if (_tag === "Corrupt") ranges.push({ stream: stream.name, from, to })
      else if (_tag === "WouldBlock") {
        try {
          await cursor.ready()
        } catch (failed) {
          const { _tag: tag, from: start, to: end } = failed as { _tag?: string; from: number; to: number }
          if (tag !== "Corrupt" && tag !== "NotFound") fail(`reading has thrown ${String(failed)}`)
          if (tag === "Corrupt") ranges.push({ stream: stream.name, from: start, to: end })
          // What cannot be fetched at all keeps a cursor where it is: reading goes on behind the segment.
          return
        }
      } else if (_tag !== "NotFound") fail(`reading has thrown ${String(error)}`)
      continue
    }
    const number = cursor.recordNumber
    if (number <= last) fail(`record ${number} comes again or late`)
    last = number
    const one = wanted[number]
    const text = decoder.decode(cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd))
    // Where the end of the stream was lost without a trace, its numbers are given again, but never its ids.
    const isNew =
      (text === "after" || text === "after again") && !wanted.some((each) => each.recordId === cursor.recordId)
    if (isNew) continue
    if (one === undefined) {
      fail(`record ${number} was never appended`)
      continue
    }
    if (text !== one.text) fail(`record ${number} has other bytes`)
    if (Number(cursor.extId) !== number + 1) fail(`record ${number} has extId ${cursor.extId}`)
    if (cursor.recordId !== one.recordId) fail(`record ${number} has id ${cursor.recordId}, not ${one.recordId}`)
    found.add(one)
  }
  fail("reading does not end")
}

/** Reads every record by its id. What is found so counts as well; what is not is named. */
const getAll = async (stream: Aof, wanted: ReadonlyArray<Wanted>, { found, ranges, fail }: Notes): Promise<void> => {
  for (const one of wanted) {
    try {
      const record = await stream.get(one.recordId)
      if (record.text() !== one.text || record.recordNumber !== one.number) fail(`get of record ${one.number} is wrong`)
      found.add(one)
    } catch (error) {
      const { _tag, from, to } = error as { readonly _tag?: string; readonly from: number; readonly to: number }
      if (_tag === "Corrupt") ranges.push({ stream: stream.name, from, to })
      else if (_tag === "NotFound") ranges.push({ stream: stream.name, from: one.recordId, to: one.recordId + 1 })
      else if (_tag !== "InvalidArgument" && _tag !== "Unavailable") throw error
      else if (_tag === "InvalidArgument" && found.has(one)) fail(`get of record ${one.number}: ${String(error)}`)
    }
  }
}

/** The records that a damage may cost: those of the frame or batch that it touches, or of the zstd frame; none outside of segments. */
export const touched = (base: BaseStore, damage: Damage): ReadonlySet<Wanted> => {
  const bytes = base.files.get(damage.path)!
  const index = Number(/(\d{10})(?:\.seg|-e)/.exec(damage.path)?.[1] ?? Number.NaN)
  if (Number.isNaN(index)) return new Set()
  const stream = streamOf(base, damage.path)
  const inSegment = base.wanted.filter((one) => one.stream === stream && Math.floor(one.recordId / 2 ** 28) === index)
  const isWarm = !damage.path.endsWith(".seg")
  const frames = isWarm ? zstdFrames(bytes) : logFrames(bytes)
  const hit = frames.filter(({ from, to }) =>
    damage.kind === "flip" ? damage.at >= from && damage.at < to : to > damage.length,
  )
  const isHit = (one: Wanted): boolean => {
    const offset = one.recordId % 2 ** 28
    return hit.some(({ contentFrom, contentTo }) => offset >= contentFrom && offset < contentTo)
  }
  const direct = inSegment.filter(isHit)
  const batches = new Set(direct.map((one) => one.batch).filter((batch) => batch > 0))
  return new Set(inSegment.filter((one) => isHit(one) || batches.has(one.batch)))
}

const streamOf = (base: BaseStore, path: string): string => {
  const inStreams = /\/streams\/([^/]+)\//.exec(path)?.[1]
  if (inStreams !== undefined) return inStreams
  return /\/segments\/1\//.test(path) ? "one" : base.wanted.at(-1)!.stream
}

interface FrameRange extends Range {
  readonly contentFrom: number
  readonly contentTo: number
}

const logFrames = (bytes: Uint8Array): ReadonlyArray<FrameRange> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const frames: Array<FrameRange> = []
  for (let from = 1536; isFrameHeader(view, from, from, bytes.length); ) {
    const to = alignFrame(from + view.getUint32(from + frameHeader.at.lengthBytes, true))
    frames.push({ from, to, contentFrom: from, contentTo: to })
    from = to
  }
  return frames
}

/** Of a damaged seek table nothing is lost: the frames themselves say it all. */
const zstdFrames = (bytes: Uint8Array): ReadonlyArray<FrameRange> => {
  const table = decodeSeekTable(bytes, { fileBytes: bytes.length })!
  return Array.from({ length: table.frameCount }, (_, index) => {
    const { compressedOffset: from, compressedBytes, contentOffset: contentFrom, contentBytes } = table.frame(index)!
    return { from, to: from + compressedBytes, contentFrom, contentTo: contentFrom + contentBytes }
  })
}
