/** What a reader finds of a stream whose writer it knows nothing of: entries in their order, with their ids and bytes, and holes that an error names. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Aof, AofError, AofRecord, ReadOptions } from "../../api/effect.ts"
import { entryOf, type ModelEntry, type ModelStream, payloadOf } from "./sim_model.ts"
import type { SimProcess } from "./sim_process.ts"
import { isEqual } from "./sim_reading.ts"

/** What is looked at of a record. */
type StreamRecord = Pick<AofRecord, "recordId" | "recordNumber" | "bytes">

/** Times that a trim may overtake a reader. */
const triesMax = 100

/** Requests that may fail after the faults of the bucket have ended. */
const askedMax = 20

/** What was found. */
export interface FoundEntries {
  /** Entries that were read. */
  readonly found: ReadonlySet<ModelEntry>
  /** Ids that are said to be missing: segments that were sealed and had not reached the bucket. */
  readonly holes: ReadonlyArray<{ readonly from: number; readonly to: number }>
}

/** What is read. */
export interface FindOptions {
  readonly stream: ModelStream
  readonly aof: Aof
  /** Done before it is read again because a trim came between; default: a moment is waited. Undefined where no trim may come between. */
  readonly onTrimmed?: Effect.Effect<unknown, AofError> | undefined
}

/** Reads a stream from its start. A record that is none, or not in its place, is a violation. One that was lost may be back when its segment arrived late. */
export const findEntries = (
  process: SimProcess,
  { stream, aof, onTrimmed = Effect.sleep(50) }: FindOptions,
): Effect.Effect<FoundEntries, AofError> =>
  Effect.suspend(() => {
    const found = new Set<ModelEntry>()
    const holes: Array<{ readonly from: number; readonly to: number }> = []
    let before = { index: -1, number: -1, id: 0 }
    let tries = 0
    const take = (record: StreamRecord): void => {
      const entry = checkedEntry(process, stream, record)
      if (entry === undefined) return
      const { recordId: id, recordNumber: number } = record
      if (entry.index <= before.index || number <= before.number) {
        const where = `stream ${stream.name}, record ${id} number ${number} read from elsewhere`
        process.violate(`${where}: entry ${entry.index} comes after entry ${before.index} number ${before.number}`)
      }
      before = { index: entry.index, number, id }
      found.add(entry)
    }
    const readFrom = (options: ReadOptions): Effect.Effect<void, AofError> =>
      Effect.catch(
        Stream.runForEach(aof.read(options), (record) => Effect.sync(() => take(record))),
        (error: AofError): Effect.Effect<void, AofError> => {
          if (error._tag === "NotFound" && stream.trimAsked > 0 && ++tries < triesMax) {
            found.clear()
            before = { index: -1, number: -1, id: 0 }
            return Effect.andThen(onTrimmed, readFrom({ from: "start" }))
          }
          if (error._tag !== "Corrupt" || !error.message.includes("are missing")) return Effect.fail(error)
          holes.push({ from: before.id, to: error.to })
          return readFrom({ from: error.to })
        },
      )
    return Effect.as(readFrom({ from: "start" }), { found, holes })
  })

/** The entry that a record is, when it holds the bytes of one and has its id. */
const checkedEntry = (process: SimProcess, stream: ModelStream, record: StreamRecord): ModelEntry | undefined => {
  const { recordId, recordNumber, bytes } = record
  const said = entryOf(bytes)
  const entry = said?.tag === stream.tag ? stream.entries[said.index] : undefined
  const where = `stream ${stream.name}, record ${recordId} number ${recordNumber} read from elsewhere`
  if (entry === undefined || !isEqual(bytes, payloadOf(stream, entry, process.world.plan.isNoise))) {
    process.violate(`${where}: holds bytes that nobody appended here`)
    return undefined
  }
  if (entry.id > 0 && entry.id !== recordId) {
    process.violate(`${where}: is entry ${entry.index} with the id ${entry.id}`)
  }
  return entry
}

/** The first entry that is not there and lies before one that is, though nobody trimmed it and no error names it; in words. */
export const firstGap = (stream: ModelStream, { found, holes }: FoundEntries): string | undefined => {
  const last = Math.max(-1, ...[...found].map(({ index }) => index))
  const gap = stream
    .known()
    .find(
      (entry) =>
        !found.has(entry) &&
        entry.index < last &&
        entry.id >= stream.trimAsked &&
        !holes.some(({ from, to }) => entry.id >= from && entry.id < to),
    )
  return gap === undefined ? undefined : `stream ${stream.name}: entry ${last} is there and entry ${gap.index} is not`
}

/** The first entry that is in a hole though nobody has lost it; in words. */
export const firstInHole = (stream: ModelStream, { holes }: FoundEntries): string | undefined => {
  const entry = stream
    .known()
    .find(({ id }) => id >= stream.trimAsked && holes.some(({ from, to }) => id > from && id < to))
  return entry === undefined ? undefined : `stream ${stream.name}: entry ${entry.index} is said to be missing`
}

/** Asks again until the bucket answers: after an outage the breaker lets nothing through for a while. */
export const answered = <A>(request: Effect.Effect<A, AofError>): Effect.Effect<A, AofError> =>
  Effect.gen(function* () {
    for (let asked = 1; ; asked++) {
      const answer = yield* Effect.result(request)
      if (answer._tag === "Success") return answer.success
      if (asked === askedMax || answer.failure._tag !== "Unavailable") return yield* Effect.fail(answer.failure)
      yield* Effect.sleep(10_000)
    }
  })
