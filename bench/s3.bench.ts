/**
 * What the work of Tier 2 costs at an S3 server: requests and bytes of single operations, counted on the wire, and how fast cold history is
 * scanned, beside the bare SDK that gets the same objects in the same run.
 */
import { join } from "node:path"
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import { type Aof, AofManager } from "../mod.ts"
import { s3Store } from "../src/api/s3.ts"
import { startProxy } from "../test/s3/fault_proxy.ts"
import { hashText, makeRandom32 } from "./payload.ts"
import { measureTail, type S3Tail } from "./s3_tail.bench.ts"
import { medianOf } from "./statistics.ts"

export interface S3Parameters {
  /** An empty directory for its stores. */
  readonly root: string
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly segmentBytes: number
  /** Segments that are scanned. */
  readonly segments: number
  readonly rounds: number
  /** Segments of the root that is restored. */
  readonly restoreSegments: number
}

/** What an operation has cost on the wire. */
export interface S3Cost {
  readonly operation: string
  /** Requests by method, such as `GET 2`. */
  readonly requests: string
  readonly count: number
  /** Bytes with heads. */
  readonly bytesUp: number
  readonly bytesDown: number
}

export interface S3Result {
  readonly costs: ReadonlyArray<S3Cost>
  /** Bytes of the objects that are scanned. */
  readonly objectBytes: number
  readonly scanBytesPerSecond: number
  readonly plainBytesPerSecond: number
  /** Scan for bare SDK: the median of the rounds' shares. */
  readonly ratio: number
  readonly tail: S3Tail
  readonly restore: S3Restore
  readonly hash: string
}

/** An empty root that is opened with the bucket of another. */
export interface S3Restore {
  readonly segments: number
  /** Until the root is open. */
  readonly openMs: number
  /** Until the first record of its stream was read. */
  readonly firstRecordMs: number
  readonly requests: string
  readonly bytesDown: number
}

/** Of the records that are read one by one, and of those that are scanned. */
const payloadBytes = 256
const scanPayloadBytes = 4096

/** Records that do not shrink, each unlike all before it, so that an object is as large as its segment. */
const makeNoise = (bytes: number): (() => Uint8Array) => {
  const random32 = makeRandom32(11)
  const words = new Uint32Array(bytes / 4)
  const record = new Uint8Array(words.buffer)
  return () => {
    for (let index = 0; index < words.length; index++) words[index] = random32()
    return record
  }
}

/** Appends until so many segments are full, and seals the last; gives the ids. */
const fill = async (stream: Aof, segments: number, next: () => Uint8Array): Promise<ReadonlyArray<number>> => {
  const ids: Array<number> = []
  while (stream.segments().length <= segments) {
    const record = next()
    let id = stream.tryAppend(record)
    while (id < 0) {
      await stream.ready()
      id = stream.tryAppend(record)
    }
    ids.push(id)
  }
  await stream.flush()
  while (stream.segments().some(({ state }) => state === "sealing"))
    await new Promise((resolve) => setTimeout(resolve, 5))
  return ids
}

const options = (parameters: S3Parameters, endpoint: string, prefix: string) => {
  const { bucket, accessKeyId, secretAccessKey, segmentBytes } = parameters
  const store = s3Store({ endpoint, bucket, prefix, credentials: { accessKeyId, secretAccessKey } })
  return { segmentBytes, tier1: { level: 1 }, tier2: { store, deleteGraceMs: 0 } } as const
}

/** Runs both parts. */
export const benchS3 = async (parameters: S3Parameters): Promise<S3Result> => {
  const { root } = parameters
  const { costs, hash } = await measureCosts(parameters, join(root, "costs"))
  const scan = await measureScan(parameters, join(root, "scan"))
  const restore = await measureRestore(parameters, root)
  return { costs, ...scan, restore, hash: hashText(Number.parseInt(hash, 16), scan.records) }
}

