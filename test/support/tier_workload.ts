// A run that moves segments through all tiers while records come in: streams with appends and batches that do not compress, seals,
// evictions of both tiers, prefetches, readers, scans, cold gets, trims, retention by bytes, and a stream that is made, moved to Tier
// 2 and deleted. Notes in the model what it asks and gets, like `crash_workload.ts`.

import type { Aof } from "../../src/api/aof.ts"
import type { AofManager } from "../../src/api/manager.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import { type ModelRecord, ModelStream, randomOf, type StreamMoment } from "./crash_model.ts"

/** Budgets that a run of some hundred records exceeds in each tier; the store's objects are on the same disk. */
export const tierOptions: AofManagerOptions = {
  root: "/store",
  segmentBytes: 8192,
  stagingBytes: 4096,
  preallocateBytesMax: 8192,
  flushIntervalMs: 5,
  tier0: { bytesMax: 64 * 1024 },
  tier1: { bytesMax: 64 * 1024, frameBytes: 4096, residencyMsMin: 0, level: 1, retryBackoffMs: 1, retriesMax: 5 },
  tier2: {
    store: { directory: "/cold" },
    deleteGraceMs: 0,
    headIntervalMs: 0,
    upload: "eager",
    retry: { maxAttempts: 2, baseDelayMs: 1 },
  },
}

/** Bytes that hardly compress, the same for the same beginning. */
export const noise = (text: string, bytes: number): string => {
  const next = randomOf(text.split("").reduce((sum, one) => (Math.imul(sum, 31) + one.charCodeAt(0)) | 0, 7))
  let all = text
  while (all.length < bytes) all += String.fromCharCode(33 + next(90))
  return all
}

/** One stream with its notes, and all that can be done with its segments. */
export class TierActor {
  readonly model: ModelStream
  readonly stream: Aof
  readonly pending: Array<Promise<unknown>> = []
  readonly #next: (limit: number) => number
  readonly #manager: AofManager
  /** What calls that move or read segments may fail with. */
  readonly #tolerated: ReadonlyArray<string>
  #batches = 0
  #extId = 0

  constructor(
    model: ModelStream,
    stream: Aof,
    seed: number,
    { manager, tolerated }: { readonly manager: AofManager; readonly tolerated: ReadonlyArray<string> },
  ) {
    this.model = model
    this.stream = stream
    this.#next = randomOf(seed + 7)
    this.#manager = manager
    this.#tolerated = tolerated
    this.#extId = model.records.reduce((most, one) => Math.max(most, one.extId), 0)
    this.#batches = model.records.reduce((most, one) => Math.max(most, one.batch), 0)
  }

