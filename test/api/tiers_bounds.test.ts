// What the tiers cost at most: bytes and requests of a cold read, local disk, memory; and what others can do with a warm file.

import { afterAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager, memoryStore } from "bop-aof"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { makeRandom } from "../support/api.ts"

const KiB = 1024
const MiB = 1024 * KiB

const parent = fs.mkdtempSync(join(tmpdir(), "bop-aof-bounds-"))
afterAll(() => fs.rmSync(parent, { recursive: true, force: true }))

/** Bytes that hardly shrink: the worst that a cold read can meet. */
const makeNoise = (seed: number, length: number): Uint8Array => {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state & 255
  })
}

const bytesBelow = (path: string): number =>
  fs
    .readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => {
      // A file may go between the listing and the look.
      const stat = fs.statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })
      return sum + (stat?.size ?? 0)
    }, 0)

test("a cold read of 256 bytes from a 64 MiB segment costs two requests and 192 KiB at most, one with the index at hand", async () => {
  const manager = await AofManager.open({
    root: join(parent, "cold"),
    tier1: { level: 1 },
    tier2: { store: memoryStore() },
  })
  const stream = await manager.stream("large")
  const noise = makeNoise(1, 256 * KiB)
  const ids: Array<number> = []
  const payloadAt = (i: number): Uint8Array => {
    const at = (i * 977) % (noise.length - 256)
    return noise.subarray(at, at + 256)
  }
  for (let i = 0; stream.segments().length < 2; i++) {
    const id = stream.tryAppend(payloadAt(i))
    if (id > 0) ids.push(id)
    else {
      i--
      await stream.ready()
    }
  }
  await stream.evict({ to: "tier2" })
  expect(stream.segments()[0]!.tier).toBe("tier2")
  expect(stream.segments()[0]!.bytes).toBeGreaterThan(63 * MiB)
  const costs: Array<readonly [number, number]> = []
  for (const at of [100_000, 3, 150_000, 77_777, ids.length - 2000]) {
    const before = manager.observe().tier2!
    expect((await stream.get(ids[at]!)).bytes).toEqual(payloadAt(at).slice())
    const after = manager.observe().tier2!
    costs.push([after.requests.get.success - before.requests.get.success, after.bytesRead - before.bytesRead])
  }
  expect(costs[0]![0]).toBe(2)
  expect(costs[0]![1]).toBeLessThanOrEqual(192 * KiB)
  for (const [requests, bytes] of costs.slice(1)) {
    expect(requests).toBe(1)
    expect(bytes).toBeLessThanOrEqual(128 * KiB)
  }
  const times = await stream.read({ number: 120_000, limit: 1 })[Symbol.asyncIterator]().next()
  expect(times.value.recordNumber).toBe(120_000)
  expect(stream.segments()[0]!.tier).toBe("tier2")
  await manager.close()
})

test("local disk and memory stay within the budgets while twenty times as much is ingested", async () => {
  const [root, cold] = [join(parent, "bounded"), join(parent, "bounded-cold")]
  const [tier0, tier1] = [4 * MiB, 2 * MiB]
  const manager = await AofManager.open({
    root,
    segmentBytes: 512 * KiB,
    stagingBytes: 64 * KiB,
    unflushedBytesMax: MiB,
    tier0: { bytesMax: tier0, frameCacheBytes: MiB },
    tier1: { bytesMax: tier1, residencyMsMin: 0 },
    tier2: { store: { directory: cold } },
  })
  const stream = await manager.stream("much")
  const random = makeRandom(2)
  const noise = makeNoise(5, 64 * KiB)
  let [appended, most] = [0, 0]
  const target = 20 * (tier0 + tier1)
  while (appended < target) {
    const at = random(noise.length - 2048)
    const payload = noise.subarray(at, at + 1024 + random(1024))
    if (stream.tryAppend(payload) < 0) {
      most = Math.max(most, bytesBelow(root))
      await stream.ready()
    } else appended += payload.length
  }
  await stream.flush()
  most = Math.max(most, bytesBelow(root))
  // The manifest, and the warm file that is being made, by which Tier 1 may be overdrawn.
  expect(most).toBeLessThanOrEqual(tier0 + tier1 + 512 * KiB + 512 * KiB)
  const { tier0: metrics } = manager.observe()
  expect(metrics.highestBytes).toBeLessThanOrEqual(tier0)
  expect(metrics.frameCacheBytes).toBeLessThanOrEqual(MiB)
  let read = 0
  for await (const record of stream.read()) {
    read += record.bytes.length
    if (record.recordNumber % 5000 === 0) most = Math.max(most, bytesBelow(root))
  }
  expect(read).toBe(appended)
  expect(most).toBeLessThanOrEqual(tier0 + tier1 + 2 * 512 * KiB)
  await manager.close()
})

