// What every object store does, whatever it stands on. A test file names the store and says how to make an empty one.

import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { crc64 } from "../../src/format/checksum.ts"
import { InvalidArgument } from "../../src/model/errors.ts"
import type { ObjectBody, ObjectStore, PutOptions } from "../../src/port/object_store.ts"
import { StoreError } from "../../src/port/store_error.ts"

/** A store with nothing in it, and how to give back what it stands on. */
export interface StoreSubject {
  readonly store: ObjectStore
  /** Another way to the same objects, as another process has it; by default the store itself. */
  readonly second?: ObjectStore
  readonly close?: () => Promise<void>
}

const run = Effect.runPromise
export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** A body out of memory, which refuses to be asked for more than it has. */
export const bodyOf = (content: string | Uint8Array): ObjectBody => {
  const bytes = typeof content === "string" ? bytesOf(content) : content
  return {
    lengthBytes: bytes.length,
    read: (offset, length) => {
      if (offset < 0 || length < 1 || offset + length > bytes.length) {
        return Effect.die(new Error(`the body was asked for ${length} bytes at ${offset}`))
      }
      return Effect.succeed(bytes.subarray(offset, offset + length))
    },
  }
}

/** Bytes that differ everywhere, so that a shifted or repeated piece is noticed. */
export const pattern = (length: number, seed = 1): Uint8Array => {
  const words = new Uint32Array((length + 3) >> 2)
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index + seed, 2654435761) >>> 0
  return new Uint8Array(words.buffer, 0, length)
}

/** How an effect ends: `ok`, the kind of its `StoreError`, or the tag of another error. */
export const outcomeOf = async (effect: Effect.Effect<unknown, StoreError | InvalidArgument>): Promise<string> => {
  const result = await run(Effect.result(effect))
  if (result._tag === "Success") return "ok"
  expect(result.failure instanceof StoreError || result.failure instanceof InvalidArgument).toBe(true)
  return result.failure instanceof StoreError ? result.failure.kind : result.failure._tag
}

const hostileKeys: ReadonlyArray<unknown> = [
  "",
  "/",
  "/a",
  "a/",
  "a//b",
  "..",
  "../a",
  "a/../b",
  "a/..",
  ".",
  "./a",
  "a/.b",
  ".hidden",
  "a\0b",
  "a\nb",
  "a b",
  "a\\b",
  "é",
  "a%2fb",
  "x".repeat(256),
  `${"x/".repeat(512)}xx`,
  undefined,
  7,
]

