// No durable acknowledgement comes before a sync that covers the record, the header of its segment and the entry of its file. Seen
// from inside by a recording adapter, with files replaced on the way too, and from outside by the system calls of a process.

import { describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"
import { openWith, type RuntimeLayer } from "../../src/api/manager.ts"
import { segmentIndexOf, segmentOffsetOf } from "../../src/model/record_id.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { chance, randomOf } from "../support/crash_model.ts"
import { recording } from "../support/recording_directory.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"
import { SyncLedger } from "../support/sync_ledger.ts"

const segmentName = (index: number): string => `${String(index).padStart(10, "0")}.seg`

/** Appends in many ways and looks at the ledger at each acknowledgement. Gives how many there were. */
const run = async (layer: RuntimeLayer, root: string, seed: number, begin = (): void => {}): Promise<number> => {
  const ledger = new SyncLedger()
  const manager = await openWith(recording(layer, ledger), { root, segmentBytes: 32 * 1024, stagingBytes: 8192 })
  const stream = await manager.stream("s")
  begin()
  const random = randomOf(seed)
  const lacks: Array<string> = []
  let acks = 0
  const check = (recordId: number, bytes: number): void => {
    acks++
    const path = `${root}/streams/s/segments/${segmentName(segmentIndexOf(recordId))}`
    const offset = segmentOffsetOf(recordId)
    const lack = ledger.lack(path, 0, 1536) ?? ledger.lack(path, offset, offset + 8 + bytes)
    if (lack !== undefined) lacks.push(`record ${recordId}: ${lack}`)
  }
  const calls: Array<Promise<void>> = []
  for (let step = 0; step < 300; step++) {
    const bytes = random(1500)
    const text = "x".repeat(bytes)
    const kind = random(10)
    if (kind < 5)
      calls.push(
        stream.append(text).then(
          ({ recordId }) => check(recordId, bytes),
          () => {},
        ),
      )
    else if (kind < 7) {
      calls.push(
        stream.appendBatch([text, text]).then(
          ({ first }) => check(first.recordId, bytes),
          () => {},
        ),
      )
    } else if (kind < 9) {
      const id = stream.tryAppend(text)
      if (id > 0)
        calls.push(
          stream.durable(id).then(
            () => check(id, bytes),
            () => {},
          ),
        )
    } else calls.push(stream.seal().catch(() => {}))
    if (random(8) === 0) await Promise.all(calls.splice(0))
  }
  await Promise.all(calls)
  await manager.close().catch(() => {})
  expect(lacks).toEqual([])
  return acks
}

describe("no durable acknowledgement comes before its sync", () => {
  test("on the real disk", async () => {
    const root = mkdtempSync(join(tmpdir(), "bop-aof-order-"))
    expect(await run(await loadRuntimeLayer(), root, 1)).toBeGreaterThan(150)
    rmSync(root, { recursive: true, force: true })
  }, 120_000)

  test.each([1, 2, 3])(
    "on a disk whose syncs fail now and then, seed %i",
    async (seed: number) => {
      const disk = new MemoryDisk()
      const fails = chance(seed, 1)
      const begin = (): void => {
        disk.onOperation = ({ kind }) =>
          (kind === "syncData" || kind === "syncDirectory") && fails() ? "EIO" : undefined
      }
      expect(await run(disk.layer, "/store", seed, begin)).toBeGreaterThan(20)
    },
    60_000,
  )
})

const hasStrace = spawnSync("strace", ["-V"], { stdio: "ignore" }).status === 0

interface Call {
  readonly name: string
  readonly path: string
  readonly settle: () => void
}

/** Follows the system calls of a process; gives what was missing at its acknowledgements, and how many there were. */
const followCalls = (log: string, root: string): { readonly lacks: ReadonlyArray<string>; readonly acks: number } => {
  const ledger = new SyncLedger()
  const open = new Map<string, Call>()
  const lacks: Array<string> = []
  let acks = 0
  for (const line of log.split("\n")) {
    const [, process, rest] = /^(\d+)\s+(.*)$/.exec(line) ?? []
    if (process === undefined || rest === undefined) continue
    const resumed = /^<\.\.\. \w+ resumed>.*= (-?\d+)/.exec(rest)
    if (resumed !== null) {
      if (Number(resumed[1]) >= 0) open.get(process)?.settle()
      open.delete(process)
      continue
    }
    const ack = /^write\(1<[^>]*>, "ack (\d+) (\d+) (\d+)/.exec(rest)
    if (ack !== null) {
      acks++
      const path = `${root}/streams/s/segments/${segmentName(Number(ack[1]))}`
      const lack = ledger.lack(path, 0, 1536) ?? ledger.lack(path, Number(ack[2]), Number(ack[3]))
      if (lack !== undefined) lacks.push(`${ack[0]}: ${lack}`)
      continue
    }
    const call = readCall(ledger, rest)
    if (call === undefined) continue
    if (rest.endsWith("<unfinished ...>")) open.set(process, call)
    else if (!/= -1 /.test(rest)) call.settle()
  }
  return { lacks, acks }
}

/** A call that matters, at its beginning. */
const readCall = (ledger: SyncLedger, text: string): Call | undefined => {
  const [, name, onPath] = /^(\w+)\(\d+<([^>]*)>/.exec(text) ?? /^(\w+)\(/.exec(text) ?? []
  const path = onPath ?? ""
  if (name === "fdatasync" || name === "fsync") {
    const isFile = path.endsWith(".seg")
    const settle = isFile ? ledger.syncBegins(ledger.file(path)) : ledger.directorySyncBegins(path)
    return { name, path, settle }
  }
  if (name === "pwrite64" && path.endsWith(".seg")) {
    const [, length, position] = /, (\d+), (\d+)(?:\)| <unf)/.exec(text) ?? []
    return {
      name,
      path,
      settle: () => ledger.written(ledger.file(path), Number(position), Number(position) + Number(length)),
    }
  }
  const quoted = [...text.matchAll(/"([^"]*)"/g)].map(([, one]) => one!)
  if (name === "openat" && text.includes("O_CREAT")) {
    return { name, path: quoted[0]!, settle: () => ledger.created(quoted[0]!) }
  }
  if (name?.startsWith("rename")) return { name, path, settle: () => ledger.renamed(quoted[0]!, quoted[1]!) }
  return undefined
}

describe("seen from outside", () => {
  const title = "each acknowledgement leaves the process after the sync that covers it"
  const follow = (): void => {
    const root = mkdtempSync(join(tmpdir(), "bop-aof-calls-"))
    const calls = "trace=openat,pwrite64,write,fdatasync,fsync,rename,renameat,renameat2"
    const program = join(rootDirectory, "test", "support", "ack_writer.ts")
    const command = runtimeCommand(currentRuntime, program, [root])
    const log = join(root, "calls.txt")
    const { status } = spawnSync("strace", ["-f", "-y", "-s", "48", "-e", calls, "-o", log, ...command], {
      cwd: rootDirectory,
      stdio: ["ignore", "ignore", "inherit"],
    })
    expect(status).toBe(0)
    const { lacks, acks } = followCalls(readFileSync(log, "utf8"), root)
    rmSync(root, { recursive: true, force: true })
    expect(lacks).toEqual([])
    expect(acks).toBe(84)
  }
  if (hasStrace) test(title, follow, 60_000)
  else test.skip(`[needs strace] ${title}`, () => {})
})
