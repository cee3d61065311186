// A whole store while S3 is away in every way it can be: appends go on until the local budgets are full, then they wait and say why; when
// it is back everything drains by itself. After that each record is there once, and the bucket holds what the manifest says.

import { afterAll, describe, expect, test } from "bun:test"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import {
  type Aof,
  AofManager,
  type AofManagerOptions,
  APPEND_ADMISSION,
  type SegmentInfo,
  type Tier2Trouble,
} from "bop-aof"
import * as Effect from "effect/Effect"
import { rootDirectory, runtimePath } from "../../scripts/runtimes.mjs"
import { readRoot } from "../../src/core/files/root.ts"
import { open } from "../../src/core/manifest/manifest_log.ts"
import type { WouldBlock } from "../../src/model/errors.ts"
import { Directory } from "../../src/port/directory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { pattern } from "../support/object_store_conformance.ts"
import { runSuccessfully } from "../support/run_process.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"
import { type FaultProxy, type ProxyFault, startProxy } from "./fault_proxy.ts"
import { endpoint, hasServer, makePrefix, openStore, serverName } from "./settings.ts"

const KiB = 1024
const segmentBytes = 64 * KiB
const budget = 512 * KiB
const payloadBytes = 2000

const parent = fs.mkdtempSync(join(tmpdir(), "bop-aof-outage-"))
afterAll(() => fs.rmSync(parent, { recursive: true, force: true }))

/** Looks in a row that have to find a store full. */
const looksMin = 20

const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs))

/** Looks again and again until `isSo`; the limit only ends a test that has failed, and then says how things stand. */
const until = async (what: string, manager: AofManager, isSo: () => boolean): Promise<void> => {
  for (let tries = 0; !isSo(); tries++) {
    if (tries > 3000) throw new Error(`it never came to this: ${what}: ${JSON.stringify(manager.observe())}`)
    await sleep(10)
  }
}

/** Bytes that do not shrink, unlike those of any other record. */
const payloadOf = (number: number): Uint8Array => pattern(payloadBytes, number * 7919)

const optionsOf = (root: string, store: ObjectStore): AofManagerOptions => ({
  root,
  segmentBytes,
  stagingBytes: 16 * KiB,
  unflushedBytesMax: 256 * KiB,
  tier0: { bytesMax: budget },
  tier1: { bytesMax: budget, level: 1, residencyMsMin: 0, retryBackoffMs: 20 },
  tier2: {
    store,
    deleteGraceMs: 0,
    requestTimeoutMs: 1000,
    retry: { maxAttempts: 2, baseDelayMs: 10 },
    breaker: { failuresMax: 4, openMs: 100, openMsMax: 400 },
  },
})

/** Appends records as long as they are taken, and by turns waits a little for room; ends when there is none for good. */
class Writer {
  readonly #stream: Aof
  readonly #manager: AofManager
  readonly ids: Array<number> = []

  constructor(manager: AofManager, stream: Aof) {
    this.#manager = manager
    this.#stream = stream
  }

  get count(): number {
    return this.ids.length
  }

  async append(records: number): Promise<void> {
    for (let left = records; left > 0; left--) {
      let id = this.#stream.tryAppend(payloadOf(this.count))
      while (id < 0) {
        await this.#stream.ready()
        id = this.#stream.tryAppend(payloadOf(this.count))
      }
      this.ids.push(id)
    }
    await this.#stream.flush()
  }

  /** Appends a few at a time, as long as they are taken. */
  async burst(records: number): Promise<void> {
    for (let left = records; left > 0; left--) {
      const id = this.#stream.tryAppend(payloadOf(this.count))
      if (id < 0) break
      this.ids.push(id)
      if (left % 4 === 0) await sleep(1)
    }
    await this.#stream.flush()
  }

