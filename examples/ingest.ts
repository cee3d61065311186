// The main job, `npm start [-- FILE... | -]`: the lines of files become records of a store, and come back as they were.
//
//   1. A child process appends the lines durably. When half of the input is acknowledged, it is killed with SIGKILL.
//   2. The store is opened again: every acknowledged record must be there. The input goes on behind what the store holds,
//      while a second reader follows the tail.
//   3. The store is closed, opened once more and read from its first to its last record. The SHA-256 of what was read
//      must be that of the input; so it must for every earlier run in a store that was kept with `--root`.
//   4. Everything is evicted to the object store and read back from there, compared again; a thousand random records are
//      read cold; a warm file is removed and repaired; the store is opened a last time.
//
// The budgets are small, so that segments move from tier to tier all the time; a line of signs shows where they are.
//
// The modules beside this file, in `ingest/`, hold the parts; `ingest/store.ts` and `ingest/append_lines.ts` first.

import { createHash } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { appendLines, skipLines } from "./ingest/append_lines.ts"
import { goThroughTier2 } from "./ingest/cold.ts"
import { describe, exitCodes, failed } from "./ingest/failure.ts"
import { Follower } from "./ingest/follower.ts"
import { type Input, openInput } from "./ingest/input.ts"
import { type Job, placesOf, reopen, reopenedText, say } from "./ingest/job.ts"
import { type Acknowledged, writeAndKill } from "./ingest/killed_writer.ts"
import { LineReader } from "./ingest/line_reader.ts"
import { MemoryWatch } from "./ingest/memory.ts"
import { count, duration, plural, rate, size } from "./ingest/numbers.ts"
import { help, parseOptions } from "./ingest/options.ts"
import { Progress } from "./ingest/progress.ts"
import { measureDirectory, overhead, quoteForShell, segmentPicture, table, tierBytes } from "./ingest/report.ts"
import { Stop } from "./ingest/stop.ts"
import {
  beginRun,
  lineBytesMax,
  openStore,
  type Place,
  type Run,
  readRuns,
  type Store,
  tier0Bytes,
  tier1Bytes,
} from "./ingest/store.ts"
import { tierLegend } from "./ingest/tier_picture.ts"
import { verifyRuns } from "./ingest/verify.ts"

/** Part 1: the first half, by a process that gets killed. */
async function writeFirstHalf(
  { place, input, signal, progress, memory, rows }: Job,
  run: Run,
): Promise<Acknowledged | undefined> {
  let latest: Acknowledged | undefined
  let startedMs = performance.now()
  progress.start("first half", input.bytes, () => ({
    bytes: latest?.appendedBytes ?? 0,
    records: latest === undefined ? 0 : latest.recordNumber + 1 - run.firstNumber,
    lagBytes: latest === undefined ? 0 : latest.appendedBytes - latest.durableBytes,
    tiers: latest?.tiers ?? "[]",
  }))
  const onReport = (report: Acknowledged): void => {
    latest = report
  }
  const onStart = (pid: number): void => {
    memory.child = new MemoryWatch(pid)
    startedMs = performance.now()
  }
  await writeAndKill({ place, run, input }, signal, onReport, onStart)
  const ms = performance.now() - startedMs
  progress.stop()
  const records = latest === undefined ? 0 : latest.recordNumber + 1 - run.firstNumber
  say(`killed the writing process with SIGKILL, ${plural(records, "record")} acknowledged ${latest?.tiers ?? "[]"}`)
  rows.push(["first half, start included", timed(rate(records, latest?.durableBytes ?? 0, ms), ms)])
  return latest
}

/** A rate, and how long that took. */
function timed(text: string, ms: number): string {
  return `${text}, in ${duration(ms)}`
}

/** Every acknowledged record must be there: the last of them under its number, and all of them before it. */
async function checkAcknowledged(store: Store, run: Run, acknowledged: Acknowledged | undefined): Promise<number> {
  const held = store.lines.info().nextRecordNumber - run.firstNumber
  if (acknowledged === undefined) return held
  const { recordId, recordNumber } = acknowledged
  const wanted = recordNumber + 1 - run.firstNumber
  if (held < wanted) throw failed(`acknowledged: ${plural(wanted, "record")}, but the store holds ${count(held)}`)
  const record = await store.lines.get(recordId)
  if (record.recordNumber === recordNumber) return held
  throw failed(
    `record ${recordId} was acknowledged as number ${recordNumber}, and is number ${record.recordNumber} now`,
  )
}

