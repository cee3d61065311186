/**
 * A store that was opened again, whole, against the model: what must have survived is there, what was lost before is not back, batches are
 * whole, and every way of reading gives the same. Afterwards the model knows what there is: that must never change again.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Aof, AofError, AofManager } from "../../api/effect.ts"
import { type ModelStream, type Survivors, survives } from "./sim_model.ts"
import { type SimProcess, SimViolation } from "./sim_process.ts"
import { Reading } from "./sim_reading.ts"

const limitMs = 3_600_000

/** Compares all streams. `wasClosed`: the process before closed in order, and all before it. */
export const verifyStore = (
  process: SimProcess,
  manager: AofManager,
  wasClosed: boolean,
): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { model } = process.world
    const { survivors } = model
    const fault = recoveryFault(manager, wasClosed)
    if (fault !== undefined) return yield* Effect.fail(new SimViolation(fault))
    const names = manager.streams()
    for (const stream of [...model.streams]) {
      const isThere = names.includes(stream.name) && isNewest(model.streams, stream)
      if (stream.isDeleted) {
        if (isThere) return yield* Effect.fail(new SimViolation(`deleted stream ${stream.name} is back`))
        continue
      }
      if (!isThere) {
        if (stream.isCreated && !stream.isDeleteAsked) {
          return yield* Effect.fail(new SimViolation(`stream ${stream.name} is gone`))
        }
        stream.isDeleted = true
        continue
      }
      stream.isCreated = true
      stream.isDeleteAsked = false
      const aof = yield* process.within(
        `opening ${stream.name}`,
        limitMs,
        manager.stream(stream.name, { create: false }),
      )
      if (aof !== undefined) yield* verifyStream(process, aof, stream, survivors)
    }
    const unknown = names.filter((name) => !model.streams.some((stream) => stream.name === name))
    if (unknown.length > 0) return yield* Effect.fail(new SimViolation(`nobody made ${unknown.join(", ")}`))
    if (process.world.isAlive) model.survivors = "all"
  })

const isNewest = (streams: ReadonlyArray<ModelStream>, stream: ModelStream): boolean =>
  streams.findLast((one) => one.name === stream.name) === stream

const recoveryFault = (manager: AofManager, wasClosed: boolean): string | undefined => {
  const { quarantined, manifestDamage, isClean } = manager.recovery
  if (quarantined.length > 0) return `opening reports damage: ${JSON.stringify(quarantined[0])}`
  if (manifestDamage.length > 0) return `opening reports damage of the manifest: ${manifestDamage[0]}`
  return wasClosed && !isClean ? "opening after a close in order is not clean" : undefined
}

/** Compares one stream, and takes what was found for what is there from now on. */
export const verifyStream = (
  process: SimProcess,
  aof: Aof,
  stream: ModelStream,
  survivors: Survivors,
): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { model, plan } = process.world
    const reading = (what: string, isReverse: boolean): Reading =>
      new Reading({ model, stream, isNoise: plan.isNoise, isReverse, what, level: "none", isWhole: true })
    const { found, forward } = yield* readWhole(process, aof, stream, () => reading("whole read", false))
    if (process.violation !== undefined) return
    process.violate(
      infoFault(aof, stream, forward) ?? missingFault(stream, found, survivors) ?? batchFault(stream, found),
    )
    if (process.violation !== undefined || !process.world.isAlive) return
    rebase(stream, found, survivors)
    yield* verifyOtherWays(process, aof, stream, reading)
    if (process.violation !== undefined || !process.world.isAlive) return
    process.violate(watermarkFault(aof, stream, survivors))
    process.world.trace.note(process.world.loop.nowMs, "verified", stream.name, found.size)
  })

/** Reads a stream from its start to its end. One that is trimmed meanwhile, by its retention, is read again. */
const readWhole = (
  process: SimProcess,
  aof: Aof,
  stream: ModelStream,
  start: () => Reading,
): Effect.Effect<{ readonly found: ReadonlySet<number>; readonly forward: Reading }, SimViolation> => {
  const found = new Set<number>()
  const forward = start()
  const take = Stream.runForEach(aof.read({ from: "start" }), (record) =>
    Effect.sync(() => {
      process.violate(forward.take(record))
      if (forward.last !== undefined) found.add(forward.last.index)
    }),
  )
  const isPassing = (error: AofError): boolean => isTrimming(stream)(error) || isResting(error)
  const isTrimmed = Effect.catchIf(Effect.as(take, false), isPassing, (error) =>
    Effect.as(isResting(error) ? Effect.sleep(restMs) : Effect.void, true),
  )
  return Effect.flatMap(process.within(`reading ${stream.name}`, limitMs, isTrimmed), (again) =>
    again && process.violation === undefined
      ? Effect.andThen(Effect.sleep(50), readWhole(process, aof, stream, start))
      : Effect.succeed({ found, forward }),
  )
}

/** Longer than requests to an object store that did not answer are held back. */
const restMs = 20_000

/** True for what a read fails with while it is. */
const isResting = (error: AofError): boolean => error._tag === "Unavailable" && error.message.includes("CircuitOpen")

/** Tries once more when requests were held back. */
const patiently = <A>(effect: Effect.Effect<A, AofError>): Effect.Effect<A, AofError> =>
  Effect.catchIf(effect, isResting, () => Effect.andThen(Effect.sleep(restMs), effect))

/** True for what a read fails with whose records a retention has just trimmed. */
const isTrimming =
  (stream: ModelStream) =>
  (error: AofError): boolean =>
    error._tag === "NotFound" && stream.plan.trimsItself

