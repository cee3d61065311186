/**
 * A medium that has changed bytes by itself: a flipped bit, a write that was acknowledged and never done, or done elsewhere. Where there was
 * one copy its records may be lost, but never other bytes read for them, nothing else may be touched, and the store opens and goes on.
 */
import * as Effect from "effect/Effect"
import type { Aof, AofError } from "../../api/effect.ts"
import { segmentIndexOf } from "../../model/record_id.ts"
import { type ModelEntry, type ModelStream, payloadBytesMin, payloadOf } from "./sim_model.ts"
import { SimProcess, SimViolation } from "./sim_process.ts"
import { SimRandom } from "./sim_random.ts"
import { Reading } from "./sim_reading.ts"
import { runMain } from "./sim_session.ts"
import type { NotedWrite, SimWorld } from "./sim_world.ts"

const limitMs = 3_600_000

/** Damages the disk of a closed store and looks at what is left; gives what is wrong, and the files that were hit. */
export const runDamaged = (
  world: SimWorld,
): { readonly fault: string | undefined; readonly hit: ReadonlyArray<string> } => {
  const hit = damage(world)
  world.trace.note(world.loop.nowMs, "damaged", ...hit)
  world.startProcess(0)
  const process = new SimProcess(world)
  const fault = runMain(world, process, checkDamaged(process, hit))
  world.bury("close", "nothing")
  return { fault, hit }
}

/** Changes bytes; returns the files that are not what they should be. */
const damage = (world: SimWorld): ReadonlyArray<string> => {
  const { plan, disk } = world
  const random = new SimRandom(plan.seed, 8)
  const isHit = (path: string): boolean => /\/(?:segments|warm)\/\d+\.seg/.test(path)
  const files = disk.paths().filter((path) => isHit(path) && (disk.contentOf(path)?.length ?? 0) > 0)
  if (files.length === 0) return []
  if (plan.damage === "bitFlip") return [flipBit(world, random.pick(files), random)]
  const done = world.notedWrites.filter((write) => isThere(world, write))
  if (done.length === 0) return []
  const write = random.pick(done)
  disk.damage(write.path, write.position, write.before)
  world.countDamage(plan.damage)
  if (plan.damage === "lostWrite") return [write.path]
  const target = random.pick(files)
  const size = disk.contentOf(target)?.length ?? 0
  if (size < write.content.length) return [write.path]
  disk.damage(target, random.below(size - write.content.length + 1), write.content)
  return [write.path, target]
}

/** The bytes of the write are where it put them, and what was there before had the same length. */
const isThere = (world: SimWorld, { path, position, before, content }: NotedWrite): boolean => {
  const now = world.disk.contentOf(path)?.subarray(position, position + content.length)
  return now !== undefined && now.length === content.length && before.length === content.length
}

const flipBit = (world: SimWorld, path: string, random: SimRandom): string => {
  const bytes = world.disk.contentOf(path) ?? new Uint8Array(0)
  const at = random.below(bytes.length)
  world.disk.damage(path, at, Uint8Array.of((bytes[at] ?? 0) ^ (1 << random.below(8))))
  world.countDamage("bitFlip")
  return path
}

const checkDamaged = (process: SimProcess, hit: ReadonlyArray<string>): Effect.Effect<void, SimViolation, never> =>
  Effect.gen(function* () {
    const manager = yield* process.within("opening a damaged store", limitMs, process.open)
    for (const stream of process.world.model.streams) {
      if (stream.isDeleted) continue
      const opened = manager.stream(stream.name, { create: false })
      const aof = yield* process.within(`opening ${stream.name}`, limitMs, opened)
      yield* checkEntries(process, { stream, aof, hit })
      if (process.violation !== undefined) return
      yield* goOn(process, stream, aof)
    }
    yield* process.within("closing", limitMs, manager.close())
    yield* process.leave
  }) as Effect.Effect<void, SimViolation, never>

/** Every record of a stream is there as it was, or its segment was hit and an error says so. */
export const checkEntries = (
  process: SimProcess,
  one: { readonly stream: ModelStream; readonly aof: Aof; readonly hit: ReadonlyArray<string> },
): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { stream, aof } = one
    const hitIndexes = one.hit.flatMap((path) => indexOf(path, stream.name))
    for (const entry of stream.known()) {
      if (entry.id < stream.trimAsked) continue
      yield* checkEntry(process, { stream, aof, entry, hitIndexes })
      if (process.violation !== undefined) return
    }
  })

/** Indexes of the segments of a stream that `path` belongs to. */
export const indexOf = (path: string, name: string): ReadonlyArray<number> => {
  const found = /\/streams\/([^/]+)\/(?:segments|warm)\/(\d{10})\.seg/.exec(path)
  return found?.[1] === name ? [Number(found[2])] : []
}

/** A record is there as it was, or its segment was hit and an error says so. */
const checkEntry = (
  process: SimProcess,
  one: {
    readonly stream: ModelStream
    readonly aof: Aof
    readonly entry: ModelEntry
    readonly hitIndexes: ReadonlyArray<number>
  },
): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { stream, aof, entry, hitIndexes } = one
    const { model, plan } = process.world
    const got = yield* Effect.timeoutOption(Effect.result(aof.get(entry.id)), limitMs)
    const where = `stream ${stream.name}, damaged: get ${entry.id}`
    if (got._tag === "None") return yield* Effect.fail(new SimViolation(`${where} has not ended`))
    if (got.value._tag === "Success") {
      const what = `get ${entry.id} after damage`
      const reading = new Reading({
        model,
        stream,
        isNoise: plan.isNoise,
        isReverse: false,
        what,
        level: "none",
        isWhole: false,
      })
      return process.violate(reading.take(got.value.success))
    }
    const error: AofError = got.value.failure
    const index = segmentIndexOf(entry.id)
    // Behind a segment that is not sealed and damaged at its end nothing may be left to go by.
    const isHit = hitIndexes.some((each) => each === index || each === index - 1)
    const isSaid = error._tag === "Corrupt" || error._tag === "NotFound" || error._tag === "InvalidArgument"
    if (!isHit || !isSaid) process.violate(`${where} failed with ${error._tag}: ${error.message}`)
  })

const goOn = (process: SimProcess, stream: ModelStream, aof: Aof): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { plan } = process.world
    const extId = stream.entries.reduce((most, entry) => Math.max(most, entry.extId), 0)
    // Its own place in the model: what is behind the damage may be gone, and its number be given again.
    const entry = { index: stream.entries.length, bytes: payloadBytesMin }
    const payload = payloadOf(stream, entry, plan.isNoise)
    const append = aof.append(payload, { extId })
    const ack = yield* process.within(`append to the damaged ${stream.name}`, limitMs, append)
    const record = yield* process.within(`get of what was appended to ${stream.name}`, limitMs, aof.get(ack.recordId))
    if (record.bytes.some((byte, at) => byte !== payloadOf(stream, entry, plan.isNoise)[at])) {
      process.violate(`stream ${stream.name}: what was appended after damage reads as other bytes`)
    }
  })