/** Part 2: the rest of the input, with a reader at the tail. Gives the finished run. */
async function writeSecondHalf(job: Job, store: Store, run: Run, skip: number): Promise<void> {
  const { input, signal, progress, rows } = job
  const inputHash = createHash("sha256")
  const reader = new LineReader(input, lineBytesMax, inputHash)
  const appended = { lines: 0, recordId: 0 }
  let follower: Follower | undefined
  progress.start("second half", input.bytes, () => ({
    bytes: reader.takenBytes,
    records: appended.lines,
    lagBytes: store.lines.info().unflushedBytes,
    tiers: placesOf(store),
  }))
  try {
    await skipLines(store, run, reader, appended, { lines: skip, signal })
    const skippedBytes = reader.takenBytes
    const startedMs = performance.now()
    // From the first record of the run: history at first, and then the live tail.
    const reading = new Follower(store, run)
    follower = reading
    await appendLines(store, run, reader, appended, { signal })
    await store.lines.flush()
    const writtenMs = performance.now() - startedMs
    const writtenRate = rate(appended.lines - skip, reader.takenBytes - skippedBytes, writtenMs)
    rows.push(["second half, while followed", timed(writtenRate, writtenMs)])
    progress.start("follow", reader.takenBytes, () => ({
      bytes: reading.bytes + reading.records,
      records: reading.records,
      tiers: placesOf(store),
    }))
    const sha256 = inputHash.digest("hex")
    await store.runs.flush()
    run.endNumber = run.firstNumber + appended.lines
    run.sha256 = sha256
    const seen = await reading.finish(appended.lines)
    await store.runs.append({ type: "end", run: run.run, endNumber: run.endNumber, sha256 })
    if (seen !== sha256) throw failed("the follower saw something else than the input")
    say(`the follower saw ${plural(reading.records, "record")}, the same text as the input ${placesOf(store)}`)
  } finally {
    progress.stop()
    await follower?.leave()
    await reader.close()
  }
}

/** Part 3: everything back, from the first record of the store to its last. */
async function readBack(job: Job, run: Run): Promise<void> {
  const { progress, signal, rows, place } = job
  const reopened = await reopen(job)
  const { store, cursor } = reopened
  const opened = reopenedText(reopened)
  try {
    const runs = await readRuns(store)
    const info = store.lines.info()
    const done = { records: 0, bytes: 0 }
    const startedMs = performance.now()
    progress.start("read back", info.bytes, () => ({ ...done, tiers: placesOf(store) }))
    const checks = await verifyRuns(cursor, runs, done, signal)
    const readMs = performance.now() - startedMs
    progress.stop()
    const disk = await measureDirectory(place.root)
    const held = store.lines.info()
    rows.push(
      ["read back and hashed", timed(rate(done.records, done.bytes, readMs), readMs)],
      ["reopened after close", opened],
      [
        "in the store",
        `${plural(done.records, "record")}, ${size(done.bytes)} of payload, ${plural(runs.length, "run")}`,
      ],
      ["on this disk", `${size(disk.bytes)} in ${plural(disk.files, "file")}`],
      ["bytes in each tier", tierBytes(held)],
      ["overhead of segments", overhead(held.bytes, done.bytes, done.records)],
    )
    say(`\nsegments of the stream ${info.name}:\n${segmentPicture(held)}`)
    const own = checks.find((check) => check.run.run === run.run)
    const bad = checks.filter((check) => !check.isEqual)
    const unfinished = runs.length - checks.length
    const unfinishedNote =
      unfinished === 0 ? "" : `; ${plural(unfinished, "unfinished run")} kept, with nothing to compare to`
    rows.push(["SHA-256 of the input", run.sha256 ?? "none"], ["SHA-256 of what was read", own?.sha256 ?? "none"])
    rows.push(["verified", `${plural(checks.length - bad.length, "run")} of ${count(checks.length)}${unfinishedNote}`])
    if (own?.sha256 !== run.sha256 || bad.length > 0) {
      throw failed(`what was read back is not what was put in: ${bad.map((check) => check.run.title).join(", ")}`)
    }
  } finally {
    progress.stop()
    await store.manager.close()
  }
}

