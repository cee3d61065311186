// A short run with everything in it that moves bytes: two streams with appends at all levels, batches of one and of several frames,
// rollovers, seals, trims, quiet moments, and a third stream that is made and deleted. Notes in the model what it asks and gets.

import type { Aof } from "../../src/api/aof.ts"
import type { AofManager } from "../../src/api/manager.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import { type ModelRecord, ModelStream, randomOf, type StreamMoment } from "./crash_model.ts"

/** Small sizes, so that a short run meets every step. */
export const workloadOptions: AofManagerOptions = {
  root: "/store",
  segmentBytes: 8192,
  stagingBytes: 4096,
  preallocateBytesMax: 8192,
  flushIntervalMs: 5,
}

const largeSegmentBytes = 224 * 1024

/** One stream with its notes. */
export class Actor {
  readonly model: ModelStream
  readonly stream: Aof
  readonly #random: (limit: number) => number
  #batches = 0
  #extId = 0
  readonly pending: Array<Promise<unknown>> = []

  constructor(model: ModelStream, stream: Aof, seed: number) {
    this.model = model
    this.stream = stream
    this.#random = randomOf(seed)
    this.#extId = model.records.reduce((most, one) => Math.max(most, one.extId), 0)
    this.#batches = model.records.reduce((most, one) => Math.max(most, one.batch), 0)
  }

  /** One step of the run; `isLarge` lets batches have several frames. */
  async step(isLarge: boolean): Promise<void> {
    const kind = this.#random(20)
    if (kind < 6) this.append("durable", this.#random(400))
    else if (kind < 8) this.append("written", this.#random(900))
    else if (kind < 9) this.append("buffered", this.#random(200))
    else if (kind < 12) this.tryAppend(this.#random(1200))
    else if (kind < 15) this.batch(1 + this.#random(5), this.#random(300))
    else if (kind < 16 && isLarge) this.batch(3, 30_000)
    else if (kind < 17) this.pending.push(this.stream.seal())
    else if (kind < 18) await this.trim()
    else if (kind < 19) await new Promise((resolve) => setTimeout(resolve, 13))
    else await Promise.all(this.pending.splice(0))
    if (this.#random(3) === 0) await Promise.all(this.pending.splice(0))
  }

  append(level: "buffered" | "written" | "durable", bytes: number): void {
    const [record, number] = this.#note(bytes, 0)
    const ack = this.stream.append(record.payload, { extId: record.extId, level })
    this.pending.push(
      ack.then(({ recordId, recordNumber }) => this.#acked([record], number, level, [recordId, recordNumber])),
    )
  }

  tryAppend(bytes: number): void {
    const [record] = this.#note(bytes, 0)
    record.id = this.stream.tryAppend(record.payload, record.extId)
    if (record.id > 0) return
    this.model.records.pop()
    this.pending.push(this.stream.ready())
  }

  batch(count: number, bytes: number): void {
    const batch = ++this.#batches
    const notes = Array.from({ length: count }, () => this.#note(bytes, batch))
    const records = notes.map(([record]) => record)
    const level = this.#random(3) === 0 ? "written" : "durable"
    const items = records.map(({ payload, extId }) => ({ payload, extId }))
    const ack = this.stream.appendBatch(items, { level })
    const number = notes.at(-1)![1]
    this.pending.push(ack.then(({ last }) => this.#acked(records, number, level, [last.recordId, last.recordNumber])))
  }

  /** Trims to a record somewhere in the durable part. */
  async trim(): Promise<void> {
    const { model } = this
    const number = model.trimAsked + this.#random(Math.max(1, model.durable - model.trimAsked))
    const record = model.records[number]
    if (record === undefined || record.id <= 0 || number >= model.durable) return
    model.trimAsked = Math.max(model.trimAsked, number)
    await this.stream.trim({ before: record.id })
    model.trimAcked = Math.max(model.trimAcked, number)
  }

  #note(bytes: number, batch: number): readonly [ModelRecord, number] {
    const number = this.model.records.length
    if (this.#random(2) === 0) this.#extId += this.#random(3)
    const payload = `${this.model.name}-${number}-`.padEnd(bytes, "abcdefghijklmnop")
    const record: ModelRecord = { payload, extId: this.#extId, batch, id: 0 }
    this.model.records.push(record)
    return [record, number]
  }

  #acked(
    records: ReadonlyArray<ModelRecord>,
    number: number,
    level: "buffered" | "written" | "durable",
    [recordId, recordNumber]: readonly [number, number],
  ): void {
    if (recordNumber !== number) throw new Error(`record ${number} was acknowledged as ${recordNumber}`)
    records.at(-1)!.id = recordId
    const { model } = this
    if (level !== "buffered") model.written = Math.max(model.written, number + 1)
    if (level === "durable") model.durable = Math.max(model.durable, number + 1)
  }
}

/** All that a run has noted. */
export class Run {
  readonly streams: Array<ModelStream> = []

  moments(): ReadonlyArray<StreamMoment> {
    return this.streams.map((stream) => stream.moment())
  }

  async open(manager: AofManager, name: string, seed: number, segmentBytes?: number): Promise<Actor> {
    let model = this.streams.find((one) => one.name === name && !one.isDeleteAsked)
    if (model === undefined) {
      model = new ModelStream(name)
      this.streams.push(model)
    }
    const stream = await manager.stream(name, segmentBytes === undefined ? {} : { segmentBytes })
    model.isCreated = true
    return new Actor(model, stream, seed)
  }

  async delete(manager: AofManager, actor: Actor): Promise<void> {
    actor.model.isDeleteAsked = true
    await manager.deleteStream(actor.model.name)
    actor.model.isDeleted = true
  }

  /** Runs `steps` steps on each of two streams at once, with a third that comes and goes. */
  async work(manager: AofManager, seed: number, steps: number): Promise<void> {
    const small = await this.open(manager, "small", seed)
    const large = await this.open(manager, "large", seed + 1, largeSegmentBytes)
    const third = async (): Promise<void> => {
      const name = `third-${seed}`
      const actor = await this.open(manager, name, seed + 2)
      for (let step = 0; step < 4; step++) actor.append("durable", 50)
      await Promise.all(actor.pending.splice(0))
      await this.delete(manager, actor)
    }
    const all = async (actor: Actor, isLarge: boolean): Promise<void> => {
      for (let step = 0; step < steps; step++) await actor.step(isLarge)
      await Promise.all(actor.pending.splice(0))
    }
    await Promise.all([all(small, false), all(large, true), third()])
  }
}
