// S3 behind a proxy that goes wrong: what the store says, what it finds out by itself, and that nothing is lost or doubled.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { crc64 } from "../../src/format/checksum.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { bodyOf, describeObjectStore, outcomeOf, pattern, textOf } from "../support/object_store_conformance.ts"
import { type FaultProxy, type ProxyFault, type ProxyRequest, startProxy } from "./fault_proxy.ts"
import { countUploads, endpoint, hasServer, makeBucket, makePrefix, openStore, serverName } from "./settings.ts"

const MiB = 1024 * 1024
const run = Effect.runPromise

/** The first request of a kind goes wrong, and what comes after does not. */
const once = (isMeant: (request: ProxyRequest) => boolean, fault: ProxyFault): FaultProxy["script"] => {
  let isDone = false
  return (request) => {
    if (isDone || !isMeant(request)) return undefined
    isDone = true
    return fault
  }
}

const isPut = ({ method }: ProxyRequest): boolean => method === "PUT"
const isGet = ({ method }: ProxyRequest): boolean => method === "GET"

describe.skipIf(!hasServer)(serverName, () => {
  const prefix = makePrefix()
  let proxy: FaultProxy
  let store: ObjectStore
  /** The same objects, without the proxy. */
  let direct: ObjectStore

  beforeAll(async () => {
    proxy = await startProxy({ target: endpoint })
    const parts = { multipartThresholdBytes: 5 * MiB, partBytes: 5 * MiB }
    store = openStore({ endpoint: proxy.endpoint, prefix, ...parts })
    direct = openStore({ prefix })
  })
  beforeEach(() => {
    proxy.script = undefined
  })
  afterAll(() => proxy?.close())

  test.each([
    ["refused with 503", { status: 503 }, "Throttled"],
    ["refused with 500", { status: 500 }, "Internal"],
    ["refused with 403", { status: 403, code: "AccessDenied" }, "Denied"],
    ["refused with 400", { status: 400, code: "InvalidRequest" }, "Invalid"],
    ["cut off", { cutRequest: 100 }, "Network"],
    ["answered by nothing", { loseAnswer: true }, "Network"],
  ] as const)("a request that is %s says so", async (_, fault: ProxyFault, kind: string) => {
    const key = `kinds/${kind}-${Object.keys(fault)[0]}`
    await run(direct.put(key, bodyOf("hello")))
    for (const request of [
      store.get(key),
      store.put(key, bodyOf("hello")),
      store.list("kinds/"),
      store.remove(key),
      store.head(key),
    ]) {
      proxy.script = once(() => true, fault)
      expect(await outcomeOf(request)).toBe(kind)
    }
  })

  test("a server that cannot be reached is Network", async () => {
    proxy.isDown = true
    expect(await outcomeOf(store.get("a"))).toBe("Network")
    expect(await outcomeOf(store.put("a", bodyOf("x"), { condition: { absent: true } }))).toBe("Network")
    proxy.isDown = false
    expect(await outcomeOf(store.get("a"))).toBe("NotFound")
  })

  test.each([
    ["absent", "lost", { loseAnswer: true }],
    ["etag", "lost", { loseAnswer: true }],
    ["absent", "refused", { status: 500 }],
    ["etag", "refused", { status: 500 }],
    ["absent", "cut", { cutRequest: 300 }],
    ["etag", "cut", { cutRequest: 300 }],
  ] as const)("a put on %s whose answer is %s ends as it was carried out", async (condition, how, fault) => {
    const key = `unknown/${condition}-${how}`
    const etag = condition === "etag" ? (await run(direct.put(key, bodyOf("old")))).etag : ""
    proxy.script = once(isPut, fault)
    const given = await run(
      store.put(key, bodyOf("new"), { condition: condition === "etag" ? { etag } : { absent: true } }),
    )
    expect(proxy.faults).toBeGreaterThan(0)
    expect((await run(direct.head(key)))?.etag).toBe(given.etag)
    expect(textOf(await run(direct.get(key)))).toBe("new")
  })

  test("a put on a condition that another has won in between is refused", async () => {
    const key = "unknown/other"
    const { etag } = await run(direct.put(key, bodyOf("old")))
    proxy.script = (request) => {
      if (isPut(request)) Effect.runFork(direct.put(key, bodyOf("other")))
      return isPut(request) ? { status: 500 } : { delayMs: 300 }
    }
    expect(await outcomeOf(store.put(key, bodyOf("new"), { condition: { etag } }))).toBe("PreconditionFailed")
    expect(textOf(await run(direct.get(key)))).toBe("other")
  })

  test("a body that is cut goes on by range where it ended", async () => {
    const content = pattern(3 * MiB)
    await run(direct.put("cut", bodyOf(content)))
    let cuts = 0
    proxy.script = (request) => (isGet(request) && cuts++ < 4 ? { cutAnswer: 700_000 } : undefined)
    const before = proxy.requests.length
    expect(crc64(await run(store.get("cut")))).toBe(crc64(content))
    const ranges = proxy.requests.slice(before).map(({ headers }) => headers.get("range"))
    expect(ranges[0]).toBe(undefined)
    const starts = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-3145727$/.exec(range ?? "")?.[1]))
    expect(starts.length).toBe(4)
    expect(starts.every((at, index) => at > (starts[index - 1] ?? 0) && at <= 700_000 * (index + 1))).toBe(true)
    cuts = 0
    const part = await run(store.get("cut", { offset: MiB, length: MiB }))
    expect(crc64(part)).toBe(crc64(content.subarray(MiB, 2 * MiB)))
  })

  test("a body that is cut and meanwhile replaced is not made of two objects", async () => {
    const [first, second] = [pattern(2 * MiB, 1), pattern(2 * MiB, 2)]
    await run(direct.put("replaced", bodyOf(first)))
    let count = 0
    proxy.script = (request) => {
      if (!isGet(request)) return undefined
      return ++count === 1 ? { cutAnswer: 700_000 } : { after: run(direct.put("replaced", bodyOf(second))) }
    }
    expect(await outcomeOf(store.get("replaced"))).toBe("Network")
    expect(count).toBe(2)
    expect(crc64(await run(store.get("replaced")))).toBe(crc64(second))
  })

  test("an object in parts is there whole or not at all, whatever goes wrong with its requests", async () => {
    const content = pattern(12 * MiB)
    const options = { checksum64: crc64(content) }
    const faults: ReadonlyArray<ProxyFault> = [
      { loseAnswer: true },
      { status: 500 },
      { status: 503 },
      { cutRequest: 9000 },
    ]
    let at = 0
    for (const fault of faults) {
      for (let number = 1; number <= 5; number++) {
        const key = `parts/${at++}`
        const first = proxy.requests.length
        proxy.script = (request) => (request.number - first === number ? fault : undefined)
        const outcome = await outcomeOf(store.put(key, bodyOf(content), options))
        const found = await run(direct.head(key))
        if (outcome !== "ok") expect(["Network", "Internal", "Throttled"]).toContain(outcome)
        if (outcome === "ok") expect(crc64(await run(direct.get(key)))).toBe(crc64(content))
        else expect(found === undefined || found.lengthBytes === content.length).toBe(true)
      }
    }
    proxy.script = undefined
    // One that was begun and whose number was lost with the answer is nobody's; of others nothing is left.
    expect(await countUploads(`${prefix}/parts/`)).toBeLessThanOrEqual(1)
  }, 120_000)

  test("an interrupted request ends, and leaves nothing of an object in parts", async () => {
    await run(direct.put("slow", bodyOf(pattern(MiB))))
    for (const fault of [{ swallow: true }, { holdAnswer: true }, { bytesPerSecond: 50_000 }] as const) {
      const requests: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        store.get("slow"),
        store.head("slow"),
        store.list(""),
        store.put("slow-new", bodyOf(pattern(12 * MiB))),
      ]
      for (const request of requests) {
        let reached = (): void => {}
        const isReached = new Promise<void>((resolve) => {
          reached = resolve
        })
        let count = 0
        proxy.script = () => {
          count++
          reached()
          return count === 1 ? fault : undefined
        }
        const fiber = Effect.runFork(request)
        await isReached
        await run(Fiber.interrupt(fiber))
      }
    }
    expect(await run(direct.head("slow-new"))).toBe(undefined)
  }, 60_000)

  /** The store with a caller that tries again, as the client of Tier 2 does. */
  const persistent = (inner: ObjectStore): ObjectStore => {
    const again = <A, E extends { readonly retryable: boolean }>(request: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.retry(request, { times: 50, while: (error) => error.retryable })
    return {
      kind: inner.kind,
      place: inner.place,
      put: (...request) => again(inner.put(...request)),
      get: (...request) => again(inner.get(...request)),
      head: (...request) => again(inner.head(...request)),
      remove: (...request) => again(inner.remove(...request)),
      list: (...request) => again(inner.list(...request)),
    }
  }

  describeObjectStore("an S3 store behind faults", async () => {
    const faulty = await startProxy({ target: endpoint })
    let seed = 5
    const chance = (): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
      return seed / 2 ** 32
    }
    const faults: ReadonlyArray<ProxyFault> = [
      { status: 503 },
      { status: 500 },
      { cutRequest: 200 },
      { cutAnswer: 500_000 },
      { delayMs: 5 },
    ]
    faulty.script = () => (chance() < 0.25 ? faults[Math.floor(chance() * faults.length)] : undefined)
    const bucket = await makeBucket()
    const inner = openStore({ endpoint: faulty.endpoint, bucket, multipartThresholdBytes: 5 * MiB, partBytes: 5 * MiB })
    return { store: persistent(inner), second: persistent(openStore({ bucket })), close: () => faulty.close() }
  })
})
