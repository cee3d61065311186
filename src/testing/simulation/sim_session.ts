/** The life of one process: it opens the store, checks it, does its steps, and ends. */
import * as Effect from "effect/Effect"
import type { AofError, AofManager, StreamOptions } from "../../api/effect.ts"
import { appendSteps } from "./sim_append_steps.ts"
import type { ModelStream } from "./sim_model.ts"
import { closeTimeoutMs } from "./sim_options.ts"
import type { SimSession, SimStep, SimStreamPlan } from "./sim_plan.ts"
import { type OpenStream, SimProcess, SimViolation } from "./sim_process.ts"
import { quiesce } from "./sim_quiesce.ts"
import { SimRandom } from "./sim_random.ts"
import { readSteps } from "./sim_read_steps.ts"
import { verifyStore, verifyStream } from "./sim_verify.ts"
import type { SimServices, SimWorld } from "./sim_world.ts"

const hourMs = 3_600_000
/** Streams at once: active segments are always admitted, so that more of them than fit the smallest budget prove nothing. */
const streamsMax = 8
const openLimitMs = 12 * hourMs
/** No process lives longer. */
const sessionLimitMs = 60 * 24 * hourMs

/** Runs one session in the world; gives what was wrong. `wasClosed`: the store was closed in order before. */
export const runSession = (world: SimWorld, session: SimSession, wasClosed: boolean): string | undefined => {
  world.loop.nowMs += session.pauseMs
  world.loop.wallMs += session.clockMs
  for (const endAt of session.openingCuts) {
    const fault = runOpening(world, session, { endAt })
    if (fault !== undefined) return fault
  }
  if (session.failedOpening > 0) {
    const fault = runOpening(world, session, { failAt: session.failedOpening })
    if (fault !== undefined) return fault
  }
  world.startProcess(session.endAt, session.endKind)
  for (const { afterMs, byMs } of session.clockJumps) world.loop.later(afterMs, () => world.moveClock(byMs))
  const process = new SimProcess(world)
  const wasQuiet = wasClosed && session.openingCuts.length === 0 && session.failedOpening === 0
  const fault = runMain(world, process, sessionMain(process, session, wasQuiet))
  const hasDied = !world.isAlive
  world.bury(hasDied && session.end === "close" ? "kill" : session.end, session.keep)
  return fault
}

/**
 * An opening that does not come to its end: the power is cut at `endAt`, or the disk fails at `failAt`, which the process is told, or does
 * without; then it has given everything back when it ends.
 */
const runOpening = (
  world: SimWorld,
  session: SimSession,
  { endAt = 0, failAt = 0 }: { readonly endAt?: number; readonly failAt?: number },
): string | undefined => {
  world.hasFaults = false
  world.startProcess(endAt)
  world.failAt = failAt
  const process = new SimProcess(world)
  const main = Effect.gen(function* () {
    const opening: Effect.Effect<unknown, AofError, SimServices> =
      failAt > 0 ? Effect.result(process.open) : process.open
    yield* process.within("an opening", openLimitMs, opening)
    yield* Effect.sleep(50)
    world.die()
  })
  const fault = runMain(world, process, main)
  world.die()
  world.bury(failAt > 0 ? "kill" : "cut", session.keep)
  return fault
}

/** Runs the main fiber of a process to its end, or to that of the process; gives what was wrong. */
export const runMain = (
  world: SimWorld,
  process: SimProcess,
  main: Effect.Effect<void, SimViolation, SimServices>,
): string | undefined => {
  let outcome: { readonly fault: string | undefined } | undefined
  const watched = Effect.matchCause(main, {
    onFailure: (cause) => {
      const violation = cause.reasons.find((one) => one._tag === "Fail")
      const defect = cause.reasons.find((one) => one._tag === "Die")
      const died =
        defect?._tag === "Die" ? `died: ${(defect.defect as Error)?.stack ?? String(defect.defect)}` : "ended"
      outcome = { fault: violation?._tag === "Fail" ? violation.error.message : died }
    },
    onSuccess: () => {
      outcome = { fault: undefined }
    },
  })
  world.fork(watched)
  const isOver = (): boolean => outcome !== undefined || !world.isAlive || process.violation !== undefined
  const end = world.loop.run(isOver, world.loop.nowMs + sessionLimitMs)
  if (process.violation !== undefined) return process.violation
  if (end !== "done") {
    const waiting = [...process.pending.values()].slice(0, 5).join(", ")
    return `the process is ${end}; waiting are: ${waiting || "nobody but its main fiber"}`
  }
  return world.isAlive ? outcome?.fault : undefined
}

