// Part 4: everything leaves this disk for the object store, and is read from there: as a whole, and record by record. Then
// a warm file is removed behind the store's back, and comes back.

import { rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { setImmediate } from "node:timers/promises"
import { type AofRecord, WouldBlock } from "bop-aof"
import { failed } from "./failure.ts"
import { type Job, placesOf, reopen, reopenedText, say } from "./job.ts"
import { count, duration, plural, rate, size } from "./numbers.ts"
import { measureDirectory, percentile } from "./report.ts"
import { isSame, Samples } from "./samples.ts"
import { openStore, type Run, readRuns, type Store } from "./store.ts"
import { verifyRuns } from "./verify.ts"

const samplesMax = 1000

export async function goThroughTier2(job: Job, run: Run): Promise<void> {
  const store = await openStore(job.place)
  try {
    const samples = new Samples(samplesMax)
    await evictAll(job, store)
    await readAllBack(job, store, run, samples)
    if (samples.taken.length > 0) {
      await leave(job, store)
      await readAtRandom(job, store, samples)
      await loseWarmFile(job, store, samples)
    }
  } finally {
    job.progress.stop()
    await store.manager.close()
  }
  await reopenAway(job, run)
}

/** Seals what is being written and moves everything off this disk. */
async function evictAll(job: Job, store: Store): Promise<void> {
  const { place, progress, signal, rows } = job
  const startedMs = performance.now()
  const before = store.lines.info()
  progress.start("evict", before.bytes, () => {
    const segments = store.lines.segments().filter((segment) => segment.tier === "tier2")
    return {
      bytes: segments.reduce((sum, segment) => sum + segment.bytes, 0),
      records: segments.reduce((sum, segment) => sum + segment.count, 0),
      tiers: placesOf(store),
    }
  })
  await store.lines.seal({ signal })
  await store.runs.seal({ signal })
  await leave(job, store)
  progress.stop()
  const ms = performance.now() - startedMs
  const { bytes, segments } = store.lines.info()
  const packed = segments.reduce((sum, segment) => sum + segment.warmBytes, 0)
  const left = await measureDirectory(place.root)
  const away = await measureDirectory(place.tier2)
  say(
    `evicted: ${plural(segments.length, "segment")} in Tier 2, with the manifest ${plural(away.files, "file")} of ${size(away.bytes)}; ` +
      `${size(left.bytes)} left here, none of it records ${placesOf(store)}`,
  )
  rows.push(
    [
      "compression",
      packed === 0 ? "no segment" : `${(bytes / packed).toFixed(2)} : 1, ${size(bytes)} in ${size(packed)}`,
    ],
    ["evicted to Tier 2", `in ${duration(ms)}, ${size(left.bytes)} left locally`],
  )
}

async function leave({ signal }: Job, store: Store): Promise<void> {
  await store.lines.evict({ to: "tier2", signal })
  await store.runs.evict({ to: "tier2", signal })
}

/** From the first record to the last, all of it fetched; each finished run must have its checksum. */
async function readAllBack(job: Job, store: Store, run: Run, samples: Samples): Promise<void> {
  const { progress, signal, rows } = job
  const runs = await readRuns(store)
  const done = { records: 0, bytes: 0 }
  const startedMs = performance.now()
  progress.start("from Tier 2", store.lines.info().bytes, () => ({ ...done, tiers: placesOf(store) }))
  const cursor = store.lines.cursor({ from: "start" })
  const checks = await verifyRuns(cursor, runs, done, signal, samples).finally(() => cursor.close())
  progress.stop()
  const ms = performance.now() - startedMs
  const bad = checks.filter((check) => !check.isEqual)
  const own = checks.find((check) => check.run.run === run.run)
  if (own?.sha256 !== run.sha256 || bad.length > 0) {
    throw failed(`what Tier 2 gave back is not what was put in: ${bad.map((check) => check.run.title).join(", ")}`)
  }
  say(
    `read all back from Tier 2: ${plural(done.records, "record")}, SHA-256 equal for each finished run ${placesOf(store)}`,
  )
  rows.push(["read back from Tier 2", `${rate(done.records, done.bytes, ms)}, in ${duration(ms)}`])
  rows.push(["SHA-256 out of Tier 2", own?.sha256 ?? "none"])
}

/** Records here and there: each costs a part of an object, not a segment. */
async function readAtRandom({ progress, signal, rows }: Job, store: Store, { taken }: Samples): Promise<void> {
  const latencies: Array<number> = []
  const before = tier2Reads(store)
  const startedMs = performance.now()
  let bytes = 0
  progress.start("cold reads", taken.length, () => ({
    bytes: latencies.length,
    records: latencies.length,
    unit: "reads",
  }))
  for (const sample of taken) {
    const readMs = performance.now()
    const record = await store.lines.get(sample.recordId, { signal })
    latencies.push(performance.now() - readMs)
    bytes += record.bytes.length
    if (!isSame(sample, record as AofRecord<any>))
      throw failed(`record ${sample.recordId} came back from Tier 2 as something else`)
    if (latencies.length % 64 === 0) await setImmediate()
    signal.throwIfAborted()
  }
  progress.stop()
  const ms = performance.now() - startedMs
  const after = tier2Reads(store)
  const fetched = (after.bytes - before.bytes) / taken.length
  const requests = (after.requests - before.requests) / taken.length
  const half = percentile(latencies, 0.5)
  const most = percentile(latencies, 0.99)
  say(
    `read ${plural(taken.length, "random record")} of ${size(bytes / taken.length)} each, cold: ${size(fetched)} fetched for each, ` +
      `${requests.toFixed(2)} requests, ${duration(half)} p50, ${duration(most)} p99 ${placesOf(store)}`,
  )
  rows.push(
    ["cold reads", `${count(taken.length)} in ${duration(ms)}, p50 ${duration(half)}, p99 ${duration(most)}`],
    ["fetched for each", `${size(fetched)} in ${requests.toFixed(2)} requests`],
  )
}

function tier2Reads(store: Store): { readonly bytes: number; readonly requests: number } {
  const tier2 = store.manager.observe().tier2!
  return { bytes: tier2.bytesRead, requests: tier2.requests.get.success }
}

/** Removes a warm file as an accident would, and reads on. */
async function loseWarmFile({ place, signal, rows }: Job, store: Store, { taken }: Samples): Promise<void> {
  const segments = store.lines.segments()
  const sample = taken[0]!
  const segment = segments.find((one) => sample.recordNumber < one.firstRecordNumber + one.count)!
  await store.lines.prefetch({ from: segment.index, count: 1, to: "tier1", signal })
  const path = join(place.root, "streams", "lines", "warm", `${String(segment.index).padStart(10, "0")}.seg.zst`)
  await rm(path)
  const startedMs = performance.now()
  const isMissed = isAway(() => store.lines.tryGet(sample.recordId))
  if (!isMissed) {
    say(`the warm file of segment ${segment.index} is not missed: all of it is still in memory`)
    return
  }
  const isNoticed = stateOf(store, segment.index).needsRecovery
  const record = await store.lines.get(sample.recordId, { signal })
  const readMs = performance.now() - startedMs
  if (!isSame(sample, record as AofRecord<any>))
    throw failed(`record ${sample.recordId} is another one without its warm file`)
  await store.manager.settled({ signal })
  const ms = performance.now() - startedMs
  const { needsRecovery, warmBytes } = stateOf(store, segment.index)
  const { size: fileBytes } = await stat(path).catch(() => ({ size: 0 }))
  if (!isNoticed || needsRecovery || fileBytes !== warmBytes) {
    throw failed(`the warm file of segment ${segment.index} was not repaired`)
  }
  say(
    `removed the warm file of segment ${segment.index}: NeedsRecovery at the next read, record right after ${duration(readMs)}, ` +
      `file fetched again after ${duration(ms)} ${placesOf(store)}`,
  )
  rows.push(["warm file lost and repaired", `${size(fileBytes)} in ${duration(ms)}`])
}

function isAway(read: () => unknown): boolean {
  try {
    read()
    return false
  } catch (error) {
    if (error instanceof WouldBlock && error.reason._tag === "Hydration") return true
    throw error
  }
}

function stateOf(store: Store, index: number): { readonly needsRecovery: boolean; readonly warmBytes: number } {
  return store.lines.segments().find((segment) => segment.index === index)!
}

/** Opens a store whose data is elsewhere. */
async function reopenAway(job: Job, run: Run): Promise<void> {
  const reopened = await reopen(job)
  const { store, cursor, ms } = reopened
  cursor.close()
  try {
    if (store.lines.info().nextRecordNumber !== run.endNumber) throw failed("the store has lost records in Tier 2")
    say(`opened again in ${duration(ms)}, first record from where it is ${placesOf(store)}`)
    job.rows.push(["reopened after eviction", reopenedText(reopened)])
  } finally {
    await store.manager.close()
  }
}