  /** Appends until nothing more is taken although everything was done that can be done without Tier 2; gives the reason. */
  async fill(): Promise<WouldBlock> {
    let looks = 0
    await until("nothing more is taken", this.#manager, () => {
      let id = this.#stream.tryAppend(payloadOf(this.count))
      while (id > 0) {
        looks = 0
        this.ids.push(id)
        id = this.#stream.tryAppend(payloadOf(this.count))
      }
      looks = id === APPEND_ADMISSION && this.#isFull() ? looks + 1 : 0
      return looks === looksMin
    })
    return this.#stream.whyBlocked(APPEND_ADMISSION) as WouldBlock
  }

  /** Tier 1 has no room for what Tier 0 has to give, and Tier 2 is known to be the reason. */
  #isFull(): boolean {
    const { tier1, backlog } = this.#manager.observe()
    const { reason } = this.#stream.whyBlocked(APPEND_ADMISSION) as WouldBlock
    const isTight = tier1.usedBytes > tier1.bytesMax - 2 * segmentBytes
    return isTight && backlog.uncompressedSegments > 1 && "tier2" in reason
  }
}

/** What the manifest of a closed store says is in Tier 2, and what is still to be removed from there. */
const manifestOf = async (root: string): Promise<{ keys: ReadonlyArray<string>; deletes: ReadonlyArray<string> }> => {
  const load = Effect.gen(function* () {
    const found = yield* readRoot(yield* Directory, root)
    return (yield* open({ root, rootId: found!.rootId, readOnly: true })).state
  })
  const state = await Effect.runPromise(Effect.scoped(load).pipe(Effect.provide(await loadRuntimeLayer())))
  const tiers = [...state.streams.values()].flatMap((stream) => [...stream.tiers.values()])
  const keys = tiers.flatMap(({ uploaded }) => (uploaded === undefined ? [] : [uploaded.key]))
  return { keys: keys.sort(), deletes: [...state.deletes.keys()] }
}

/** Every segment that lies in the bucket. */
const keysOf = async (store: ObjectStore): Promise<ReadonlyArray<string>> => {
  const page = await Effect.runPromise(store.list(""))
  expect(page.next).toBe(undefined)
  return page.objects
    .map(({ key }) => key)
    .filter((key) => key.includes("/segments/"))
    .sort()
}

interface Outage {
  readonly begin: () => Promise<void> | void
  readonly end: () => Promise<void> | void
}

const live = async (
  name: string,
  stores: { readonly near: ObjectStore; readonly far: ObjectStore },
  outage: Outage,
) => {
  const root = join(parent, name)
  const manager = await AofManager.open(optionsOf(root, stores.near))
  const stream = await manager.stream("orders")
  const writer = new Writer(manager, stream)
  await writer.append(600)
  await until("the first segments are uploaded", manager, () => manager.observe().tier2!.successes.upload >= 8)
  const load = writer.burst(60)
  await outage.begin()
  await load
  const reason = await writer.fill()
  expect([reason._tag, reason.reason._tag, reason.retryable]).toEqual(["WouldBlock", "Admission", true])
  const trouble = (reason.reason as { readonly tier2: Tier2Trouble }).tier2
  expect([trouble.pendingSegments > 0, trouble.pendingBytes > 0]).toEqual([true, true])
  expect(reason.message).toContain(stores.near.place)
  expect(reason.message).toContain("segments of")
  const { tier0, tier1, tier2 } = manager.observe()
  expect(tier0.usedBytes).toBeLessThanOrEqual(budget)
  expect(tier1.usedBytes).toBeLessThanOrEqual(budget + segmentBytes + 8 * KiB)
  expect(Object.values(tier2!.errors).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0)
  // A caller who waits is served when it is over, and what a trim has made useless goes then; nothing is started anew.
  const waiting = stream.append(payloadOf(writer.count))
  const isLocal = ({ tier, firstRecordNumber }: SegmentInfo): boolean => tier !== "tier2" && firstRecordNumber > 0
  const firstLeft = stream.segments().find(isLocal)!.firstRecordNumber
  await stream.trim({ before: writer.ids[firstLeft]! })
  await sleep(300)
  await outage.end()
  const { recordNumber, recordId } = await waiting
  expect(recordNumber).toBe(writer.count)
  writer.ids.push(recordId)
  await writer.append(40)
  await stream.seal()
  await until("the backlog is gone", manager, () => {
    const { tier2, backlog } = manager.observe()
    return tier2!.backlog.segments + tier2!.backlog.deletes + backlog.uncompressedSegments === 0
  })
  expect(manager.observe().tier2!.backlog).toEqual({ segments: 0, bytes: 0, ageMs: 0, deletes: 0 })
  expect(manager.observe().tier2!.breaker.state).toBe("closed")
  // From the bucket alone, each record once and in order.
  await stream.evict({ to: "tier2" })
  let number = firstLeft
  for await (const record of stream.read()) {
    expect(record.recordNumber).toBe(number)
    if (!Buffer.from(record.bytes).equals(payloadOf(number))) throw new Error(`record ${number} is another`)
    number++
  }
  expect(number).toBe(writer.count)
  await manager.close()
  const { keys, deletes } = await manifestOf(root)
  expect(deletes).toEqual([])
  expect(keys.length).toBeGreaterThan(5)
  expect(await keysOf(stores.far)).toEqual(keys)
}