const measureCosts = async (
  parameters: S3Parameters,
  root: string,
): Promise<{ readonly costs: ReadonlyArray<S3Cost>; readonly hash: string }> => {
  const proxy = await startProxy({ target: parameters.endpoint })
  const prefix = `bench-${process.pid}-costs`
  const open = () => AofManager.open({ root, ...options(parameters, proxy.endpoint, prefix) })
  const costs: Array<S3Cost> = []
  const cost = async <A>(operation: string, run: () => Promise<A>): Promise<A> => {
    const [first, up, down] = [proxy.requests.length, proxy.bytesUp, proxy.bytesDown]
    const value = await run()
    const seen = proxy.requests.slice(first)
    const requests = methodsText(seen)
    const bytes = { bytesUp: proxy.bytesUp - up, bytesDown: proxy.bytesDown - down }
    costs.push({ operation, requests, count: seen.length, ...bytes })
    return value
  }
  try {
    let manager = await open()
    let stream = await manager.stream("bench")
    const ids = await fill(stream, 1, makeNoise(payloadBytes))
    await manager.settled()
    const first = stream.segments()[0]!
    const inFirst = ids.slice(0, first.count)
    await cost("append, nothing sealed", async () => void (await stream.append("x")))
    await cost("seal and upload 512 KiB", async () => {
      await stream.append(makeNoise(512 * 1024)())
      await stream.seal()
      await manager.settled()
    })
    await stream.evict({ to: "tier2" })
    await manager.close()
    manager = await open()
    stream = await manager.stream("bench")
    await manager.settled()
    const get = async (at: number): Promise<void> => {
      const { bytes } = await stream.get(inFirst[at]!)
      if (bytes.length !== payloadBytes) throw new Error(`record ${at} has ${bytes.length} bytes`)
    }
    const middle = inFirst.length >> 1
    await cost(`get ${payloadBytes} bytes, cold`, () => get(middle))
    await cost(`get ${payloadBytes} bytes, index cached`, () => get(middle >> 1))
    await cost(`get ${payloadBytes} bytes, frame cached`, () => get(middle))
    await cost("scan a segment, cold", async () => {
      for await (const _ of stream.read({ limit: inFirst.length }));
    })
    await cost("a quiet second", () => new Promise((resolve) => setTimeout(resolve, 1000)))
    await cost("trim a segment", async () => {
      await stream.trim({ before: ids[inFirst.length]! })
      while (manager.observe().backlog.deletes > 0) await manager.settled()
    })
    await manager.close()
    return { costs, hash: hashText(ids.length, inFirst.length) }
  } finally {
    await proxy.close()
  }
}

/** Requests by method, such as `GET 2, PUT 1`. */
const methodsText = (seen: ReadonlyArray<{ readonly method: string }>): string => {
  const methods = new Map<string, number>()
  for (const { method } of seen) methods.set(method, (methods.get(method) ?? 0) + 1)
  return [...methods].map(([method, count]) => `${method} ${count}`).join(", ") || "none"
}

const measureRestore = async (parameters: S3Parameters, root: string): Promise<S3Restore> => {
  const { restoreSegments: segments } = parameters
  const prefix = `bench-${process.pid}-restore`
  const settings = (endpoint: string) => {
    const { tier1, tier2 } = options(parameters, endpoint, prefix)
    return { segmentBytes: 64 * 1024, tier1, tier2: { ...tier2, concurrency: 16 } }
  }
  const first = await AofManager.open({ root: join(root, "first"), ...settings(parameters.endpoint) })
  const stream = await first.stream("bench")
  const next = makeNoise(1024)
  let firstId = 0
  for (let segment = 0; segment < segments; segment++) {
    const { recordId } = await stream.append(next())
    firstId ||= recordId
    await stream.seal()
  }
  await first.settled()
  await first.close()
  const proxy = await startProxy({ target: parameters.endpoint })
  try {
    const started = performance.now()
    const second = await AofManager.open({ root: join(root, "second"), ...settings(proxy.endpoint) })
    const openMs = performance.now() - started
    await (await second.stream("bench")).get(firstId)
    const firstRecordMs = performance.now() - started
    const requests = methodsText(proxy.requests)
    const { bytesDown } = proxy
    await second.close()
    return { segments, openMs, firstRecordMs, requests, bytesDown }
  } finally {
    await proxy.close()
  }
}

const measureScan = async (parameters: S3Parameters, root: string) => {
  const { endpoint, bucket, accessKeyId, secretAccessKey, segments, rounds } = parameters
  const prefix = `bench-${process.pid}-scan`
  const settings = options(parameters, endpoint, prefix)
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  })
  const manager = await AofManager.open({ root, ...settings })
  const stream = await manager.stream("bench")
  const ids = await fill(stream, segments, makeNoise(scanPayloadBytes))
  await manager.settled()
  const records = stream.segments().reduce((sum, { state, count }) => sum + (state === "sealed" ? count : 0), 0)
  const { objects } = await Effect.runPromise(settings.tier2.store.list(""))
  const cold = objects.filter(({ key }) => key.includes("/segments/"))
  const objectBytes = cold.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)
  const timed = async (run: () => Promise<number>, expected: number): Promise<number> => {
    const started = performance.now()
    const found = await run()
    if (found !== expected) throw new Error(`${found} instead of ${expected}`)
    return (objectBytes * 1000) / (performance.now() - started)
  }
  const scan = async (): Promise<number> => {
    let count = 0
    for await (const record of stream.read({ limit: records }))
      count += record.bytes.length === scanPayloadBytes ? 1 : 0
    return count
  }
  const plain = async (): Promise<number> => {
    let bytes = 0
    for (const { key } of cold) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: `${prefix}/${key}` }))
      for await (const chunk of Body as unknown as AsyncIterable<Uint8Array>) bytes += chunk.length
    }
    return bytes
  }
  const scans: Array<number> = []
  const plains: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    await stream.evict({ to: "tier2" })
    plains.push(await timed(plain, objectBytes))
    scans.push(await timed(scan, records))
  }
  await stream.evict({ to: "tier2" })
  const tail = await measureTail(manager, { stream, records, objectBytes })
  await manager.close()
  client.destroy()
  return {
    objectBytes,
    tail,
    records: ids.length,
    scanBytesPerSecond: medianOf(scans),
    plainBytesPerSecond: medianOf(plains),
    ratio: medianOf(scans.map((value, index) => value / plains[index]!)),
  }
}
