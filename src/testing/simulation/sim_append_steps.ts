/** Steps that put something into a stream, or ask for it to be surer. */
import * as Effect from "effect/Effect"
import type { AofError } from "../../api/effect.ts"
import { isAofError } from "../../model/errors.ts"
import { type ModelEntry, payloadBytesMin, payloadOf } from "./sim_model.ts"
import type { CallEnds, OpenStream, SimProcess } from "./sim_process.ts"
import type { SimRandom } from "./sim_random.ts"

/** Does one step with a stream of a process. */
export type Step = (process: SimProcess, stream: OpenStream, random: SimRandom) => void

const levels = ["buffered", "written", "durable", "durable", "durable"] as const

const nextEntry = (
  process: SimProcess,
  stream: OpenStream,
  random: SimRandom,
  { batch = 0, isWide = false }: { readonly batch?: number; readonly isWide?: boolean } = {},
): ModelEntry => {
  const { plan, model, counts } = process.world
  if (random.chance(0.3)) stream.extId += random.below(3)
  counts.records++
  const isLong = isWide || random.chance(0.2)
  const bytes = payloadBytesMin + random.below(isLong ? plan.payloadBytesMax : plan.payloadBytesMax / 2)
  return model.call(stream.model, bytes, stream.extId, batch)
}

/** A payload or batch that is too large for this segment or budget, which nobody has taken. */
const isTooLarge = (error: AofError): boolean =>
  error._tag === "InvalidArgument" && /bytes/.test(error.what) && typeof error.value === "number"

const failed = (process: SimProcess, stream: OpenStream, entries: ReadonlyArray<ModelEntry>): CallEnds => ({
  isAllowed: (error: AofError): boolean => isTooLarge(error) || process.allows(stream, error),
  onFail: (error: AofError): void => {
    for (const entry of [...entries].reverse()) {
      if (isTooLarge(error)) process.world.model.refuse(stream.model, entry)
      else entry.hasFailed = true
    }
  },
})

const append: Step = (process, stream, random) => {
  const { model, plan } = process.world
  const level = random.pick(levels)
  const entry = nextEntry(process, stream, random)
  const payload = payloadOf(stream.model, entry, plan.isNoise)
  const call = stream.aof.append(payload, { extId: entry.extId, level })
  process.begin(`append ${entry.index} ${level} to ${stream.model.name}`, call, {
    onDone: (ack) =>
      ack.level === level ? model.acknowledge(stream.model, entry, ack) : `acknowledged as ${ack.level}`,
    ...failed(process, stream, [entry]),
  })
  // The payload is the caller's again.
  payload.fill(0xee)
}

const batch: Step = (process, stream, random) => {
  const { model, plan } = process.world
  const level = random.pick(levels)
  const number = ++stream.model.batches
  // A wide one needs several frames, and is written in parts.
  const isWide = random.chance(0.4)
  const count = random.between(isWide ? 4 : 1, isWide ? 12 : random.pick([2, 4]))
  const entries = Array.from({ length: count }, () => nextEntry(process, stream, random, { batch: number, isWide }))
  const items = entries.map((entry) => ({
    payload: payloadOf(stream.model, entry, plan.isNoise),
    extId: entry.extId,
  }))
  const name = `batch ${number} of ${count} ${level} to ${stream.model.name}`
  process.begin(name, stream.aof.appendBatch(items, { level }), {
    onDone: ({ first, last, count: acked }) => {
      if (acked !== count) return `${name} acknowledged ${acked}`
      const faults = entries.map((entry, at) => {
        const recordId = at === 0 ? first.recordId : at === count - 1 ? last.recordId : 0
        return model.acknowledge(stream.model, entry, { recordId, recordNumber: first.recordNumber + at, level })
      })
      return faults.find((fault) => fault !== undefined)
    },
    ...failed(process, stream, entries),
  })
}

const tryAppend: Step = (process, stream, random) => {
  const { model, plan } = process.world
  const count = random.pick([1, 1, 3, 10])
  // One that does not wait would come before those that wait for room.
  if (stream.model.entries.some((entry) => entry.level === "none" && !entry.isLost && !entry.hasFailed)) return
  for (let one = 0; one < count; one++) {
    const entry = nextEntry(process, stream, random)
    const where = `tryAppend ${entry.index} to ${stream.model.name}`
    try {
      const recordId = stream.aof.tryAppend(payloadOf(stream.model, entry, plan.isNoise), entry.extId)
      if (recordId > 0) {
        const recordNumber = stream.aof.info().nextRecordNumber - 1
        process.violate(model.acknowledge(stream.model, entry, { recordId, recordNumber, level: "buffered" }))
        continue
      }
      model.refuse(stream.model, entry)
      if (recordId < -3 || recordId === 0) process.violate(`${where} gave ${recordId}`)
      process.begin(`ready of ${stream.model.name}`, stream.aof.ready(), {
        isAllowed: (error) => process.allows(stream, error),
      })
    } catch (error) {
      model.refuse(stream.model, entry)
      if (!isAofError(error)) throw error
      if (!isTooLarge(error) && !process.allows(stream, error)) process.violate(`${where} threw ${error.message}`)
    }
    return
  }
}