describe.skipIf(!hasServer)(serverName, () => {
  const proxies: Array<FaultProxy> = []
  afterAll(async () => {
    for (const proxy of proxies) await proxy.close()
  })

  const behindProxy = async (name: string, begin: (proxy: FaultProxy) => void): Promise<void> => {
    const proxy = await startProxy({ target: endpoint })
    proxies.push(proxy)
    const prefix = makePrefix()
    const stores = { near: openStore({ endpoint: proxy.endpoint, prefix }), far: openStore({ prefix }) }
    await live(name, stores, {
      begin: () => begin(proxy),
      end: () => {
        proxy.script = undefined
        proxy.isDown = false
      },
    })
  }

  test(
    "an outage with connections refused costs nothing",
    () =>
      behindProxy("refusing", (proxy) => {
        proxy.isDown = true
      }),
    120_000,
  )

  const faults: ReadonlyArray<[string, ProxyFault]> = [
    ["requests that hang", { swallow: true }],
    ["503 SlowDown", { status: 503 }],
    ["answers that come too late", { holdAnswer: true }],
    ["answers that are lost", { loseAnswer: true }],
    ["bodies cut on their way up", { cutRequest: 20_000 }],
    ["credentials that are refused", { status: 403, code: "InvalidAccessKeyId" }],
  ]

  test.each(faults)(
    "an outage with %s costs nothing",
    (name, fault) =>
      behindProxy(name.replaceAll(" ", "_"), (proxy) => {
        // What was stored although nobody was told is found there; until then nothing gets through.
        proxy.script = ({ method }) => (method === "PUT" || fault.loseAnswer !== true ? fault : { status: 503 })
      }),
    120_000,
  )

  const serverDirectory = process.env["BOP_AOF_S3_DIRECTORY"]

  test.skipIf(serverDirectory === undefined)(
    "[a server of this run] SIGKILL of the server under load costs nothing",
    async () => {
      const control = (...args: ReadonlyArray<string>): Promise<string> => {
        const program = join(rootDirectory, "scripts", "s3_server.mjs")
        const place = ["--directory", serverDirectory!, "--port", new URL(endpoint).port]
        return runSuccessfully([runtimePath("node"), program, ...args, ...place], rootDirectory)
      }
      for (const only of ["rgw", "osd"]) {
        const prefix = makePrefix()
        const stores = { near: openStore({ prefix }), far: openStore({ prefix }) }
        // Also after a failure: what else runs needs the server.
        const end = async (): Promise<void> => void (await control("start"))
        try {
          await live(`killed_${only}`, stores, {
            begin: async () => void (await control("kill", "--only", only)),
            end,
          })
        } finally {
          await end()
        }
      }
    },
    240_000,
  )
})
