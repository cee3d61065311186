import { describe, expect, test } from "bun:test"
import { type AofError, AofManager, InvalidArgument } from "bop-aof/effect"
import { layer } from "bop-aof/memory"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"

/** Runs a program with a manager on a memory disk. */
const withManager = <A, E>(program: (manager: AofManager) => Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(
    Effect.scoped(Effect.flatMap(AofManager.open({ root: "/root", segmentBytes: 65536 }), program)).pipe(
      Effect.provide(layer),
    ),
  )

describe("the Effect dress", () => {
  test("appends, reads back and acknowledges like the promise dress", async () => {
    const result = await withManager((manager) =>
      Effect.gen(function* () {
        const stream = yield* manager.stream("orders")
        const ack = yield* stream.append("one", { extId: 7n })
        const batch = yield* stream.appendBatch(["two", { payload: "three", extId: 9 }])
        const records = yield* Stream.runCollect(stream.read({ from: "start" }))
        return {
          ack,
          batch,
          texts: records.map((record) => record.text()),
          extIds: records.map((record) => record.extId),
        }
      }),
    )
    expect(result.ack).toMatchObject({ recordNumber: 0, level: "durable" })
    expect(result.batch).toMatchObject({ count: 2, level: "durable" })
    expect(result.texts).toEqual(["one", "two", "three"])
    expect(result.extIds).toEqual([7n, 0n, 9n])
  })

  test("a typed failure is in the error channel", async () => {
    const error = await withManager((manager) =>
      Effect.gen(function* () {
        const stream = yield* manager.stream("orders")
        return yield* Effect.flip(stream.append(5 as unknown as string))
      }),
    )
    expect(error).toBeInstanceOf(InvalidArgument)
    expect(error).toMatchObject({ _tag: "InvalidArgument", what: "payload", retryable: false })
  })

  test("sealedSegments() gives a cursor for each segment that is sealed, and lets go of the last", async () => {
    const result = await withManager((manager) =>
      Effect.gen(function* () {
        const stream = yield* manager.stream("orders")
        for (let segment = 0; segment < 3; segment++) {
          for (let one = 0; one < 4; one++) yield* stream.append(`${segment}.${one}`)
          yield* stream.seal()
        }
        yield* stream.append("not sealed")
        const counts: Array<number> = []
        const count = Stream.runForEach(stream.sealedSegments({ from: 2 }), (cursor) =>
          Effect.sync(() => {
            let records = 0
            while (cursor.next()) records++
            counts.push(records)
          }),
        )
        yield* count
        const first = yield* Stream.runCollect(Stream.take(stream.sealedSegments(), 1))
        const error = yield* Effect.flip(Stream.runDrain(stream.sealedSegments({ from: -1 })))
        return { counts, taken: first.length, error, pinned: manager.observe().tier0.pinnedSegments }
      }),
    )
    expect(result).toMatchObject({ counts: [4, 4], taken: 1, pinned: 0 })
    expect(result.error).toMatchObject({ _tag: "InvalidArgument", what: "from", value: -1 })
  })

  test("follow() goes from history to the live tail and is ended by interruption", async () => {
    const texts = await withManager((manager) =>
      Effect.gen(function* () {
        const stream = yield* manager.stream("orders")
        for (let i = 0; i < 5; i++) yield* stream.append(`record ${i}`)
        const follower = yield* Effect.forkChild(Stream.runCollect(Stream.take(stream.follow({ from: "start" }), 2000)))
        for (let i = 5; i < 2000; i++) {
          while (stream.tryAppend(`record ${i}`) < 0) yield* stream.ready()
          if (i % 97 === 0) yield* stream.flush()
        }
        yield* stream.flush()
        return (yield* Fiber.join(follower)).map((record) => record.text())
      }),
    )
    expect(texts).toEqual(Array.from({ length: 2000 }, (_, i) => `record ${i}`))
  })

  test("refuses what the promise dress refuses, and a signal", async () => {
    const results = await withManager((manager) =>
      Effect.gen(function* () {
        const stream = yield* manager.stream("orders")
        const { recordId } = yield* stream.append("one")
        const signal = new AbortController().signal
        const calls: ReadonlyArray<Effect.Effect<unknown, AofError>> = [
          manager.stream("orders", { codec: "json" }),
          manager.stream("orders", null as never),
          stream.append("two", { signal } as never),
          stream.append("two", null as never),
          stream.appendBatch(["two"], { signal } as never),
          stream.get(recordId, { foo: 1 } as never),
          stream.get(recordId, null as never),
          stream.openReader(1, { foo: 1 } as never),
          stream.trim(undefined as never),
          Stream.runDrain(stream.read({ signal } as never)),
        ]
        const errors = yield* Effect.forEach(calls, (call) => Effect.flip(call))
        return { errors, root: manager.root, segments: stream.segments().length, count: stream.info().count }
      }),
    )
    expect(results.errors.map(({ _tag }) => _tag)).toEqual(results.errors.map(() => "InvalidArgument"))
    expect(results).toMatchObject({ root: "/root", segments: 1, count: 1 })
  })

  test("the end of the scope closes the manager", async () => {
    const stream = await withManager((manager) => manager.stream("orders"))
    const error = await Effect.runPromise(Effect.flip(stream.append("late")))
    expect(error._tag).toBe("Closed")
  })

  test("json streams encode and decode values", async () => {
    const value = await withManager((manager) =>
      Effect.gen(function* () {
        const stream = yield* manager.stream("json", { codec: "json" })
        const { recordId } = yield* stream.append({ a: [1, 2] })
        return (yield* stream.get(recordId)).value
      }),
    )
    expect(value).toEqual({ a: [1, 2] })
  })
})
