// The power is cut at every operation of a put, a replacement and a removal in a directory store, and different parts of what was
// not synced are kept. Afterwards an object is there whole or not at all, as it was before or as it was to become, with the metadata
// that belongs to it; what was acknowledged holds; the store takes the next put; and no unfinished file is left behind.

import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { makeDirectoryStore } from "../../src/object_store/directory.ts"
import { Directory } from "../../src/port/directory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { RootLock } from "../../src/port/root_lock.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { chance } from "../support/crash_model.ts"
import { bodyOf, outcomeOf, pattern } from "../support/object_store_conformance.ts"

const run = Effect.runPromise

/** An object as far as it matters: which content, which metadata; undefined when there is none. */
type Seen = string | undefined

interface Scenario {
  readonly name: string
  /** What is there before, acknowledged. */
  readonly prepare?: (store: ObjectStore) => Promise<unknown>
  readonly change: (store: ObjectStore) => Promise<unknown>
  readonly before: Seen
  readonly after: Seen
}

const key = "root/segments/one.zst"
const contents = { old: pattern(3000, 1), new: pattern(300_000, 2) }

const seen = async (store: ObjectStore): Promise<Seen> => {
  const info = await run(store.head(key))
  if (info === undefined) return undefined
  const bytes = await run(store.get(key))
  expect(bytes.length).toBe(info.lengthBytes)
  const name = Object.entries(contents).find(([, content]) => Buffer.compare(content, bytes) === 0)?.[0] ?? "damaged"
  return `${name} ${info.metadata.mark ?? "-"}`
}

const put = (
  store: ObjectStore,
  content: "old" | "new",
  options: Parameters<ObjectStore["put"]>[2],
): Promise<unknown> => run(store.put(key, bodyOf(contents[content]), options))

const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "a put when absent",
    change: (store) => put(store, "new", { condition: { absent: true } }),
    before: undefined,
    after: "new -",
  },
  {
    name: "a put when absent with metadata",
    change: (store) => put(store, "new", { condition: { absent: true }, metadata: { mark: "1" } }),
    before: undefined,
    after: "new 1",
  },
  {
    name: "a replacement",
    prepare: (store) => put(store, "old", { metadata: { mark: "1" } }),
    change: (store) => put(store, "new", {}),
    before: "old 1",
    after: "new -",
  },
  {
    name: "a replacement by etag, with metadata",
    prepare: (store) => put(store, "old", { metadata: { mark: "1" } }),
    change: async (store) => {
      const etag = (await run(store.head(key)))?.etag ?? ""
      await put(store, "new", { condition: { etag }, metadata: { mark: "2" } })
    },
    before: "old 1",
    after: "new 2",
  },
  {
    name: "a replacement of metadata alone",
    prepare: (store) => put(store, "old", { metadata: { mark: "1" } }),
    change: (store) => put(store, "old", { metadata: { mark: "2" } }),
    before: "old 1",
    after: "old 2",
  },
  {
    name: "a removal",
    prepare: (store) => put(store, "old", { metadata: { mark: "1" } }),
    change: (store) => run(store.remove(key)),
    before: "old 1",
    after: undefined,
  },
]

/** A process with a store, for as long as `use` runs. */
const withStore = <A>(disk: MemoryDisk, use: (store: ObjectStore, directory: Directory) => Promise<A>): Promise<A> => {
  const services = disk.services()
  const directory = Context.get(services, Directory)
  const lock = Context.get(services, RootLock)
  return run(
    Effect.scoped(
      Effect.flatMap(makeDirectoryStore({ directory, lock, path: "/store" }), (store) =>
        Effect.promise(() => use(store, directory)),
      ),
    ),
  )
}

const passive = ["read", "list", "open", "readFile", "sizeOf"]

interface Moment {
  readonly disk: MemoryDisk
  readonly operation: string
  readonly isAcknowledged: boolean
}

const record = async (scenario: Scenario): Promise<ReadonlyArray<Moment>> => {
  const disk = new MemoryDisk()
  if (scenario.prepare !== undefined) await withStore(disk, scenario.prepare)
  const moments: Array<Moment> = []
  await withStore(disk, async (store) => {
    disk.onOperation = ({ kind, path, sequence }) => {
      if (!passive.includes(kind)) {
        moments.push({ disk: disk.fork(), operation: `${sequence} ${kind} ${path}`, isAcknowledged: false })
      }
    }
    await scenario.change(store)
    disk.onOperation = undefined
    moments.push({ disk: disk.fork(), operation: "the answer", isAcknowledged: true })
  })
  moments.push({ disk: disk.fork(), operation: "the end", isAcknowledged: true })
  return moments
}

const choices = [0, 8, 16].flatMap((keep) =>
  (keep === 8 ? [1, 2, 3, 4, 5, 6] : [1]).map((seed) => [seed, keep] as const),
)