describe("a warm file", () => {
  const hasZstd = spawnSync("zstd", ["--version"]).status === 0
  const maybe = hasZstd ? test : test.skip

  maybe("[the zstd program] is its sealed segment byte for byte", async () => {
    const root = join(parent, "warm")
    const manager = await AofManager.open({ root, segmentBytes: MiB, tier2: false })
    const stream = await manager.stream("orders")
    for (let i = 0; i < 4000; i++) stream.tryAppend(`order ${i} ${"lemon ".repeat(i % 50)}`)
    await stream.seal()
    const folder = join(root, "streams", "orders")
    const sealed = fs.readFileSync(join(folder, "segments", "0000000001.seg"))
    await stream.evict({ to: "tier1" })
    expect(fs.existsSync(join(folder, "segments", "0000000001.seg"))).toBe(false)
    const warm = join(folder, "warm", "0000000001.seg.zst")
    expect(spawnSync("zstd", ["-t", "-q", warm]).status).toBe(0)
    const restored = spawnSync("zstd", ["-d", "-c", "-q", warm], { maxBuffer: 2 * MiB })
    expect(restored.status).toBe(0)
    expect(restored.stdout.equals(sealed)).toBe(true)
    expect(fs.statSync(warm).size).toBe(stream.segments()[0]!.warmBytes)
    await manager.close()
  })

  test("that is removed behind the store's back is fetched again", async () => {
    const root = join(parent, "removed")
    const events: Array<string> = []
    const manager = await AofManager.open({
      root,
      segmentBytes: 64 * KiB,
      tier1: { frameBytes: 4 * KiB },
      tier2: { store: memoryStore() },
      onEvent: ({ name }) => events.push(name),
    })
    const stream = await manager.stream("orders")
    const ids = Array.from({ length: 2000 }, (_, i) => stream.tryAppend(`order ${i} ${"lemon ".repeat(i % 20)}`))
    await stream.seal()
    await stream.evict({ to: "tier2" })
    await stream.prefetch({ to: "tier1" })
    const folder = join(root, "streams", "orders", "warm")
    const [first, second] = fs.readdirSync(folder).sort()
    fs.rmSync(join(folder, first!))
    const bytes = fs.readFileSync(join(folder, second!))
    for (let at = 100; at < bytes.length; at += 97) bytes[at]! ^= 255
    fs.writeFileSync(join(folder, second!), bytes)
    let number = 0
    for await (const record of stream.read()) expect(record.recordId).toBe(ids[number++]!)
    expect(number).toBe(2000)
    await manager.settled()
    expect(events.filter((name) => name === "tier1_missing").length).toBeGreaterThanOrEqual(2)
    expect(manager.observe().tier1.recoveries).toBeGreaterThanOrEqual(2)
    expect(stream.segments().some(({ needsRecovery }) => needsRecovery)).toBe(false)
    expect(fs.readdirSync(folder).sort().slice(0, 2)).toEqual([first!, second!])
    await manager.close()
    // Found missing by the open.
    fs.rmSync(join(folder, first!))
    const again = await AofManager.open({
      root,
      segmentBytes: 64 * KiB,
      tier2: { store: memoryStore(), retry: { maxAttempts: 1 } },
      tier1: { retriesMax: 0 },
    })
    const reopened = await again.stream("orders")
    expect(reopened.segments()[0]).toMatchObject({ needsRecovery: true, tier: "tier2" })
    await again.close()
  })

  test("that is the only copy and damaged costs what lies in the frame, and the error names it", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const options = {
      root: "/store",
      segmentBytes: 64 * KiB,
      tier0: { bytesMax: 64 * MiB },
      tier1: { frameBytes: 4 * KiB },
      tier2: false,
    } as const
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("only")
    // A flush each, so that log frames are small.
    const ids: Array<number> = []
    for (let i = 0; i < 300; i++) {
      ids.push(stream.tryAppend(`order ${i} ${"lemon ".repeat(i % 20)}`))
      if (i % 10 === 9) await stream.flush()
    }
    await stream.seal()
    await stream.evict({ to: "tier1" })
    const { Directory } = await import("../../src/port/directory.ts")
    const Context = await import("effect/Context")
    const directory = Context.get(disk.services(), Directory)
    const file = directory.openUnsafe("/store/streams/only/warm/0000000001.seg.zst", "write")
    file.writeUnsafe(new Uint8Array(8).fill(0x5a), 0, 8, 1500)
    file.closeUnsafe()
    const cursor = stream.cursor()
    const seen: Array<number> = []
    const errors: Array<{ readonly _tag: string; readonly from: number; readonly to: number }> = []
    for (;;) {
      try {
        if (!cursor.next()) break
        seen.push(cursor.recordId)
      } catch (error) {
        errors.push(error as (typeof errors)[number])
      }
    }
    expect(errors.map(({ _tag }) => _tag)).toEqual(["Corrupt"])
    const lost = ids.filter((id) => !seen.includes(id))
    expect(lost.length).toBeGreaterThan(0)
    expect(lost.length).toBeLessThan(120)
    expect(lost.every((id) => id >= errors[0]!.from && id < errors[0]!.to)).toBe(true)
    const error = (() => {
      try {
        return stream.tryGet(lost[0]!)
      } catch (thrown) {
        return thrown as { readonly _tag: string }
      }
    })()
    expect((error as { readonly _tag: string })._tag).toBe("Corrupt")
    expect(stream.tryGet(seen[0]!).recordNumber).toBe(0)
    await manager.close()
  })
})