/** Says how far an interrupted or failed run got; the store is closed in order afterwards. */
function sayWhereStopped(store: Store, run: Run, job: Job, isKept: boolean): void {
  const records = store.lines.info().nextRecordNumber - run.firstNumber
  const where = isKept ? `kept in ${job.place.root}` : "gone with the temporary store"
  say(`stopped after ${plural(records, "record")} of this run, ${where}`)
}

async function ingest(job: Job, isKept: boolean): Promise<void> {
  const { place, input, memory, rows } = job
  const first = await openStore(place)
  const run = await beginRun(first, input.title).finally(() => first.manager.close())
  say(`input: ${input.title}, ${size(input.bytes)}`)
  say(`at most ${size(tier0Bytes)} in Tier 0 and ${size(tier1Bytes)} in Tier 1, the rest in Tier 2, ${place.tier2}`)
  say(tierLegend)
  const acknowledged = await writeFirstHalf(job, run).catch(async (error) => {
    const store = await openStore(place)
    sayWhereStopped(store, run, job, isKept)
    await store.manager.close()
    throw error
  })
  const reopened = await reopen(job)
  const { store, cursor, ms } = reopened
  const opened = reopenedText(reopened)
  cursor.close()
  try {
    const held = await checkAcknowledged(store, run, acknowledged)
    say(
      `opened again in ${duration(ms)}: all acknowledged records are there, ${count(held)} in all; the input goes on behind them ${placesOf(store)}`,
    )
    rows.push(["reopened after SIGKILL", opened])
    run.withoutLineFeed.clear()
    for (const number of (await readRuns(store))[run.run]!.withoutLineFeed) run.withoutLineFeed.add(number)
    await writeSecondHalf(job, store, run, held)
  } catch (error) {
    sayWhereStopped(store, run, job, isKept)
    throw error
  } finally {
    await store.manager.close()
  }
  rows.unshift(["input", `${plural(run.endNumber! - run.firstNumber, "record")}, ${size(input.bytes)}`])
  try {
    await readBack(job, run)
    await goThroughTier2(job, run)
  } finally {
    memory.own.look()
    if (memory.own.bytesMax > 0) {
      rows.push([
        "memory, at most",
        `${size(memory.own.bytesMax)} here, ${size(memory.child?.bytesMax ?? 0)} in the child`,
      ])
    }
    say(table(rows))
  }
}

/** The objects lie beside the root, so that what is below it is what is on this machine. */
function placeOf(root: string | undefined, temporary: string | undefined): Place {
  if (root === undefined) return { root: join(temporary!, "store"), tier2: join(temporary!, "tier2") }
  return { root, tier2: `${resolve(root)}.tier2` }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options.help) {
    process.stdout.write(help)
    return exitCodes.ok
  }
  const stop = new Stop()
  const memory: Job["memory"] = { own: new MemoryWatch(process.pid), child: undefined }
  const progress = new Progress(() => {
    memory.own.look()
    memory.child?.look()
  })
  let input: Input | undefined
  let temporary: string | undefined
  try {
    input = await openInput(options.files, stop.signal)
    if (options.root === undefined) temporary = await mkdtemp(join(tmpdir(), "bop-aof-"))
    const place = placeOf(options.root, temporary)
    await ingest({ place, input, signal: stop.signal, progress, memory, rows: [] }, temporary === undefined)
    if (temporary === undefined) {
      say(`the store is kept in ${place.root}, and its objects in ${place.tier2}`)
      const [root, tier2] = [place.root, place.tier2].map(quoteForShell)
      say(`npm run scrub -- --root ${root} --tier2 ${tier2} checks every byte of both`)
    }
    return exitCodes.ok
  } finally {
    progress.stop()
    await input?.dispose()
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  const { message, exitCode } = describe(error)
  process.stderr.write(`ingest: ${message}\n`)
  process.exitCode = exitCode
}