const sessionMain = (
  process: SimProcess,
  session: SimSession,
  wasClosed: boolean,
): Effect.Effect<void, SimViolation, SimServices> =>
  Effect.gen(function* () {
    const { world } = process
    world.hasFaults = false
    const manager = yield* process.within("opening", openLimitMs, process.open)
    yield* verifyStore(process, manager, wasClosed)
    if (!world.isAlive || process.violation !== undefined) return
    yield* openStreams(process, manager)
    world.hasFaults = session.hasFaults
    process.hadFaults = session.hasFaults
    process.hadDiskFaults = session.hasFaults && world.plan.diskFaults.length > 0
    for (const step of session.steps) {
      yield* runStep(process, manager, step)
      if (!world.isAlive || process.violation !== undefined) return
    }
    if (session.end === "kill" && session.closesFirst) yield* closeAmidFaults(process, manager)
    if (session.end !== "close") return world.die()
    world.hasFaults = false
    yield* quiesce(process, manager)
  })

/** A process that is told to end while the disk still fails closes as well as it can: in time, and with what it may fail with. */
const closeAmidFaults = (process: SimProcess, manager: AofManager): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    process.isClosing = true
    for (const stream of process.streams) {
      stream.isClosing = true
      for (const one of stream.follows) one.stop()
    }
    const closed = yield* process.within("closing amid faults", closeTimeoutMs + 10, Effect.result(manager.close()))
    if (closed._tag === "Success" || (closed.failure._tag === "Unavailable" && process.hadFaults)) return
    yield* Effect.fail(new SimViolation(`closing amid faults failed: ${closed.failure.message}`))
  })

const streamOptions = (plan: SimStreamPlan): StreamOptions => ({
  ...(plan.segmentBytes === undefined ? {} : { segmentBytes: plan.segmentBytes }),
  ...(plan.tier0BytesMax === undefined ? {} : { tier0BytesMax: plan.tier0BytesMax }),
  ...(plan.retentionBytes === undefined && plan.retentionMs === undefined
    ? {}
    : { retention: { bytes: plan.retentionBytes, ageMs: plan.retentionMs } }),
})

const planOf = (process: SimProcess, stream: { readonly tag: number }): SimStreamPlan => {
  const { streams } = process.world.plan
  return streams[(stream.tag - 1) % streams.length] as SimStreamPlan
}

const addStream = (process: SimProcess, name: string): ModelStream => {
  const { model, plan } = process.world
  const own = plan.streams[model.streams.length % plan.streams.length] as SimStreamPlan
  const trimsItself = own.retentionBytes !== undefined || own.retentionMs !== undefined
  return model.add(name, { trimsItself, segmentBytes: own.segmentBytes })
}

/** Opens the streams that are there, and in the first process makes those of the plan. */
const openStreams = (process: SimProcess, manager: AofManager): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { model, plan } = process.world
    if (model.streams.length === 0) for (const at of plan.streams.keys()) addStream(process, `s${at}`)
    for (const stream of model.present) {
      const opened = manager.stream(stream.name, streamOptions(planOf(process, stream)))
      const aof = yield* process.within(`opening ${stream.name}`, hourMs, opened)
      if (aof === undefined || !process.world.isAlive) return
      stream.isCreated = true
      process.streams.push(makeOpen(stream, aof))
    }
  })

const makeOpen = (model: ModelStream, aof: OpenStream["aof"]): OpenStream => ({
  model,
  aof,
  isClosing: false,
  durable: 0,
  written: 0,
  follows: [],
  extId: model.entries.reduce((most, { extId }) => Math.max(most, extId), 0),
})

/** One step, and the pause behind it. */
const runStep = (process: SimProcess, manager: AofManager, step: SimStep): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { world } = process
    const random = new SimRandom(step.seed, 7)
    world.counts.steps++
    const open = process.streams.filter((stream) => !stream.isClosing)
    const stream = open[random.below(Math.max(1, open.length))]
    world.trace.note(world.loop.nowMs, "step", step.kind, stream?.model.name ?? "")
    if (step.kind === "newStream" || stream === undefined) newStream(process, manager, random)
    else if (step.kind === "deleteStream") deleteStream(process, manager, stream)
    else if (step.kind === "closeStream") yield* closeStream(process, manager, stream)
    else if (step.kind === "sleep") yield* sleep(process, random.pick([1, 20, 500, 30_000]))
    else if (step.kind === "drain") yield* drainSome(process)
    else (appendSteps[step.kind] ?? readSteps[step.kind])?.(process, stream, random)
    for (const one of process.streams) process.violate(watermarksFault(one))
    const pause = random.below(10)
    if (pause < 4) return
    if (pause < 8) for (let turns = random.between(1, 6); turns > 0; turns--) yield* Effect.yieldNow
    else yield* Effect.sleep(random.below(20))
  })

