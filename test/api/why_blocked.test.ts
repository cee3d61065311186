// What a caller of `tryAppend` is told about a negative code.

import { expect, test } from "bun:test"
import { APPEND_ADMISSION, APPEND_FLUSH, APPEND_ROLLOVER, type WouldBlock } from "bop-aof"
import { openMemory } from "../support/api.ts"
import { makeFaultyStore } from "../support/down_store.ts"

const KiB = 1024

test("whyBlocked() names the reason with its numbers, and refuses what is no such code", async () => {
  const manager = await openMemory({ tier2: false })
  const stream = await manager.stream("orders")
  for (const [code, tag] of [
    [APPEND_ADMISSION, "Admission"],
    [APPEND_ROLLOVER, "Rollover"],
    [APPEND_FLUSH, "Flush"],
  ] as const) {
    const error = stream.whyBlocked(code) as WouldBlock
    expect([error._tag, error.reason._tag, error.retryable]).toEqual(["WouldBlock", tag, true])
    expect(error.reason).not.toHaveProperty("tier2")
  }
  for (const code of [0, 1, -4, Number.NaN]) expect(stream.whyBlocked(code)._tag).toBe("InvalidArgument")
  await manager.close()
})

test("whyBlocked() says that Tier 2 does not answer, and no longer when it does", async () => {
  const store = makeFaultyStore()
  const manager = await openMemory({
    segmentBytes: 16 * KiB,
    stagingBytes: 4 * KiB,
    unflushedBytesMax: 64 * KiB,
    tier0: { bytesMax: 128 * KiB },
    tier1: { bytesMax: 64 * KiB, frameBytes: 4 * KiB, residencyMsMin: 0, retryBackoffMs: 1 },
    tier2: {
      store,
      retry: { maxAttempts: 1 },
      breaker: { failuresMax: 2, openMs: 20, openMsMax: 20 },
    },
  })
  const stream = await manager.stream("orders")
  await stream.append("before")
  await manager.settled()
  store.isDown = true
  const noise = new Uint8Array(1000)
  let count = 0
  const reason = (): WouldBlock => stream.whyBlocked(APPEND_ADMISSION) as WouldBlock
  for (let refusals = 0; refusals < 20; ) {
    crypto.getRandomValues(noise)
    const isTaken = stream.tryAppend(noise) > 0
    if (isTaken) count++
    refusals = isTaken || !("tier2" in reason().reason) ? 0 : refusals + 1
    if (!isTaken) await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const blocked = reason()
  expect(blocked.message).toMatch(/Admission: \d+ bytes in tier 0, the limit is 131072; tier 2, memory, /)
  expect(blocked.reason).toMatchObject({ _tag: "Admission", limit: 128 * KiB, tier2: { place: "memory" } })
  expect(manager.observe().tier2!.breaker.openings).toBeGreaterThan(0)
  expect(manager.observe().tier2!.backlog.segments).toBeGreaterThan(0)
  const waiting = stream.append("after")
  store.isDown = false
  expect((await waiting).recordNumber).toBe(count + 1)
  while (manager.observe().tier2!.backlog.segments > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(reason().reason).not.toHaveProperty("tier2")
  expect(manager.observe().tier2!.breaker.state).toBe("closed")
  await manager.close()
})
