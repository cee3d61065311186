// How a worker syncs what it makes: politely while others want the disk, beside its work while nobody does.

import { expect, test } from "bun:test"
import { TargetSyncs } from "../../src/compressor/target_syncs.ts"

const makeSyncs = (isDiskWanted: () => boolean) => {
  const log: Array<string> = []
  const ends: Array<(error?: Error) => void> = []
  const target = {
    syncUnsafe: () => {
      log.push("sync here")
      const end = performance.now() + 5
      while (performance.now() < end);
    },
    sync: () => {
      log.push("sync there")
      return new Promise<void>((resolve, reject) => {
        ends.push((error) => (error === undefined ? resolve() : reject(error)))
      })
    },
  }
  const pause = (ms: number): void => void log.push(ms > 2 && ms <= 100 ? "pause" : `pause of ${ms} ms`)
  return { syncs: new TargetSyncs(target, { isDiskWanted, pause }), log, ends }
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test("while the disk is wanted the thread syncs itself, and rests before it writes again", async () => {
  const { syncs, log } = makeSyncs(() => true)
  await syncs.rest()
  await syncs.begin()
  expect(log).toEqual(["sync here"])
  await syncs.rest()
  await syncs.ended()
  expect(log).toEqual(["sync here", "pause"])
})

test("while nobody wants it another thread does, and there is no rest but for the end of that", async () => {
  const { syncs, log, ends } = makeSyncs(() => false)
  await syncs.begin()
  for (const wait of [() => syncs.rest(), () => syncs.begin(), () => syncs.ended()]) {
    const before = log.length
    let isThere = false
    const waiting = wait().then(() => {
      isThere = true
    })
    await turns()
    expect([isThere, log.length]).toEqual([false, before])
    ends.pop()!()
    await waiting
    if (ends.length === 0) await syncs.begin()
  }
  expect(log.every((one) => one === "sync there")).toBe(true)
})

test("who begins to want it gets the rest from the next sync on, and who ceases to ends it", async () => {
  let isWanted = false
  const { syncs, log, ends } = makeSyncs(() => isWanted)
  await syncs.begin()
  isWanted = true
  ends.pop()!()
  await syncs.rest()
  await syncs.begin()
  isWanted = false
  await syncs.rest()
  expect(log).toEqual(["sync there", "sync here"])
})

test("a sync that failed fails whatever comes after it", async () => {
  const { syncs, ends } = makeSyncs(() => false)
  await syncs.begin()
  ends.pop()!(new Error("EIO"))
  await turns()
  for (const wait of [() => syncs.rest(), () => syncs.begin(), () => syncs.ended()])
    expect(await wait().then(String, String)).toBe("Error: EIO")
})

test("a job that makes no file has nothing to sync", async () => {
  const syncs = new TargetSyncs(undefined, { isDiskWanted: () => false, pause: () => undefined })
  for (const wait of [() => syncs.begin(), () => syncs.rest(), () => syncs.ended()])
    expect(await wait()).toBeUndefined()
})