/** Adds the suite of one store; `makeSubject` is called once. */
export function describeObjectStore(name: string, makeSubject: () => StoreSubject | Promise<StoreSubject>): void {
  let subject: StoreSubject
  let store: ObjectStore
  let next = 0
  /** A prefix of its own for each test. */
  const fresh = (): string => `t${next++}`
  const put = (key: string, content: string | Uint8Array, options?: PutOptions): Promise<{ readonly etag: string }> =>
    run(store.put(key, bodyOf(content), options))
  const keysOf = async (prefix: string): Promise<ReadonlyArray<string>> =>
    (await run(store.list(prefix))).objects.map(({ key }) => key)

  describe(name, () => {
    beforeAll(async () => {
      subject = await makeSubject()
      store = subject.store
    })
    afterAll(async () => subject.close?.())

    test("gives back what was put, with length, etag and metadata", async () => {
      const key = `${fresh()}/a.b_c-D9`
      const { etag } = await put(key, "hello", { metadata: { one: "1", "two-2": "x y" } })
      expect(etag).not.toBe("")
      const bytes = await run(store.get(key))
      expect(textOf(bytes)).toBe("hello")
      bytes.fill(0)
      expect(textOf(await run(store.get(key)))).toBe("hello")
      expect(await run(store.head(key))).toEqual({
        key,
        etag,
        lengthBytes: 5,
        metadata: { one: "1", "two-2": "x y" },
      })
    })

    test("replaces content and metadata, and changes the etag", async () => {
      const key = `${fresh()}/a`
      const first = await put(key, "one", { metadata: { a: "1" } })
      const second = await put(key, "two", { metadata: { b: "2" } })
      expect(second.etag).not.toBe(first.etag)
      expect(textOf(await run(store.get(key)))).toBe("two")
      expect((await run(store.head(key)))?.metadata).toEqual({ b: "2" })
      await put(key, "two")
      expect((await run(store.head(key)))?.metadata).toEqual({})
    })

    test("says that nothing is there", async () => {
      const key = `${fresh()}/a`
      expect(await outcomeOf(store.get(key))).toBe("NotFound")
      expect(await outcomeOf(store.get(key, { offset: 0, length: 1 }))).toBe("NotFound")
      expect(await run(store.head(key))).toBe(undefined)
      await run(store.remove(key))
      expect(await run(store.list(key))).toEqual({ objects: [], next: undefined })
    })

    test("removes an object with its metadata, also twice", async () => {
      const key = `${fresh()}/a`
      await put(key, "x", { metadata: { a: "1" } })
      await run(store.remove(key))
      await run(store.remove(key))
      expect(await outcomeOf(store.get(key))).toBe("NotFound")
      await put(key, "x", { condition: { absent: true } })
      expect((await run(store.head(key)))?.metadata).toEqual({})
    })

    test("puts when absent only when nothing is there", async () => {
      const key = `${fresh()}/a`
      await put(key, "one", { condition: { absent: true } })
      expect(await outcomeOf(store.put(key, bodyOf("two"), { condition: { absent: true } }))).toBe("PreconditionFailed")
      const marked: PutOptions = { condition: { absent: true }, metadata: { a: "1" } }
      expect(await outcomeOf(store.put(key, bodyOf("one"), marked))).toBe("PreconditionFailed")
      expect(textOf(await run(store.get(key)))).toBe("one")
      expect((await run(store.head(key)))?.metadata).toEqual({})
    })

    test("replaces only what has the etag", async () => {
      const key = `${fresh()}/a`
      const one = await put(key, "one")
      expect(await outcomeOf(store.put(key, bodyOf("x"), { condition: { etag: "other" } }))).toBe("PreconditionFailed")
      await put(key, "two", { condition: { etag: one.etag } })
      expect(await outcomeOf(store.put(key, bodyOf("x"), { condition: { etag: one.etag } }))).toBe("PreconditionFailed")
      expect(textOf(await run(store.get(key)))).toBe("two")
      const missing = store.put(`${key}2`, bodyOf("x"), { condition: { etag: one.etag } })
      expect(["PreconditionFailed", "NotFound"]).toContain(await outcomeOf(missing))
    })

    test("of 16 that put when absent lets one win", async () => {
      const key = `${fresh()}/a`
      const stores = [store, subject.second ?? store]
      const outcomes = await Promise.all(
        Array.from({ length: 16 }, (_, index) =>
          outcomeOf(stores[index % 2]!.put(key, bodyOf(`content ${index}`), { condition: { absent: true } })),
        ),
      )
      expect(outcomes.filter((outcome) => outcome === "PreconditionFailed").length).toBe(15)
      expect(textOf(await run(store.get(key)))).toBe(`content ${outcomes.indexOf("ok")}`)
    })

    test("of 16 that replace the same content lets one win", async () => {
      const key = `${fresh()}/a`
      const { etag } = await put(key, "start")
      const stores = [store, subject.second ?? store]
      const outcomes = await Promise.all(
        Array.from({ length: 16 }, (_, index) =>
          outcomeOf(stores[index % 2]!.put(key, bodyOf(`content ${index}`), { condition: { etag } })),
        ),
      )
      expect(outcomes.filter((outcome) => outcome === "PreconditionFailed").length).toBe(15)
      expect(textOf(await run(store.get(key)))).toBe(`content ${outcomes.indexOf("ok")}`)
    })

    test("removes many objects with one request, where it can", async () => {
      const { removeMany } = store
      if (removeMany === undefined) return
      const at = fresh()
      const keys = ["a", "b", "c", "d.e", "f_g"].map((name) => `${at}/${name}`)
      for (const key of keys) await put(key, "x")
      const failed = await run(removeMany([...keys.slice(1), `${at}/never`]))
      expect([...failed]).toEqual([])
      expect((await run(store.list(at))).objects.map(({ key }) => key)).toEqual([keys[0]!])
      const refused = [[], new Array<string>(1001).fill(keys[0]!), ["../x"]]
      for (const many of refused) expect(await outcomeOf(removeMany(many))).toBe("InvalidArgument")
      expect((await run(store.list(at))).objects.length).toBe(1)
    })

    test("may put a range into memory that is lent, and nothing more", async () => {
      const key = `${fresh()}/lent`
      await put(key, "0123456789")
      const into = new Uint8Array(8).fill(42)
      const bytes = await run(store.get(key, { offset: 6, length: 6, into }))
      expect(textOf(bytes)).toBe("6789")
      // Whether it took it is the store's affair.
      const isLent = bytes.buffer === into.buffer
      expect([...into]).toEqual(isLent ? [54, 55, 56, 57, 42, 42, 42, 42] : new Array(8).fill(42))
    })

    test("gives ranges, cut at the end", async () => {
      const key = `${fresh()}/a`
      await put(key, "0123456789")
      const range = async (offset: number, length: number): Promise<string> =>
        textOf(await run(store.get(key, { offset, length })))
      expect(await range(0, 3)).toBe("012")
      expect(await range(7, 3)).toBe("789")
      expect(await range(7, 100)).toBe("789")
      expect(await range(10, 1)).toBe("")
      expect(await range(11, 5)).toBe("")
      expect(await range(0, Number.MAX_SAFE_INTEGER)).toBe("0123456789")
      expect(await range(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)).toBe("")
      const refused = [
        [-1, 1],
        [0, 0],
        [0, -1],
        [0.5, 1],
        [Number.NaN, 1],
        [0, Number.POSITIVE_INFINITY],
      ] as const
      for (const [offset, length] of refused) {
        expect(await outcomeOf(store.get(key, { offset, length }))).toBe("InvalidArgument")
      }
    })

    test("stores nothing as an object", async () => {
      const key = `${fresh()}/a`
      await put(key, "", { condition: { absent: true }, checksum64: 0n })
      expect((await run(store.get(key))).length).toBe(0)
      expect((await run(store.get(key, { offset: 0, length: 10 }))).length).toBe(0)
      expect((await run(store.head(key)))?.lengthBytes).toBe(0)
      expect(await run(store.list(key))).toEqual({ objects: [{ key, lengthBytes: 0 }], next: undefined })
    })

    test("stores more than any buffer holds, checked", async () => {
      const key = `${fresh()}/a`
      const content = pattern(9 * 1024 * 1024 + 12_345)
      await put(key, content, { checksum64: crc64(content) })
      const half = content.length >> 1
      const found = [
        await run(store.get(key, { offset: 0, length: half })),
        await run(store.get(key, { offset: half, length: content.length })),
      ]
      expect(found.map(({ length }) => length)).toEqual([half, content.length - half])
      expect(crc64(...found)).toBe(crc64(content))
      expect(crc64(await run(store.get(key)))).toBe(crc64(content))
      expect((await run(store.head(key)))?.lengthBytes).toBe(content.length)
    })

    test("lists in order of bytes, by prefix and by pages", async () => {
      const at = fresh()
      const names = ["a-b", "a.b", "a/b", "a/c/d", "a0", "a_", "B", "b/9", "b/10", "z"]
      const keys = names.map((each) => `${at}/${each}`)
      for (const [index, key] of keys.entries()) await put(key, "x".repeat(index))
      const sorted = [...keys].sort()
      expect(await keysOf(`${at}/`)).toEqual(sorted)
      expect(await keysOf(at)).toEqual(sorted)
      expect(await keysOf(`${at}/a`)).toEqual(sorted.filter((key) => key.startsWith(`${at}/a`)))
      expect(await keysOf(`${at}/a/`)).toEqual([`${at}/a/b`, `${at}/a/c/d`])
      expect(await keysOf(`${at}/a/c/d`)).toEqual([`${at}/a/c/d`])
      expect(await keysOf(`${at}/q`)).toEqual([])
      for (const limit of [1, 3, 9, 10]) {
        const found: Array<string> = []
        let after: string | undefined
        do {
          const page = await run(store.list(`${at}/`, { after, limit }))
          expect(page.objects.length).toBeLessThanOrEqual(limit)
          found.push(...page.objects.map(({ key }) => key))
          after = page.next
        } while (after !== undefined)
        expect(found).toEqual(sorted)
      }
      for (const after of [`${at}/a-c`, `${at}/a/`, `${at}/a/b`, `${at}/a/c`, `${at}/a/zz`, `${at}/zz`, at]) {
        const page = await run(store.list(`${at}/`, { after }))
        expect(page.objects.map(({ key }) => key)).toEqual(sorted.filter((key) => key > after))
      }
      const lengths = (await run(store.list(`${at}/`))).objects.map(({ lengthBytes }) => lengthBytes)
      expect(lengths).toEqual(sorted.map((key) => keys.indexOf(key)))
    })

    test("refuses listings that make no sense", async () => {
      for (const prefix of ["/", "a//", "../", "a/.", "\0", "a b", "x".repeat(1025)]) {
        expect(await outcomeOf(store.list(prefix))).toBe("InvalidArgument")
      }
      for (const limit of [0, -1, 1001, 1.5, Number.NaN]) {
        expect(await outcomeOf(store.list("", { limit }))).toBe("InvalidArgument")
      }
    })

    test.each(hostileKeys.map((key) => [key]))("refuses the key %p", async (hostile: unknown) => {
      const key = hostile as string
      expect(await outcomeOf(store.put(key, bodyOf("x")))).toBe("InvalidArgument")
      expect(await outcomeOf(store.get(key))).toBe("InvalidArgument")
      expect(await outcomeOf(store.head(key))).toBe("InvalidArgument")
      expect(await outcomeOf(store.remove(key))).toBe("InvalidArgument")
    })

    test("takes the longest key and the longest part of one", async () => {
      const parts = [fresh().padEnd(255, "x"), "y".repeat(255), "z".repeat(255), "w".repeat(255)]
      const key = `${parts.join("/")}/`.slice(0, 1023)
      expect(key.length).toBe(1023)
      await put(key, "x")
      expect(await keysOf(parts[0]!)).toEqual([key])
      await run(store.remove(key))
    })

    test("has a key and keys below it, or says that it cannot", async () => {
      const at = fresh()
      await put(`${at}/a`, "one")
      const below = await outcomeOf(store.put(`${at}/a/b`, bodyOf("two")))
      expect(["ok", "Invalid"]).toContain(below)
      await put(`${at}/c/d`, "three")
      for (const options of [{}, { condition: { absent: true } }, { metadata: { a: "1" } }] as const) {
        const above = await outcomeOf(store.put(`${at}/c`, bodyOf("four"), options))
        expect(above === below || above === "PreconditionFailed").toBe(true)
        if (below === "Invalid") expect(above).toBe("Invalid")
      }
      expect(textOf(await run(store.get(`${at}/a`)))).toBe("one")
      expect(textOf(await run(store.get(`${at}/c/d`)))).toBe("three")
      if (below === "ok") return
      for (const key of [`${at}/a/b`, `${at}/c`, `${at}/a/b/c`]) {
        expect(await outcomeOf(store.get(key, { offset: 99_999, length: 1 }))).toBe("NotFound")
        expect(await run(store.head(key))).toBe(undefined)
        await run(store.remove(key))
      }
      expect(await keysOf(`${at}/`)).toEqual([`${at}/a`, `${at}/c/d`])
    })

    test("stores nothing of a body that is cut, too long, wrong or fails", async () => {
      const at = fresh()
      const wrong = (length: number): ObjectBody => ({
        lengthBytes: 100,
        read: () => Effect.succeed(new Uint8Array(length)),
      })
      const failing: ObjectBody = {
        lengthBytes: 1024 * 1024,
        read: (offset, length) =>
          offset > 500_000
            ? Effect.fail(
                new StoreError({ message: "m", what: "w", value: 1, limit: 2, kind: "Denied", code: "EACCES" }),
              )
            : Effect.succeed(new Uint8Array(length)),
      }
      expect(await outcomeOf(store.put(`${at}/a`, wrong(99)))).toBe("Invalid")
      expect(await outcomeOf(store.put(`${at}/b`, wrong(101)))).toBe("Invalid")
      expect(await outcomeOf(store.put(`${at}/c`, failing))).toBe("Denied")
      expect(await outcomeOf(store.put(`${at}/d`, bodyOf("hello"), { checksum64: 1n }))).toBe("Invalid")
      for (const lengthBytes of [-1, 0.5, Number.NaN, 2 ** 60]) {
        expect(await outcomeOf(store.put(`${at}/e`, { ...bodyOf("x"), lengthBytes }))).toBe("InvalidArgument")
      }
      expect(await outcomeOf(store.put(`${at}/f`, bodyOf("x"), { checksum64: -1n }))).toBe("InvalidArgument")
      expect(await outcomeOf(store.put(`${at}/f`, bodyOf("x"), { metadata: { A: "1" } }))).toBe("InvalidArgument")
      expect(await outcomeOf(store.put(`${at}/f`, bodyOf("x"), { metadata: { a: "\n" } }))).toBe("InvalidArgument")
      expect(await keysOf(`${at}/`)).toEqual([])
    })

    test("shows nothing of a put that is interrupted half-way, and the old object as it was", async () => {
      const at = fresh()
      await put(`${at}/old`, "old")
      for (const key of [`${at}/new`, `${at}/old`]) {
        let reached = (): void => {}
        const isHalfWay = new Promise<void>((resolve) => {
          reached = resolve
        })
        const body: ObjectBody = {
          lengthBytes: 2 * 1024 * 1024,
          read: (offset, length) => {
            if (offset < 1024 * 1024) return Effect.succeed(new Uint8Array(length))
            reached()
            return Effect.never
          },
        }
        const fiber = Effect.runFork(store.put(key, body))
        await isHalfWay
        expect(await keysOf(`${at}/`)).toEqual([`${at}/old`])
        await run(Fiber.interrupt(fiber))
      }
      expect(await keysOf(`${at}/`)).toEqual([`${at}/old`])
      expect(textOf(await run(store.get(`${at}/old`)))).toBe("old")
      await put(`${at}/new`, "new", { condition: { absent: true } })
    })
  })
}
