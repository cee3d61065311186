// What a store must hold after any end: every append is noted before the call, every acknowledgement when it comes, and a moment
// is what had been noted when the power was cut. `check` compares a reopened store with it.

import { expect } from "bun:test"
import type { Aof } from "../../src/api/aof.ts"
import { type AofManager, openWith, type RuntimeLayer } from "../../src/api/manager.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"

/** A record in the order of the calls, which is the order of record numbers. */
export interface ModelRecord {
  readonly payload: string
  readonly extId: number
  /** Records with the same number above 0 are there together or not at all. */
  readonly batch: number
  /** Once it is known. */
  id: number
}

/** What is known of one stream from its creation to its deletion. */
export class ModelStream {
  readonly name: string
  readonly records: Array<ModelRecord> = []
  /** Record numbers up to which everything was acknowledged. */
  durable = 0
  written = 0
  /** First record number that is left, as asked for and as acknowledged. */
  trimAsked = 0
  trimAcked = 0
  isCreated = false
  isDeleteAsked = false
  isDeleted = false

  constructor(name: string) {
    this.name = name
  }

  /** What holds now; the records are shared, because they never change but for learning their ids. */
  moment(): StreamMoment {
    const { durable, written, trimAsked, trimAcked, isCreated, isDeleteAsked, isDeleted } = this
    const state = { durable, written, trimAsked, trimAcked, isCreated, isDeleteAsked, isDeleted }
    const idMax = this.records.reduce((most, one) => Math.max(most, one.id), 0)
    return { name: this.name, records: this.records, count: this.records.length, idMax, ...state }
  }
}

/** A stream at the moment of the end. */
export interface StreamMoment {
  readonly name: string
  readonly records: ReadonlyArray<ModelRecord>
  readonly count: number
  /** The highest id that the caller has seen. */
  readonly idMax: number
  readonly durable: number
  readonly written: number
  readonly trimAsked: number
  readonly trimAcked: number
  readonly isCreated: boolean
  readonly isDeleteAsked: boolean
  readonly isDeleted: boolean
}

/** What survives the end: synced bytes only, or all that was written. */
export type Survivors = "durable" | "written"

/** A stream as it was found. */
export interface Found {
  readonly first: number
  readonly ids: ReadonlyArray<number>
}

/** A seeded chance of `keep` in 16. */
export const chance = (seed: number, keep: number): (() => boolean) => {
  const next = randomOf(seed)
  return () => next(16) < keep
}

/** Seeded integers below a limit. */
export const randomOf = (seed: number): ((limit: number) => number) => {
  let state = (Math.imul(seed, 2654435761) + 1) >>> 0
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 4294967296) * limit)
  }
}

/** Opens, gives the manager to `use`, and closes. */
export const withStore = async <A>(
  layer: RuntimeLayer,
  options: AofManagerOptions,
  use: (manager: AofManager) => Promise<A>,
): Promise<A> => {
  const manager = await openWith(layer, options)
  try {
    return await use(manager)
  } finally {
    await manager.close()
  }
}

/** Reads every stream of `moments` that must be there and compares. Gives what was found by name. */
export const checkStreams = async (
  manager: AofManager,
  moments: ReadonlyArray<StreamMoment>,
  survivors: Survivors,
): Promise<Map<string, Found>> => {
  const found = new Map<string, Found>()
  const names = manager.streams()
  expect(manager.recovery.quarantined).toEqual([])
  expect(manager.recovery.manifestDamage).toEqual([])
  for (const moment of moments) {
    const mustBeThere = moment.isCreated && !moment.isDeleteAsked
    if (mustBeThere && !names.includes(moment.name)) throw new Error(`stream ${moment.name} is gone`)
    if (moment.isDeleted && names.includes(moment.name)) throw new Error(`deleted stream ${moment.name} is back`)
    if (!names.includes(moment.name)) continue
    const stream = await manager.stream(moment.name, { create: false })
    found.set(moment.name, await checkStream(stream, moment, survivors))
  }
  return found
}

/** Reads one stream whole and compares every record with the moment. */
export const checkStream = async (stream: Aof, moment: StreamMoment, survivors: Survivors): Promise<Found> => {
  const ids: Array<number> = []
  let first = -1
  for await (const record of stream.read({ from: "start" })) {
    if (first < 0) first = record.recordNumber
    const number = first + ids.length
    const where = `stream ${moment.name}, record ${number}`
    if (record.recordNumber !== number) throw new Error(`${where}: found number ${record.recordNumber}`)
    const wanted = moment.records[number]
    if (wanted === undefined || number >= moment.count) throw new Error(`${where}: was never appended`)
    if (record.text() !== wanted.payload) throw new Error(`${where}: other bytes ${record.text().slice(0, 40)}`)
    if (Number(record.extId) !== wanted.extId) throw new Error(`${where}: extId ${record.extId}, not ${wanted.extId}`)
    if (wanted.id > 0 && wanted.id !== record.recordId)
      throw new Error(`${where}: id ${record.recordId}, not ${wanted.id}`)
    if ((ids.at(-1) ?? 0) >= record.recordId) throw new Error(`${where}: ids do not rise`)
    ids.push(record.recordId)
  }
  const { nextRecordNumber, firstRecordNumber } = stream.info()
  if (first < 0) first = nextRecordNumber
  const where = `stream ${moment.name}, records ${first} to ${nextRecordNumber}`
  if (firstRecordNumber !== first) throw new Error(`${where}: info says first ${firstRecordNumber}`)
  if (nextRecordNumber !== first + ids.length) throw new Error(`${where}: read ${ids.length}`)
  const least = survivors === "written" ? Math.max(moment.written, moment.durable) : moment.durable
  if (nextRecordNumber < least) throw new Error(`${where}: acknowledged were ${least}`)
  if (first < moment.trimAcked) throw new Error(`${where}: trimmed up to ${moment.trimAcked}`)
  if (first > moment.trimAsked) throw new Error(`${where}: nobody asked to trim beyond ${moment.trimAsked}`)
  const last = moment.records[nextRecordNumber - 1]
  const next = moment.records[nextRecordNumber]
  if (nextRecordNumber < moment.count && last !== undefined && last.batch > 0 && next?.batch === last.batch) {
    throw new Error(`${where}: a batch is there in part`)
  }
  return { first, ids }
}
