import { describe, expect, test } from "bun:test"
import * as promises from "bop-aof"
import * as effects from "bop-aof/effect"
import {
  type AofError,
  AofManager,
  type AofManagerOptions,
  AofRecord,
  type DetailedInput,
  InvalidArgument,
  type JsonStreamOptions,
  ManifestInspector,
  memoryStore,
  openReplica,
  type PlainJson,
  type ReadOptions,
  type RecordView,
  type RecoveryEntry,
  Replica,
  type ReplicaOptions,
  type Retention,
  type StreamDamage,
  type StreamOptions,
} from "bop-aof/effect"
import { layer } from "bop-aof/memory"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

type Services = effects.Directory | effects.RootLock | effects.EventLoop | effects.Compressor | Scope.Scope

/** Runs a program with a manager on a memory disk. */
const withManager = <A, E>(program: (manager: AofManager) => Effect.Effect<A, E, Services>): Promise<A> =>
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

  test("takes a signal nowhere: not in an option, not in a type, and no error names it", async () => {
    const signal = AbortSignal.abort()
    const store = memoryStore()
    // @ts-expect-error It is none of the options.
    const manager: AofManagerOptions = { root: "/other", signal }
    // @ts-expect-error It is none of the options.
    const replica: ReplicaOptions = { store, signal }
    // @ts-expect-error It is none of the options.
    const stream: StreamOptions = { signal }
    // @ts-expect-error It is none of the options.
    const values: JsonStreamOptions = { codec: "json", signal }
    // @ts-expect-error It is none of the options.
    const read: ReadOptions = { signal }
    const foo = { foo: 1 } as object
    const errors = await withManager((open) =>
      Effect.gen(function* () {
        const one = yield* open.stream("orders")
        yield* one.append("one")
        const calls: ReadonlyArray<Effect.Effect<unknown, AofError, Services>> = [
          AofManager.open(manager),
          AofManager.open({ root: "/other", ...foo }),
          AofManager.open(null as never),
          AofManager.repair({ root: "/other", signal } as never),
          AofManager.repair({ root: "/other", ...foo }),
          openReplica(replica),
          openReplica({ store, ...foo }),
          open.stream("orders", stream),
          open.stream("orders", values),
          open.stream("orders", foo as StreamOptions),
          Stream.runDrain(one.read(read)),
          Stream.runDrain(one.follow(foo as ReadOptions)),
          Effect.try({ try: () => one.cursor(read), catch: (error) => error as AofError }),
          open.reconcile({ signal } as never),
          one.prefetch({ signal } as never),
          one.evict(null as never),
        ]
        return yield* Effect.forEach(calls, (call) => Effect.flip(call))
      }),
    )
    expect(errors.map(({ _tag }) => _tag)).toEqual(errors.map(() => "InvalidArgument"))
    expect(errors.filter((error) => /signal/.test(String((error as InvalidArgument).limit)))).toEqual([])
  })

  test("exports each value of the main module under the same name, and its types but for those of promises", async () => {
    const names = Object.keys(promises).filter((name) => !(name in effects))
    expect(names).toEqual([])
    type Shared = [RecordView, RecoveryEntry, StreamDamage, DetailedInput<string>, PlainJson, Retention]
    const shared: Partial<Shared> = []
    expect(shared.length).toBe(0)
    const record = await withManager((manager) =>
      Effect.gen(function* () {
        const stream = yield* manager.stream("orders")
        return yield* stream.get((yield* stream.append("one")).recordId)
      }),
    )
    expect(record).toBeInstanceOf(AofRecord)
  })

  test("ManifestInspector.open() shows the manifest of the disk of the context", async () => {
    const { inspector, errors } = await withManager((manager) =>
      Effect.gen(function* () {
        const stream = yield* manager.stream("orders")
        yield* stream.append("one")
        yield* stream.seal()
        const inspected = yield* ManifestInspector.open(manager.root)
        const missing = yield* Effect.flip(ManifestInspector.open("/nowhere"))
        const wrong = yield* Effect.flip(ManifestInspector.open(null as never))
        return { inspector: inspected, errors: [missing, wrong] }
      }),
    )
    expect(inspector).toBeInstanceOf(ManifestInspector)
    expect(inspector.streams.map(({ name, segments }) => [name, segments.length])).toEqual([["orders", 1]])
    expect(inspector.toJSON()).toMatchObject({ root: "/root" })
    expect(errors.map(({ _tag }) => _tag)).toEqual(["NotFound", "InvalidArgument"])
  })

  test("a replica has the calls of the main module's, and close() ends it before its scope", async () => {
    const store = memoryStore()
    const program = Effect.gen(function* () {
      const writer = yield* AofManager.open({ root: "/root", segmentBytes: 65536, tier2: { store, headIntervalMs: 0 } })
      const stream = yield* writer.stream("orders", { codec: "json" })
      yield* stream.append({ a: 1 })
      yield* stream.seal()
      yield* writer.settled()
      const replica = yield* openReplica({ store, pollMs: 3_600_000 })
      const view = yield* replica.stream("orders", { codec: "json" })
      const values = yield* Stream.runCollect(Stream.map(view.read(), ({ value }) => value))
      const seen = { streams: replica.streams(), place: replica.info().place, flushes: replica.observe().flush.syncs }
      yield* replica.close()
      yield* replica.close()
      const poll = yield* Effect.flip(replica.poll())
      const read = yield* Effect.flip(Stream.runDrain(view.read()))
      return { replica, values, seen, after: [poll._tag, read._tag] }
    })
    const found = await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer)))
    expect(found.replica).toBeInstanceOf(Replica)
    expect(found.values).toEqual([{ a: 1 }])
    expect(found).toMatchObject({ seen: { streams: ["orders"], place: "memory" }, after: ["Closed", "Closed"] })
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
