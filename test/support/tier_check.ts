// What must hold of a store with tiers after any end: its records by every way of reading, and on the disk nothing that the manifest
// does not name, and all that it names.

import { expect } from "bun:test"
import * as Effect from "effect/Effect"
import type { AofManager } from "../../src/api/manager.ts"
import { readRoot } from "../../src/core/files/root.ts"
import { open } from "../../src/core/manifest/manifest_log.ts"
import { segmentHeaderBytes } from "../../src/format/segment_header.ts"
import { Directory } from "../../src/port/directory.ts"
import type { ManifestState } from "../../src/state/manifest_state.ts"
import type { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { checkStreams, type Found, type StreamMoment, type Survivors } from "./crash_model.ts"
import { tierOptions } from "./tier_workload.ts"

/** Reads every stream of `moments` whole, by id, backwards and by segment, and compares. Gives what was found by name. */
export const checkRecords = async (
  manager: AofManager,
  moments: ReadonlyArray<StreamMoment>,
  survivors: Survivors,
): Promise<Map<string, Found>> => {
  const found = await checkStreams(manager, moments, survivors)
  for (const [name, { first, ids }] of found) {
    const { records } = moments.find((one) => one.name === name)!
    const stream = await manager.stream(name, { create: false })
    for (let at = ids.length - 1; at >= 0; at -= 5) {
      const record = await stream.get(ids[at]!)
      if (record.text() !== records[first + at]!.payload) throw new Error(`stream ${name}: get of record ${first + at}`)
    }
    if (ids.length === 0) continue
    let number = first + ids.length
    for await (const record of stream.read({ last: ids.length, reverse: true })) {
      if (record.recordNumber !== --number) throw new Error(`stream ${name}: backwards, record ${number}`)
    }
    if (number !== first) throw new Error(`stream ${name}: backwards it ends at ${number}, not ${first}`)
  }
  return found
}

/** Follows a stream from its first record to one that is appended meanwhile. */
export const checkFollow = async (manager: AofManager, name: string, { first, ids }: Found): Promise<number> => {
  const stream = await manager.stream(name, { create: false })
  let number = first
  let appended: Promise<{ readonly recordId: number }> | undefined
  if (ids.length === 0) appended = stream.append("after the end", { extId: 1_000_000 })
  for await (const record of stream.follow({ from: "start" })) {
    if (record.recordNumber !== number++) throw new Error(`stream ${name}: follows to ${record.recordNumber}`)
    if (number === first + ids.length) appended = stream.append("after the end", { extId: 1_000_000 })
    if (number > first + ids.length) break
  }
  return (await appended!).recordId
}

/** Every file below a path, with its bytes. */
export const filesOf = (disk: MemoryDisk, path: string): Promise<Map<string, number>> => {
  const files = new Map<string, number>()
  const walk: (folder: string) => Effect.Effect<void, unknown, Directory> = Effect.fnUntraced(function* (folder) {
    const directory = yield* Directory
    for (const { name, isDirectory } of yield* directory.list(folder)) {
      const full = `${folder}/${name}`
      if (isDirectory) yield* walk(full)
      else files.set(full, (yield* directory.readFile(full))?.length ?? 0)
    }
  })
  return Effect.runPromise(Effect.map(Effect.provide(walk(path), disk.services()), () => files))
}

const manifestOf = (disk: MemoryDisk): Promise<ManifestState> => {
  const load = Effect.gen(function* () {
    const root = yield* readRoot(yield* Directory, "/store")
    return (yield* open({ root: "/store", rootId: root!.rootId, readOnly: true })).state
  })
  return Effect.runPromise(Effect.scoped(load).pipe(Effect.provide(disk.services())))
}

/**
 * Compares what lies on the disk of a closed store, whose tiers had settled, with what the manifest says. Objects are looked for in
 * `objects` when they are not on the disk.
 */
export const checkFiles = async (disk: MemoryDisk, objects?: ReadonlyArray<string>): Promise<void> => {
  const state = await manifestOf(disk)
  const known = new Map<string, "must" | "may">()
  for (const stream of state.streams.values()) {
    const folder = `/store/streams/${stream.name}`
    const firstIndex = Math.floor((stream.trim?.firstRecordId ?? 0) / 2 ** 28)
    known.set(`${folder}/segments/current.sealed`, "may")
    for (const index of [...stream.sealed.keys(), ...stream.opened.keys()]) {
      if (index >= firstIndex) known.set(`${folder}/segments/${String(index).padStart(10, "0")}.seg`, "may")
    }
    for (const [index, { compressed, uploaded }] of stream.tiers) {
      if (compressed !== undefined) known.set(`${folder}/warm/${String(index).padStart(10, "0")}.seg.zst`, "may")
      if (uploaded !== undefined) known.set(`/cold/objects/${uploaded.key}`, "must")
    }
  }
  // Files of the manifest in the bucket are looked at by themselves: one that is not needed any more waits for the next HEAD.
  expect([...state.deletes.keys()].filter((key) => !key.includes("/manifest/"))).toEqual([])
  const cold = objects?.map((key): [string, number] => [`/cold/objects/${key}`, 0]) ?? (await filesOf(disk, "/cold"))
  const all = [...(await filesOf(disk, "/store/streams")), ...cold]
  // A segment that was opened just before a power cut and in which nothing was durable keeps its index taken.
  const files = all
    .filter(([path, bytes]) => !path.endsWith(".seg") || bytes > segmentHeaderBytes)
    .map(([path]) => path)
    .filter((path) => path !== "/cold/objects/HEAD" && !/^\/cold\/objects\/[0-9a-f]{32}\/manifest\//.test(path))
  expect(files.filter((path) => !known.has(path))).toEqual([])
  expect([...known].filter(([path, how]) => how === "must" && !files.includes(path))).toEqual([])
}

/** Compares the budgets with what lies on the disk of an open store, whose tiers have settled. */
export const checkBudgets = async (manager: AofManager, disk: MemoryDisk): Promise<void> => {
  const { tier0, tier1 } = manager.observe()
  let [hot, warm] = [0, 0]
  for (const [path, bytes] of await filesOf(disk, "/store/streams")) {
    if (path.endsWith(".seg") && bytes > segmentHeaderBytes) hot += bytes
    if (path.endsWith(".zst")) warm += bytes
  }
  expect(tier1.usedBytes).toBe(warm)
  expect(tier0.usedBytes).toBeGreaterThanOrEqual(hot)
  expect(tier0.usedBytes).toBeLessThanOrEqual(tierOptions.tier0!.bytesMax!)
  expect(tier1.usedBytes).toBeLessThanOrEqual(tierOptions.tier1!.bytesMax!)
}