/** Longer than a watermark waits before it is written, whatever goes on. */
const restMs = 5000

/** Lets time pass. On a disk that has neither failed nor been slow, a kill takes away no watermark that was set before. */
const sleep = (process: SimProcess, forMs: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const set = process.streams.map((stream) => ({ stream, value: stream.model.watermark }))
    yield* Effect.sleep(forMs)
    const mayBeSlow = process.hadFaults && process.world.plan.slowDisk > 0
    if (forMs < restMs || process.hadDiskFaults || mayBeSlow || process.world.model.isFrozen) return
    for (const { stream, value } of set) if (!stream.isClosing) stream.model.sureOf("written", value)
  })

/** Waits for what was begun, but not for ever: faults may keep it. */
const drainSome = (process: SimProcess): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let pauseMs = 1; process.pending.size > 0 && pauseMs < 3000; pauseMs *= 2) yield* Effect.sleep(pauseMs)
  })

const watermarksFault = (stream: OpenStream): string | undefined => {
  if (stream.isClosing) return undefined
  const { buffered, written, durable } = stream.aof.info().watermarks
  const where = `stream ${stream.model.name}: watermarks ${durable} durable, ${written} written, ${buffered} buffered`
  if (durable > written || written > buffered) return `${where}: out of order`
  if (durable < stream.durable || written < stream.written) {
    return `${where}: they were ${stream.durable} and ${stream.written}`
  }
  stream.durable = durable
  stream.written = written
  const acked = stream.model.entries.findLast((entry) => entry.level === "durable" && !entry.isLost && entry.id > 0)
  if (acked !== undefined && acked.id > durable) return `${where}: ${acked.id} was acknowledged as durable`
  return undefined
}

const newStream = (process: SimProcess, manager: AofManager, random: SimRandom): void => {
  const { model } = process.world
  const gone = model.streams.filter((one) => one.isDeleted && !model.present.some(({ name }) => name === one.name))
  const name = gone.length > 0 && random.chance(0.6) ? random.pick(gone).name : `s${model.streams.length}`
  if (model.streams.some((one) => one.name === name && !one.isDeleted)) return
  if (model.isFrozen || model.present.length >= streamsMax) return
  const stream = addStream(process, name)
  process.begin(`making ${name}`, manager.stream(name, streamOptions(planOf(process, stream))), {
    onDone: (aof) => {
      stream.isCreated = true
      process.streams.push(makeOpen(stream, aof))
      return undefined
    },
    isAllowed: (error: AofError) => process.allowsMaking(error),
    onFail: () => {
      // It may be there at the next opening.
      stream.isDeleteAsked = true
    },
  })
}

const deleteStream = (process: SimProcess, manager: AofManager, stream: OpenStream): void => {
  stream.isClosing = true
  if (!process.world.model.isFrozen) stream.model.isDeleteAsked = true
  for (const one of stream.follows) one.stop()
  process.begin(`deleting ${stream.model.name}`, manager.deleteStream(stream.model.name), {
    onDone: () => {
      stream.model.isDeleted = true
      if (process.isClosing) return undefined
      return manager.streams().includes(stream.model.name)
        ? `${stream.model.name} is there after its deletion`
        : undefined
    },
    isAllowed: (error) => process.allowsMaking(error),
  })
}

/** Closes a stream and opens it again, while others go on. */
const closeStream = (process: SimProcess, manager: AofManager, stream: OpenStream): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { model } = stream
    stream.isClosing = true
    for (const one of stream.follows) one.stop()
    const closed = yield* Effect.result(stream.aof.close())
    if (closed._tag === "Failure" && !process.allows(stream, closed.failure)) {
      return yield* Effect.fail(new SimViolation(`closing ${model.name} failed: ${closed.failure.message}`))
    }
    yield* process.drain(24 * hourMs, ` ${model.name}`)
    const opening = manager.stream(model.name, streamOptions(planOf(process, model)))
    let opened = yield* Effect.result(opening)
    for (let tries = 0; opened._tag === "Failure" && process.hadFaults && tries < 20; tries++) {
      yield* Effect.sleep(100)
      if (tries === 10) process.world.hasFaults = false
      opened = yield* Effect.result(opening)
    }
    if (opened._tag === "Failure") {
      return yield* Effect.fail(new SimViolation(`opening ${model.name} again failed: ${opened.failure.message}`))
    }
    const hadFaults = process.world.hasFaults
    process.world.hasFaults = false
    yield* verifyStream(process, opened.success, model, closed._tag === "Success" ? "all" : "written")
    process.world.hasFaults = hadFaults
    process.streams.splice(process.streams.indexOf(stream), 1, makeOpen(model, opened.success))
  })