const check = async (disk: MemoryDisk, allowed: ReadonlyArray<Seen>): Promise<string | undefined> => {
  const found = await withStore(disk, async (store) => {
    const first = await seen(store)
    const listed = (await run(store.list(""))).objects.map((object) => object.key)
    expect(listed).toEqual(first === undefined ? [] : [key])
    const outcome = await outcomeOf(store.put(key, bodyOf("next"), { condition: { absent: true } }))
    expect(outcome).toBe(first === undefined ? "ok" : "PreconditionFailed")
    if (first === undefined) expect((await run(store.head(key)))?.metadata).toEqual({})
    return { first }
  })
  expect(await run(Context.get(disk.services(), Directory).list("/store/.temp"))).toEqual([])
  return allowed.includes(found.first) ? undefined : `${found.first} is there`
}

describe("a directory store whose power is cut", () => {
  test.each(scenarios.map((each) => [each.name, each] as const))(
    "during %s",
    async (_name: string, scenario: Scenario) => {
      const moments = await record(scenario)
      expect(moments.length).toBeGreaterThan(scenario.name === "a removal" ? 4 : 8)
      const problems: Array<string> = []
      for (const [index, { disk, operation, isAcknowledged }] of moments.entries()) {
        const allowed = isAcknowledged ? [scenario.after] : [scenario.before, scenario.after]
        for (const [seed, keep] of choices) {
          const cut = disk.fork()
          const isKept = chance(seed * 1000 + index, keep)
          cut.crash(() => isKept())
          const problem = await check(cut, allowed)
          if (problem !== undefined) problems.push(`${operation}, seed ${seed}, ${keep} of 16 kept: ${problem}`)
        }
      }
      expect(problems).toEqual([])
    },
  )
})

test("a failing disk never makes the store lie: what it acknowledged is there, what it refused is whole or absent", async () => {
  const disk = new MemoryDisk()
  const random = chance(7, 2)
  await withStore(disk, async (store) => {
    const known = new Map<string, string>()
    for (let round = 0; round < 150; round++) {
      const name = `f${round % 7}/k${round % 11}`
      const text = `${round}`
      disk.onOperation = () => (random() ? "EIO" : undefined)
      const change = round % 5 === 4 ? store.remove(name) : store.put(name, bodyOf(text))
      const outcome = await outcomeOf(change)
      disk.onOperation = undefined
      if (outcome === "ok") round % 5 === 4 ? known.delete(name) : known.set(name, text)
      else {
        expect(outcome).toBe("Internal")
        const bytes = await run(Effect.result(store.get(name)))
        const now = bytes._tag === "Success" ? new TextDecoder().decode(bytes.success) : undefined
        expect([known.get(name), round % 5 === 4 ? undefined : text]).toContain(now)
        // What failed is tried again, as a client does, and then it holds.
        await run(round % 5 === 4 ? store.remove(name) : store.put(name, bodyOf(text)))
        round % 5 === 4 ? known.delete(name) : known.set(name, text)
      }
    }
    const cut = disk.fork()
    cut.crash(() => false)
    await withStore(cut, async (after) => {
      const { objects } = await run(after.list(""))
      expect(objects.map((object) => object.key)).toEqual([...known.keys()].sort())
      for (const [name, text] of known) expect(new TextDecoder().decode(await run(after.get(name)))).toBe(text)
    })
  })
})

test("a put that was refused because of one's own object, whose answer failed, says that this object is durable", async () => {
  const disk = new MemoryDisk()
  await withStore(disk, async (store) => {
    await put(store, "old", {})
    disk.onOperation = ({ kind, path }) => (kind === "syncDirectory" && path.endsWith("/two") ? "EIO" : undefined)
    const again = store.put("two/a", bodyOf("x"), { condition: { absent: true } })
    expect(await outcomeOf(again)).toBe("Internal")
    disk.onOperation = undefined
    expect(await outcomeOf(again)).toBe("PreconditionFailed")
    disk.crash(() => false)
  })
  await withStore(disk, async (store) => expect((await run(store.head("two/a")))?.lengthBytes).toBe(1))
})

test("an object is not acknowledged in a folder that another process has made and not yet synced", async () => {
  const disk = new MemoryDisk()
  await withStore(disk, (store) => put(store, "old", {}))
  await withStore(disk, (first) =>
    withStore(disk, async (second) => {
      let isHeld = false
      let held = (): void => {}
      const holding = new Promise<void>((resolve) => {
        held = resolve
      })
      // The first one hangs for ever where it would make the folder durable.
      disk.onOperation = ({ kind, path }) => {
        if (kind !== "syncDirectory" || path !== "/store/objects" || isHeld) return undefined
        isHeld = true
        held()
        return new Promise(() => {})
      }
      Effect.runFork(first.put("two/a", bodyOf("x")))
      await holding
      await run(second.put("two/b", bodyOf("y")))
      disk.onOperation = undefined
      const cut = disk.fork()
      cut.crash(() => false)
      await withStore(cut, async (store) => expect((await run(store.head("two/b")))?.lengthBytes).toBe(1))
    }),
  )
})