  /** One step of the run; `trims` is false for a stream that its retention trims. */
  async move(trims: boolean): Promise<void> {
    const kind = this.#next(24)
    if (kind < 5) for (let one = 0; one < 4; one++) this.append("durable", 700 + this.#next(900))
    else if (kind < 7) this.append("written", this.#next(1500))
    else if (kind < 10) this.batch(1 + this.#next(4), this.#next(900))
    else if (kind < 12) this.pending.push(this.stream.seal())
    else if (kind < 14)
      this.pending.push(this.#tolerate(this.stream.evict({ to: this.#next(2) === 0 ? "tier1" : "tier2" })))
    else if (kind < 16) this.pending.push(this.#prefetch())
    else if (kind < 17) this.pending.push(this.#tolerate(this.#scan()))
    else if (kind < 19) this.pending.push(this.#get())
    else if (kind < 21) this.pending.push(this.#openReader())
    else if (kind < 22 && trims) await this.trim()
    else if (kind < 23) await this.#manager.settled()
    if (this.#next(3) === 0) await this.drain()
  }

  append(level: "written" | "durable", bytes: number): void {
    const record = this.#note(bytes, 0)
    const count = this.model.records.length
    const ack = this.stream.append(record.payload, { extId: record.extId, level })
    this.pending.push(ack.then((one) => this.#acked(record, count, level, one)))
  }

  batch(members: number, bytes: number): void {
    const batch = ++this.#batches
    const records = Array.from({ length: members }, () => this.#note(bytes, batch))
    const count = this.model.records.length
    const ack = this.stream.appendBatch(records.map(({ payload, extId }) => ({ payload, extId })))
    this.pending.push(ack.then(({ last }) => this.#acked(records.at(-1)!, count, "durable", last)))
  }

  /** Trims to a record somewhere in the durable part. */
  async trim(): Promise<void> {
    const { model } = this
    const number = model.trimAsked + this.#next(Math.max(1, model.durable - model.trimAsked))
    const record = model.records[number]
    if (record === undefined || record.id <= 0 || number >= model.durable) return
    model.trimAsked = Math.max(model.trimAsked, number)
    await this.#tolerate(
      this.stream.trim({ before: record.id }).then(() => {
        model.trimAcked = Math.max(model.trimAcked, number)
      }),
    )
  }

  async #tolerate(run: Promise<unknown>): Promise<void> {
    try {
      await run
    } catch (error) {
      if (!this.#tolerated.includes((error as { _tag?: string })._tag ?? "")) throw error
    }
  }

  #note(bytes: number, batch: number): ModelRecord {
    const { records, name } = this.model
    this.#extId += this.#next(2)
    const record: ModelRecord = {
      payload: noise(`${name}-${records.length}-`, bytes),
      extId: this.#extId,
      batch,
      id: 0,
    }
    records.push(record)
    return record
  }

  /** `count` records were there when the call was made, this one the last of them. */
  #acked(
    record: ModelRecord,
    count: number,
    level: "written" | "durable",
    ack: { readonly recordId: number; readonly recordNumber: number },
  ): void {
    if (ack.recordNumber !== count - 1) throw new Error(`record ${count - 1} was acknowledged as ${ack.recordNumber}`)
    record.id = ack.recordId
    const { model } = this
    model.written = Math.max(model.written, count)
    if (level === "durable") model.durable = Math.max(model.durable, count)
  }

  /** Waits for all that was begun. */
  async drain(): Promise<void> {
    await Promise.all(this.pending.splice(0))
  }

  /** Moves everything that is sealed to Tier 2. */
  leave(): Promise<void> {
    return this.#tolerate(this.stream.evict({ to: "tier2" }))
  }

  #segment(): number | undefined {
    const sealed = this.stream.segments().filter((one) => one.state === "sealed")
    return sealed[this.#next(Math.max(1, sealed.length))]?.index
  }

  #prefetch(): Promise<void> {
    const from = this.#segment()
    if (from === undefined) return Promise.resolve()
    return this.#tolerate(
      this.stream.prefetch({ from, count: 1 + this.#next(3), to: this.#next(2) ? "tier0" : "tier1" }),
    )
  }

  async #scan(): Promise<void> {
    let left = 1 + this.#next(30)
    for await (const _ of this.stream.read({ from: "start" })) if (--left === 0) break
  }

  #get(): Promise<void> {
    const record = this.model.records[this.#next(Math.max(1, this.model.durable))]
    if (record === undefined || record.id <= 0 || this.model.durable === 0) return Promise.resolve()
    return this.#tolerate(this.stream.get(record.id))
  }

  async #openReader(): Promise<void> {
    const index = this.#segment()
    if (index === undefined) return
    await this.#tolerate(
      this.stream.openReader(index).then(async (cursor) => {
        cursor.next()
        await new Promise((resolve) => setImmediate(resolve))
        cursor.close()
      }),
    )
  }
}

/** All that a run has noted. */
export class TierRun {
  readonly streams: Array<ModelStream> = []
  readonly #tolerated: ReadonlyArray<string>

  /** Records and segments may be trimmed while they are asked for; what else calls may fail with is said here. */
  constructor(tolerated: ReadonlyArray<string> = []) {
    this.#tolerated = ["NotFound", ...tolerated]
  }

  moments(): ReadonlyArray<StreamMoment> {
    return this.streams.map((stream) => stream.moment())
  }

  async open(manager: AofManager, name: string, seed: number, options = {}): Promise<TierActor> {
    let model = this.streams.find((one) => one.name === name && !one.isDeleteAsked)
    if (model === undefined) {
      model = new ModelStream(name)
      this.streams.push(model)
    }
    const stream = await this.#opened(() => manager.stream(name, options))
    model.isCreated = true
    return new TierActor(model, stream, seed, { manager, tolerated: this.#tolerated })
  }

  /** What is looked at to open a stream may fail a few times, as all else. */
  async #opened(open: () => Promise<Aof>): Promise<Aof> {
    for (let tries = 1; ; tries++) {
      try {
        return await open()
      } catch (error) {
        const tag = (error as { _tag?: string })._tag ?? ""
        if (tries === 5 || tag === "NotFound" || !this.#tolerated.includes(tag)) throw error
      }
    }
  }

  /** Runs `steps` steps on each of three streams at once, with a fourth that comes and goes. */
  async work(manager: AofManager, seed: number, steps: number): Promise<void> {
    const small = await this.open(manager, "small", seed)
    const wide = await this.open(manager, "wide", seed + 1, { segmentBytes: 16_384 })
    const kept = await this.open(manager, "kept", seed + 2, { retention: { bytes: 24 * 1024 } })
    // Its retention may trim whatever is there.
    kept.model.trimAsked = Number.POSITIVE_INFINITY
    const all = async (actor: TierActor, count: number, trims: boolean): Promise<void> => {
      for (let step = 0; step < count; step++) await actor.move(trims)
      await actor.drain()
    }
    await Promise.all([
      all(small, steps, true),
      all(wide, steps, true),
      all(kept, steps >> 1, false),
      this.#third(manager, seed),
    ])
  }

  async #third(manager: AofManager, seed: number): Promise<void> {
    const name = `third-${seed}`
    const actor = await this.open(manager, name, seed + 3)
    for (let step = 0; step < 6; step++) actor.append("durable", 1200)
    await actor.drain()
    await actor.stream.seal()
    await actor.leave()
    actor.append("durable", 1200)
    await actor.drain()
    actor.model.isDeleteAsked = true
    await manager.deleteStream(name)
    actor.model.isDeleted = true
  }
}