/** An append whose caller stops waiting: it is there or not, but nothing else changes. */
const interrupt: Step = (process, stream, random) => {
  const { model, plan, loop } = process.world
  const entry = nextEntry(process, stream, random)
  const call = stream.aof.append(payloadOf(stream.model, entry, plan.isNoise), { extId: entry.extId })
  const fiber = process.begin(`interrupted append ${entry.index} to ${stream.model.name}`, call, {
    onDone: (ack) => model.acknowledge(stream.model, entry, ack),
    ...failed(process, stream, [entry]),
  })
  loop.later(random.pick([0, 0.1, 3, 50]), () => {
    entry.hasFailed = true
    fiber.interruptUnsafe()
  })
}

const flush: Step = (process, stream) => {
  const { model } = process.world
  const asked = stream.model.known().filter((entry) => entry.level !== "durable")
  const { watermark: set } = stream.model
  process.begin(`flush of ${stream.model.name}`, stream.aof.flush(), {
    onDone: () => {
      if (!model.isFrozen) stream.model.sureOf("durable", set)
      for (const entry of asked) {
        const { id: recordId, number: recordNumber } = entry
        const fault = model.acknowledge(stream.model, entry, { recordId, recordNumber, level: "durable" })
        if (fault !== undefined) return fault
      }
      return undefined
    },
    isAllowed: (error) => process.allows(stream, error),
  })
}

const durable: Step = (process, stream, random) => {
  const { model } = process.world
  const known = stream.model.known().filter((entry) => entry.id >= stream.model.trimAsked)
  if (known.length === 0) return
  const entry = random.pick(known.slice(-20))
  process.begin(`durable ${entry.id} of ${stream.model.name}`, stream.aof.durable(entry.id), {
    onDone: (ack) =>
      ack.recordId === entry.id ? model.acknowledge(stream.model, entry, ack) : `acknowledged ${ack.recordId}`,
    isAllowed: (error) => process.allows(stream, error),
  })
}

const seal: Step = (process, stream) => {
  const { watermark: set } = stream.model
  process.begin(`seal of ${stream.model.name}`, stream.aof.seal(), {
    onDone: () => {
      if (!process.world.model.isFrozen) stream.model.sureOf("durable", set)
      return undefined
    },
    isAllowed: (error) => process.allows(stream, error),
  })
}

const trim: Step = (process, stream, random) => {
  const { model } = stream
  if (model.plan.trimsItself) return
  const known = model.known().filter((entry) => entry.id >= model.trimAsked && entry.level === "durable")
  if (known.length === 0) return
  // Mostly only a part, so that something is left.
  const entry = known[random.below(random.chance(0.8) ? Math.ceil(known.length / 2) : known.length)] as ModelEntry
  if (!process.world.model.isFrozen) model.trimAsked = Math.max(model.trimAsked, entry.id)
  process.begin(`trim ${entry.id} of ${model.name}`, stream.aof.trim({ before: entry.id }), {
    onDone: () => {
      model.trimAcked = Math.max(model.trimAcked, entry.id)
      return checkTrimmed(stream)
    },
    isAllowed: (error) => process.allows(stream, error),
  })
}

const checkTrimmed = (stream: OpenStream): string | undefined => {
  if (stream.isClosing) return undefined
  const { firstId } = stream.aof.info()
  const { trimAcked, name } = stream.model
  return firstId > 0 && firstId < trimAcked ? `stream ${name} begins at ${firstId}, trimmed to ${trimAcked}` : undefined
}

const watermark: Step = (_, stream) => {
  stream.model.watermark += 1
  try {
    stream.aof.setCoordinatorWatermark(stream.model.watermark)
  } catch (error) {
    if (!isAofError(error) || !(error._tag === "Closed" && stream.isClosing)) throw error
  }
}

const event: Step = (process, stream, random) => {
  const { manager } = process
  if (manager === undefined) return
  const call = Effect.suspend(() => manager.customEvent(random.below(1000), new Uint8Array(random.below(200))))
  process.begin("customEvent", call, { isAllowed: (error) => process.allows(stream, error) })
}

/** By name. */
export const appendSteps: Readonly<Record<string, Step>> = {
  append,
  batch,
  tryAppend,
  interrupt,
  flush,
  durable,
  seal,
  trim,
  watermark,
  event,
}