/** Backwards, and some by id. */
const verifyOtherWays = (
  process: SimProcess,
  aof: Aof,
  stream: ModelStream,
  reading: (what: string, isReverse: boolean) => Reading,
): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { count } = aof.info()
    if (count === 0) return
    let backward = reading("whole read backwards", true)
    const takeBackward = Effect.suspend(() => {
      backward = reading("whole read backwards", true)
      return Stream.runForEach(aof.read({ reverse: true }), (record) =>
        Effect.sync(() => process.violate(backward.take(record))),
      )
    })
    const backwards = Effect.catchIf(patiently(takeBackward), isTrimming(stream), () => Effect.void)
    yield* process.within(`reading ${stream.name} backwards`, limitMs, backwards)
    if (backward.count !== count && !stream.plan.trimsItself) {
      process.violate(`backwards stream ${stream.name} has ${backward.count} records, not ${count}`)
    }
    const known = stream.known().filter((entry) => entry.number >= aof.info().firstRecordNumber)
    for (let at = known.length - 1; at >= 0; at -= 7) {
      const { id } = known[at] as { readonly id: number }
      if (id < stream.trimAsked) continue
      const one = reading(`get ${id}`, false)
      const got: Effect.Effect<void, AofError> = Effect.map(aof.get(id), (record) => process.violate(one.take(record)))
      const left = Effect.catchIf(patiently(got), isTrimming(stream), () => Effect.void)
      yield* process.within(`get ${id} of ${stream.name}`, limitMs, left)
    }
  })

const infoFault = (aof: Aof, stream: ModelStream, reading: Reading): string | undefined => {
  const { count, firstRecordNumber, nextRecordNumber, firstId, lastId } = aof.info()
  const where = `stream ${stream.name} with ${count} records from ${firstRecordNumber} to ${nextRecordNumber}`
  if (nextRecordNumber - firstRecordNumber !== count) return `${where}: the numbers do not add up`
  if (firstId > 0 && firstId < stream.trimAcked) return `${where}: begins at ${firstId}, trimmed to ${stream.trimAcked}`
  // What is trimmed by itself may go between the two.
  if (stream.plan.trimsItself) return undefined
  if (reading.count !== count) return `${where}: ${reading.count} were read`
  const { first, last } = reading
  if (first === undefined || last === undefined) return undefined
  if (first.number !== firstRecordNumber || last.number !== nextRecordNumber - 1) {
    return `${where}: read were ${first.number} to ${last.number}`
  }
  if (first.id !== firstId || last.id !== lastId)
    return `${where}: ids ${firstId} to ${lastId}, read ${first.id} to ${last.id}`
  return undefined
}

const missingFault = (stream: ModelStream, found: ReadonlySet<number>, survivors: Survivors): string | undefined => {
  const first = Math.min(...found)
  for (const entry of stream.entries) {
    if (found.has(entry.index) || entry.isLost || !survives(entry.level, survivors)) continue
    const isTrimmed =
      entry.id < stream.trimAsked &&
      (entry.index < first || (entry.id > 0 && !stream.plan.trimsItself) || found.size === 0)
    if (!isTrimmed) {
      return `stream ${stream.name}: entry ${entry.index} with the id ${entry.id}, acknowledged ${entry.level}, is gone`
    }
  }
  return undefined
}

/** A batch is there whole, or as much of its end as a trim has left. */
const batchFault = (stream: ModelStream, found: ReadonlySet<number>): string | undefined => {
  const first = Math.min(...found)
  for (const entry of stream.entries) {
    if (entry.batch === 0 || found.has(entry.index)) continue
    const isTrimmed = stream.trimAsked > 0 && entry.index < first
    if (isTrimmed) continue
    const other = stream.entries.find((one) => one.batch === entry.batch && found.has(one.index))
    if (other !== undefined) {
      return `stream ${stream.name}: of batch ${entry.batch} entry ${other.index} is there and ${entry.index} is not`
    }
  }
  return undefined
}

const watermarkFault = (aof: Aof, stream: ModelStream, survivors: Survivors): string | undefined => {
  const value = Number(aof.coordinatorWatermark)
  if (value > stream.watermark)
    return `stream ${stream.name}: the coordinator's watermark is ${value}, set was ${stream.watermark}`
  if (survivors === "all" && value !== stream.watermark) {
    return `stream ${stream.name}: the coordinator's watermark was ${stream.watermark} when it was closed, and is ${value}`
  }
  const least = survivors === "all" ? 0 : stream.watermarkMin[survivors]
  if (value < least) {
    return `stream ${stream.name}: the coordinator's watermark is ${value}, and ${least} was ${survivors}`
  }
  stream.watermark = value
  // A power cut may have taken what a kill would have left; what was found now was read from a file.
  stream.watermarkMin.written = value
  return undefined
}

const rebase = (stream: ModelStream, found: ReadonlySet<number>, survivors: Survivors): void => {
  const first = Math.min(...found)
  const idMax = stream.entries.reduce((most, { id, isLost }) => (isLost ? most : Math.max(most, id)), 0)
  for (const entry of stream.entries) {
    // What is not there now, trimmed or lost, must never come back.
    if (found.has(entry.index)) entry.level = "durable"
    else entry.isLost = true
  }
  const kept = stream.entries.reduce((most, entry) => (found.has(entry.index) ? Math.max(most, entry.id) : most), 0)
  // After a power cut ids may come again that nothing on the disk knows of.
  stream.idFloor = survivors === "durable" ? kept : Math.max(stream.idFloor, idMax, stream.idMax)
  stream.idMax = 0
  const firstId = found.size === 0 ? 0 : (stream.entries[first]?.id ?? 0)
  if (!stream.plan.trimsItself && firstId > 0 && stream.trimAsked > 0) {
    stream.trimAcked = Math.max(stream.trimAcked, firstId)
    stream.trimAsked = Math.max(stream.trimAsked, firstId)
  }
}
