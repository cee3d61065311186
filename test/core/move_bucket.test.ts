// A root moves to another bucket while it is open: everything is there, nobody can go on in the old one by mistake, and a move that fails or is cut off
// by a crash at any request loses nothing.

import { describe, expect, test } from "bun:test"
import { openReplica } from "bop-aof"
import * as Effect from "effect/Effect"
import { memoryStore } from "../../src/api/object_store.ts"
import type { TierEvent } from "../../src/model/tier_event.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore, type StoreFault } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure, openMemory } from "../support/api.ts"
import {
  appendTexts,
  filled,
  headIn,
  numbersIn,
  openBucketStore,
  putBytes,
  segmentsIn,
  until,
  upTo,
} from "../support/bucket.ts"

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

/** A store with a place of its own. */
const namedStore = (place: string): FaultyObjectStore =>
  new FaultyObjectStore(Object.defineProperty(memoryStore(), "place", { value: place }))

/** Reads all of `orders` from nothing but a bucket. */
const restored = async (store: ObjectStore): Promise<ReadonlyArray<number>> => {
  const manager = await openBucketStore(store)
  const numbers = await numbersIn(await manager.stream("orders"))
  await manager.close()
  return numbers
}

describe("moveBucket", () => {
  test("brings everything to the new bucket, which goes on and is enough, and leaves the old one closed", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const disk = new MemoryDisk({ modelsCrashes: false })
    const events: Array<TierEvent> = []
    const manager = await openBucketStore(before, { disk }, { onEvent: (event) => events.push(event) })
    const stream = await manager.stream("orders")
    await appendTexts(stream, 0, 30)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    const keys = await segmentsIn(before)
    const report = await manager.moveBucket({ to: after })
    expect([report.from, report.to, report.copied, report.missing]).toEqual(["old", "new", keys.length, []])
    expect(report.copiedBytes).toBeGreaterThan(0)
    expect(report.pausedMs).toBeLessThanOrEqual(report.durationMs)
    expect(await segmentsIn(after)).toEqual(keys)
    expect(events.filter(({ name }) => name === "bucket_moved").length).toBe(1)
    // What follows goes there, and is read from there.
    const puts = before.counts.put.requests
    await appendTexts(stream, 30, 50)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    before.down = "Network"
    expect(await numbersIn(stream)).toEqual(upTo(50))
    await manager.settled()
    expect(before.counts.put.requests).toBe(puts)
    await manager.close()
    before.down = undefined
    expect(await restored(after)).toEqual(upTo(50))
  })

  test("HEAD of the new bucket comes when everything is there, and after that of the old one", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const manager = await openBucketStore(before)
    const stream = await manager.stream("orders")
    await appendTexts(stream, 0, 8)
    await stream.seal()
    await manager.settled()
    const puts: Array<string> = []
    const noting =
      (place: string) =>
      ({ kind, key }: { readonly kind: string; readonly key: string }): undefined => {
        if (kind === "put") puts.push(`${place} ${key.replace(/^.*\/(segments|manifest)\/.*$/, "$1")}`)
      }
    before.script = noting("old")
    after.script = noting("new")
    await manager.moveBucket({ to: after })
    const segments = (await segmentsIn(before)).length
    expect(puts.slice(0, segments)).toEqual(Array(segments).fill("new segments"))
    expect(puts.filter((put) => put.endsWith("HEAD"))).toEqual(["old HEAD", "new HEAD"])
    expect(puts.at(-1)).toBe("new HEAD")
    await manager.close()
  })

  test("refuses the old bucket to writers and replicas, and names the new one", async () => {
    const [before, after] = [namedStore("s3://old/prefix"), namedStore("s3://new/prefix")]
    const disk = new MemoryDisk({ modelsCrashes: false })
    const { manager } = await filled(before, disk)
    const replica = await openReplica({ store: before, pollMs: 10 })
    const records = await numbersIn((await replica.stream("orders")) as never)
    await manager.moveBucket({ to: after })
    expect((await headIn(before))?.isMoved).toBe(true)
    expect((await headIn(after))?.isMoved).toBe(undefined)
    await until("the replica has seen it", () => replica.info().failures > 0)
    expect(await numbersIn((await replica.stream("orders")) as never)).toEqual(records)
    await replica.close()
    const named = "s3://new/prefix"
    const late = await failure(openReplica({ store: before }))
    expect([late._tag, (late as { limit?: unknown }).limit]).toEqual(["Fenced", named])
    const fresh = await failure(openBucketStore(before))
    expect([fresh._tag, (fresh as { limit?: unknown }).limit]).toEqual(["Fenced", named])
    await manager.close()
    const own = await failure(openBucketStore(before, { disk }))
    expect([own._tag, (own as { limit?: unknown }).limit]).toEqual(["Fenced", named])
    const next = await openBucketStore(after, { disk })
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(30))
    await next.close()
    // Who wants to go on there all the same says so.
    const back = await openBucketStore(before, { takeOver: true })
    expect(await numbersIn(await back.stream("orders"))).toEqual(upTo(30))
    await back.close()
  })

  test("a root that was opened while the old bucket was away finds out that it has moved before it changes anything there", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const disk = new MemoryDisk({ modelsCrashes: false })
    const { manager } = await filled(before, disk)
    await manager.moveBucket({ to: after })
    await manager.close()
    before.down = "Network"
    const late = await openBucketStore(before, { disk })
    const puts = before.counts.put.requests
    before.down = undefined
    await until("it is fenced", () => late.observe().bucket?.isFenced === true)
    expect(before.counts.put.requests).toBe(puts)
    await late.close().catch(() => {})
    expect((await headIn(before))?.isMoved).toBe(true)
  })

  test("goes back and forth, and copies only what is not there", async () => {
    const [one, other] = [namedStore("one"), namedStore("other")]
    const { manager, stream } = await filled(one)
    const first = await manager.moveBucket({ to: other })
    await appendTexts(stream, 30, 40)
    await stream.seal()
    await manager.settled()
    const back = await manager.moveBucket({ to: one })
    expect(back.copied).toBeGreaterThan(0)
    expect(back.copied).toBeLessThan(first.copied + back.copied)
    expect(await segmentsIn(one)).toEqual(await segmentsIn(other))
    const again = await manager.moveBucket({ to: other })
    expect(again.copied).toBe(0)
    await stream.evict({ to: "tier2" })
    expect(await numbersIn(stream)).toEqual(upTo(40))
    await manager.close()
    expect(await restored(other)).toEqual(upTo(40))
  })

  test("appends, seals, trims and reads go on meanwhile, and nothing is lost or left out", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, stream } = await filled(before)
    let isMoving = true
    const appending = (async () => {
      let number = 30
      for (; isMoving || number < 60; number += 10) {
        const [first] = await appendTexts(stream, number, number + 10)
        await stream.seal()
        if (number === 40) await stream.trim({ before: first! })
        await numbersIn(stream)
      }
      return number
    })()
    const { missing } = await manager.moveBucket({ to: after })
    expect(missing).toEqual([])
    isMoving = false
    const count = await appending
    await stream.seal()
    await manager.settled()
    const numbers = await numbersIn(stream)
    expect(numbers.at(-1)).toBe(count - 1)
    await manager.close()
    expect(await restored(after)).toEqual(numbers)
  })

  test("refuses the present bucket, one of another root, a store without a bucket, and wrong options", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager } = await filled(before)
    const same = await failure(manager.moveBucket({ to: before }))
    expect(same._tag).toBe("InvalidArgument")
    const other = await filled(after)
    await other.manager.close()
    const head = await headIn(after)
    expect((await failure(manager.moveBucket({ to: after })))._tag).toBe("Fenced")
    expect(await headIn(after)).toEqual(head)
    for (const wrong of [
      {},
      undefined,
      { to: 1 },
      { to: namedStore("x"), abandn: true },
      { to: namedStore("x"), abandon: 1 },
    ]) {
      expect((await failure(manager.moveBucket(wrong as never)))._tag).toBe("InvalidArgument")
    }
    expect(manager.observe().bucket?.isFenced).toBe(false)
    await manager.close()
    expect((await failure(manager.moveBucket({ to: namedStore("late") })))._tag).toBe("Closed")
    const plain = await openMemory({ tier2: false })
    expect((await failure(plain.moveBucket({ to: namedStore("x") })))._tag).toBe("InvalidArgument")
    await plain.close()
    const embedded = await openMemory({})
    expect((await failure(embedded.moveBucket({ to: namedStore("x") })))._tag).toBe("InvalidArgument")
    await embedded.close()
  })

  test("stays where it was when the new bucket fails, and says why", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, stream } = await filled(before)
    for (const kind of ["head", "put"] as const) {
      after.script = (request) => (request.kind === kind ? "denied" : undefined)
      expect((await failure(manager.moveBucket({ to: after })))._tag).toBe("Unavailable")
    }
    // The HEAD of the new one is refused after the old one was left.
    after.script = ({ kind, key }) => (kind === "put" && key === "HEAD" ? "denied" : undefined)
    expect((await failure(manager.moveBucket({ to: after })))._tag).toBe("Unavailable")
    await appendTexts(stream, 30, 40)
    await stream.seal()
    await manager.settled()
    await until("the old one is not left any more", async () => (await headIn(before))?.isMoved !== true)
    after.script = undefined
    const { missing } = await manager.moveBucket({ to: after })
    expect(missing).toEqual([])
    await manager.close()
    expect(await restored(after)).toEqual(upTo(40))
  })

  test("that fails says so in the new bucket too, so that a HEAD which comes late there counts for nothing", async () => {
    for (let lateRequests = 1; lateRequests < 10; lateRequests++) {
      const before = namedStore("old")
      const inner = namedStore("new")
      const { manager, stream } = await filled(before)
      let heads = 0
      const faults: ReadonlyArray<StoreFault> = ["lateWrite", "timeoutBefore"]
      const after = new FaultyObjectStore(inner, {
        script: ({ kind, key }) => (kind === "put" && key === "HEAD" ? faults[heads++] : undefined),
        lateRequests,
      })
      const moved = await manager.moveBucket({ to: after }).catch((error) => error)
      // It may have come in time.
      if (moved._tag === undefined) {
        await manager.close()
        continue
      }
      expect(moved._tag).toBe("Unavailable")
      for (let requests = 0; requests < 12; requests++) await run(Effect.ignore(after.head("HEAD")))
      const error = await failure(openBucketStore(inner))
      expect([error._tag, error.limit]).toEqual(["Fenced", "old"])
      expect((await headIn(inner))?.isMoved).toBe(true)
      // It is where it was, and may try again.
      await appendTexts(stream, 30, 40)
      await stream.seal()
      await manager.settled()
      expect((await headIn(before))?.isMoved).toBe(undefined)
      await manager.moveBucket({ to: after })
      await manager.close()
      expect(await restored(inner)).toEqual(upTo(40))
    }
  })

  test("a bucket that does not answer is abandoned: what is local is uploaded, what is not is named, and copied later", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, stream } = await filled(before)
    const some = stream.segments()[0]!
    await stream.evict({ to: "tier2" })
    await appendTexts(stream, 30, 40)
    await stream.seal()
    await manager.settled()
    before.down = "Network"
    expect((await failure(manager.moveBucket({ to: after })))._tag).toBe("Unavailable")
    const { missing, copied } = await manager.moveBucket({ to: after, abandon: true })
    expect(copied).toBe(0)
    expect(missing!.filter(({ isRepairable }) => !isRepairable)[0]!.segmentIndex).toBe(some.index)
    const [first] = await appendTexts(stream, 40, 50)
    await stream.seal()
    await manager.settled()
    expect(await numbersIn(stream, { from: first! })).toEqual(upTo(50).slice(40))
    before.down = undefined
    await manager.reconcile({ from: before })
    expect(await numbersIn(stream)).toEqual(upTo(50))
    await manager.settled()
    await manager.close()
    expect(await restored(after)).toEqual(upTo(50))
  })

  test("a bucket that has not answered since the root was opened is abandoned too, and stays the root's when that fails", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const disk = new MemoryDisk({ modelsCrashes: false })
    const filledFirst = await filled(before, disk)
    await filledFirst.manager.close()
    before.down = "Network"
    const manager = await openBucketStore(before, { disk })
    const stream = await manager.stream("orders")
    await appendTexts(stream, 30, 40)
    await stream.seal()
    after.script = ({ kind, key }) => (kind === "put" && key === "HEAD" ? "denied" : undefined)
    expect((await failure(manager.moveBucket({ to: after, abandon: true })))._tag).toBe("Unavailable")
    expect(manager.observe().bucket?.epoch).toBe(0)
    // The bucket that it has is back, and away again: it has its epoch there meanwhile.
    before.down = undefined
    await manager.settled()
    await until("it has its epoch", () => manager.observe().bucket!.epoch > 0)
    await manager.close()
    before.down = "Network"
    after.script = undefined
    const again = await openBucketStore(before, { disk })
    const back = await again.stream("orders")
    await appendTexts(back, 40, 45)
    await back.seal()
    const { to, missing } = await again.moveBucket({ to: after, abandon: true })
    expect([to, missing!.filter(({ isRepairable }) => !isRepairable)]).toEqual(["new", []])
    await again.settled()
    expect(again.observe().bucket?.epoch).toBeGreaterThan(1)
    expect(again.observe().backlog.unuploadedSegments).toBe(0)
    await again.close()
    // The HEAD there is its own.
    const last = await openBucketStore(after, { disk })
    await appendTexts(await last.stream("orders"), 45, 46)
    await (await last.stream("orders")).seal()
    await last.settled()
    await last.close()
    expect(await restored(after)).toEqual(upTo(46))
    before.down = undefined
    expect((await headIn(after))!.epoch).toBeGreaterThan((await headIn(before))!.epoch)
  })

  test("names what the old bucket has lost or damaged, and moves the rest", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, stream } = await filled(before)
    await stream.evict({ to: "tier2" })
    const keys = await segmentsIn(before)
    const bytes = await run(before.get(keys[1]!))
    bytes[100] = bytes[100]! ^ 1
    await run(before.remove(keys[0]!))
    await run(before.remove(keys[1]!))
    await putBytes(before, keys[1]!, bytes)
    const { missing, copied } = await manager.moveBucket({ to: after })
    expect(copied).toBe(keys.length - 2)
    expect(missing!.map(({ key, isRepairable }) => [key, isRepairable])).toEqual([
      [keys[0]!, false],
      [keys[1]!, false],
    ])
    await manager.close()
  })

  test("has moved also when the look at the new bucket afterwards fails, and says that nothing is known", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, stream } = await filled(before)
    after.script = ({ kind }) => (kind === "list" ? "denied" : undefined)
    const { missing, to } = await manager.moveBucket({ to: after })
    expect([missing, to]).toEqual([undefined, "new"])
    after.script = undefined
    expect((await manager.reconcile()).missing).toEqual([])
    expect(await numbersIn(stream)).toEqual(upTo(30))
    await manager.close()
    expect(await restored(after)).toEqual(upTo(30))
  })

  test("that is interrupted when HEAD has changed places goes on in the new bucket", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, stream } = await filled(before)
    after.script = ({ kind }) => (kind === "list" ? "hang" : undefined)
    const stopping = new AbortController()
    const moving = failure(manager.moveBucket({ to: after, signal: stopping.signal }))
    await until("HEAD is there", async () => (await headIn(after)) !== undefined && after.counts.list.requests > 0)
    stopping.abort()
    await moving
    after.script = undefined
    before.down = "Network"
    await appendTexts(stream, 30, 40)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    expect(await numbersIn(stream)).toEqual(upTo(40))
    await manager.close()
    expect(await restored(after)).toEqual(upTo(40))
  })

  test("can be interrupted, and leaves the root where it was", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, stream } = await filled(before)
    after.script = ({ kind, key }) => (kind === "put" && key.includes("/segments/") ? "hang" : undefined)
    const stopping = new AbortController()
    const moving = failure(manager.moveBucket({ to: after, signal: stopping.signal }))
    await until("it copies", () => after.counts.put.requests > 0)
    stopping.abort()
    await moving
    await appendTexts(stream, 30, 40)
    await stream.seal()
    await manager.settled()
    await manager.close()
    expect(await restored(before)).toEqual(upTo(40))
  })

  // What the process of a crash has under way must not reach the stores any more: it has stores of its own around them.
  test.each(["timeoutBefore", "timeoutAfter"] as const)(
    "a crash at any request (%s) loses nothing, and one of the two buckets is the root's",
    async (first) => {
      let isDone = false
      for (let at = 1; !isDone; at++) {
        const [before, after] = [namedStore("old"), namedStore("new")]
        const [ownBefore, ownAfter] = [new FaultyObjectStore(before), new FaultyObjectStore(after)]
        const disk = new MemoryDisk({ modelsCrashes: true })
        const { manager, stream } = await filled(ownBefore, disk)
        await stream.evict({ to: "tier2" })
        let count = 0
        ownBefore.script = () => {
          if (++count < at) return undefined
          if (count === at) disk.crash(() => false)
          return count === at ? first : "timeoutBefore"
        }
        ownAfter.script = ownBefore.script
        const moved = await manager.moveBucket({ to: ownAfter }).then(
          () => true,
          () => false,
        )
        isDone = moved && count < at
        await manager.close().catch(() => {})
        if (!isDone) await checkAfterCrash({ before, after, disk })
      }
    },
  )
})

/** The root opens with one bucket or the other, and has all. */
const checkAfterCrash = async (found: {
  readonly before: ObjectStore
  readonly after: ObjectStore
  readonly disk: MemoryDisk
}): Promise<void> => {
  const { before, after, disk } = found
  const isLeft = (await headIn(before))?.isMoved === true
  if (isLeft) expect((await failure(openBucketStore(before, { disk })))._tag).toBe("Fenced")
  const place = isLeft ? after : before
  const manager = await openBucketStore(place, { disk })
  const stream = await manager.stream("orders")
  expect(await numbersIn(stream)).toEqual(upTo(30))
  // It goes on, moves where it was not, and is whole there.
  await appendTexts(stream, 30, 40)
  await stream.seal()
  await manager.settled()
  const { missing } = await manager.moveBucket({ to: isLeft ? before : after })
  expect(missing).toEqual([])
  await manager.close()
  expect(await restored(isLeft ? before : after)).toEqual(upTo(40))
}
