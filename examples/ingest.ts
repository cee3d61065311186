// The main job, `npm start [-- FILE... | -]`: the lines of files become records of a store, and come back as they were.
//
//   1. A child process appends the lines durably. When half of the input is acknowledged, it is killed with SIGKILL.
//   2. The store is opened again: every acknowledged record must be there. The input goes on behind what the store holds,
//      while a second reader follows the tail.
//   3. The store is closed, opened once more and read from its first to its last record. The SHA-256 of what was read
//      must be that of the input; so it must for every earlier run in a store that was kept with `--root`.
//
// The modules beside this file, in `ingest/`, hold the parts; `ingest/store.ts` and `ingest/append_lines.ts` first.

import { createHash } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Cursor } from "bop-aof"
import { appendLines, skipLines } from "./ingest/append_lines.ts"
import { describe, exitCodes, failed } from "./ingest/failure.ts"
import { Follower } from "./ingest/follower.ts"
import { type Input, openInput } from "./ingest/input.ts"
import { type Acknowledged, writeAndKill } from "./ingest/killed_writer.ts"
import { LineReader } from "./ingest/line_reader.ts"
import { MemoryWatch } from "./ingest/memory.ts"
import { count, duration, plural, rate, size } from "./ingest/numbers.ts"
import { help, parseOptions } from "./ingest/options.ts"
import { Progress } from "./ingest/progress.ts"
import { measureDirectory, overhead, segmentPicture, table } from "./ingest/report.ts"
import { Stop } from "./ingest/stop.ts"
import { beginRun, lineBytesMax, openStore, type Run, readRuns, type Store } from "./ingest/store.ts"
import { verifyRuns } from "./ingest/verify.ts"

/** What the parts of one job share. */
interface Job {
  readonly root: string
  readonly input: Input
  readonly signal: AbortSignal
  readonly progress: Progress
  readonly memory: { readonly own: MemoryWatch; child: MemoryWatch | undefined }
  /** Rows of the table at the end. */
  readonly rows: Array<readonly [string, string]>
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Opens the store and moves to its first record: as fast as a program can have its data after a crash. */
async function reopen(root: string): Promise<{ readonly store: Store; readonly cursor: Cursor; readonly ms: number }> {
  const startedMs = performance.now()
  const store = await openStore(root)
  const cursor = store.lines.cursor({ from: "start" })
  cursor.next()
  const ms = performance.now() - startedMs
  cursor.close()
  // The caller wants to read the first record as well.
  return { store, cursor: store.lines.cursor({ from: "start" }), ms }
}

/** Part 1: the first half, by a process that gets killed. */
async function writeFirstHalf(
  { root, input, signal, progress, memory, rows }: Job,
  run: Run,
): Promise<Acknowledged | undefined> {
  let latest: Acknowledged | undefined
  let startedMs = performance.now()
  progress.start("first half", input.bytes, () => ({
    bytes: latest?.appendedBytes ?? 0,
    records: latest === undefined ? 0 : latest.recordNumber + 1 - run.firstNumber,
    lagBytes: latest === undefined ? 0 : latest.appendedBytes - latest.durableBytes,
  }))
  const onReport = (report: Acknowledged): void => {
    latest = report
  }
  const onStart = (pid: number): void => {
    memory.child = new MemoryWatch(pid)
    startedMs = performance.now()
  }
  await writeAndKill({ root, run, input }, signal, onReport, onStart)
  const ms = performance.now() - startedMs
  progress.stop()
  const records = latest === undefined ? 0 : latest.recordNumber + 1 - run.firstNumber
  say(`killed the writing process with SIGKILL, ${plural(records, "record")} acknowledged`)
  rows.push(["first half, start included", rate(records, latest?.durableBytes ?? 0, ms)])
  return latest
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
    rows.push(["second half, while followed", rate(appended.lines - skip, reader.takenBytes - skippedBytes, writtenMs)])
    progress.start("follow", reader.takenBytes, () => ({
      bytes: reading.bytes + reading.records,
      records: reading.records,
    }))
    const sha256 = inputHash.digest("hex")
    await store.runs.flush()
    run.endNumber = run.firstNumber + appended.lines
    run.sha256 = sha256
    const seen = await reading.finish(appended.lines)
    await store.runs.append({ type: "end", run: run.run, endNumber: run.endNumber, sha256 })
    if (seen !== sha256) throw failed("the follower saw something else than the input")
    say(`the follower saw ${plural(reading.records, "record")}, the same text as the input`)
  } finally {
    progress.stop()
    await follower?.leave()
    await reader.close()
  }
}

/** Part 3: everything back, from the first record of the store to its last. */
async function readBack({ progress, signal, rows, root }: Job, run: Run): Promise<void> {
  const { store, cursor, ms } = await reopen(root)
  try {
    const runs = await readRuns(store)
    const info = store.lines.info()
    const done = { records: 0, bytes: 0 }
    const startedMs = performance.now()
    progress.start("read back", info.bytes, () => done)
    const checks = await verifyRuns(cursor, runs, done, signal)
    const readMs = performance.now() - startedMs
    progress.stop()
    const disk = await measureDirectory(root)
    rows.push(
      ["read back and hashed", rate(done.records, done.bytes, readMs)],
      ["reopened after close", `${duration(ms)} to the first record`],
      [
        "in the store",
        `${plural(done.records, "record")}, ${size(done.bytes)} of payload, ${plural(runs.length, "run")}`,
      ],
      ["on disk", `${size(disk.bytes)} in ${plural(disk.files, "file")}`],
      ["overhead on disk", overhead(disk.bytes, done.bytes, done.records)],
    )
    say(`\nsegments of the stream ${info.name}:\n${segmentPicture(info)}`)
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
  const place = isKept ? `kept in ${job.root}` : "gone with the temporary store"
  say(`stopped after ${plural(records, "record")} of this run, ${place}`)
}

async function ingest(job: Job, isKept: boolean): Promise<void> {
  const { root, input, memory, rows } = job
  const first = await openStore(root)
  const run = await beginRun(first, input.title).finally(() => first.manager.close())
  say(`input: ${input.title}, ${size(input.bytes)}`)
  const acknowledged = await writeFirstHalf(job, run).catch(async (error) => {
    const { store } = await reopen(root)
    sayWhereStopped(store, run, job, isKept)
    await store.manager.close()
    throw error
  })
  const { store, cursor, ms } = await reopen(root)
  cursor.close()
  try {
    const held = await checkAcknowledged(store, run, acknowledged)
    say(
      `opened again in ${duration(ms)}: all acknowledged records are there, ${count(held)} in all; the input goes on behind them`,
    )
    rows.push(["reopened after SIGKILL", `${duration(ms)} to the first record`])
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
    const root = options.root ?? temporary!
    await ingest({ root, input, signal: stop.signal, progress, memory, rows: [] }, temporary === undefined)
    if (temporary === undefined) say(`the store is kept in ${root}`)
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
