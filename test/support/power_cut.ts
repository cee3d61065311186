// What the tests that cut the power have in common: moments of a run, what may stay of what was not synced, and cuts while a store is opened.

import { expect } from "bun:test"
import type { DiskOperation, MemoryDisk } from "../../src/testing/memory_disk.ts"
import { chance, type StreamMoment } from "./crash_model.ts"

/** Says for each part that was not synced whether it stays. */
export type Choose = Parameters<MemoryDisk["crash"]>[0]

const extraSeeds = Number(process.env.BOP_AOF_CRASH_SEEDS ?? 0)
/** True when other runs and more choices were asked for. */
export const isDeep: boolean = extraSeeds > 0

/** The runs of this time. */
export const cutSeeds: ReadonlyArray<number> = Array.from(
  { length: Math.max(1, extraSeeds) },
  (_, one) => one + 1 + Number(process.env.BOP_AOF_CRASH_FROM ?? 0),
)

/** The disk as it was before an operation, and what had been noted by then. */
export interface Moment {
  readonly disk: MemoryDisk
  readonly operation: string
  readonly streams: ReadonlyArray<StreamMoment>
}

const passive = ["read", "list", "open", "readFile", "sizeOf"]

/** True for an operation that changes what a power cut leaves. */
export const isChange = ({ kind }: DiskOperation): boolean => !passive.includes(kind)

/** An operation in words. */
export const operationText = ({ kind, path, from, to }: DiskOperation): string => `${kind} ${path} ${from} ${to}`

/** Ways to lose what was not synced. */
export const cutChoices = (seed: number): ReadonlyArray<readonly [string, Choose]> => [
  ["nothing kept", () => false],
  ["everything kept", () => true],
  ["entries kept, bytes not", (one) => one.kind !== "write" && one.kind !== "truncate"],
  ["bytes kept, entries not", (one) => one.kind === "write" || one.kind === "truncate"],
  [`half kept, seed ${seed}`, chance(seed, 8)],
  [`most kept, seed ${seed}`, chance(seed + 1000, 14)],
]

/** A moment as it has to be when one record was appended behind the records `from` to `from + ids.length - 1` that were found. */
export const grownMoment = (
  one: StreamMoment,
  { first: from, ids }: { readonly first: number; readonly ids: ReadonlyArray<number> },
): StreamMoment => {
  const added = { payload: "after the end", extId: 1_000_000, batch: 0, id: ids.at(-1)! }
  const records = [...one.records.slice(0, from + ids.length - 1), added]
  return { ...one, records, count: records.length, durable: records.length }
}

/** Collects what goes wrong, so that one run tells of more than its first failure. */
export class Failures {
  readonly #all: Array<string> = []

  /** True when going on would tell nothing new. */
  get areMany(): boolean {
    return this.#all.length > 5
  }

  /** Runs a check and keeps what it throws. */
  async attempt(what: string, run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      const { message, stack } = error as Error
      this.#all.push(isDeep ? `${what}: ${stack}` : `${what}: ${message}`)
    }
  }

  /** Fails the test when there were any. */
  end(): void {
    expect(this.#all).toEqual([])
  }
}

/** Opens a store and keeps its disk before each operation that changes something. */
export const openings = async (
  disk: MemoryDisk,
  open: () => Promise<void>,
): Promise<ReadonlyArray<readonly [MemoryDisk, string]>> => {
  const all: Array<readonly [MemoryDisk, string]> = []
  disk.onOperation = (operation) => {
    if (isChange(operation)) all.push([disk.fork(), operationText(operation)])
  }
  await open()
  return all
}
