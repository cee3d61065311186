// What only workers can do: not be allowed, die, run side by side, and let the process end.

import { afterAll, beforeAll, expect, test } from "bun:test"
import * as fs from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { Worker } from "node:worker_threads"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { currentRuntime, rootDirectory, runtimeCommand, runtimePath } from "../../scripts/runtimes.mjs"
import { makeWorkerCompressor } from "../../src/compressor/compressor.ts"
import { loadCodec } from "../../src/compressor/frame_codec.ts"
import { type StartWorker, startJobWorker } from "../../src/compressor/worker_runner.ts"
import { Directory } from "../../src/port/directory.ts"
import { EventLoop } from "../../src/port/event_loop.ts"
import { tagOf } from "../support/compressor_conformance.ts"
import { compressJobOf, makeSegment } from "../support/compressor_segment.ts"
import { runProcess, runSuccessfully } from "../support/run_process.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"

const root = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "bop-aof-")))
const scope = Scope.makeUnsafe()
const source = join(root, "a.seg")
const target = join(root, "a.zst")
let services: { readonly directory: Directory; readonly eventLoop: EventLoop }

beforeAll(async () => {
  const context = await Effect.runPromise(Layer.buildWithScope(await loadRuntimeLayer(), scope))
  services = { directory: Context.get(context, Directory), eventLoop: Context.get(context, EventLoop) }
})

afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  fs.rmSync(root, { recursive: true })
})

const prepare = (start: StartWorker, frameLengths = [3_000_000]) => {
  const segment = makeSegment(frameLengths)
  fs.writeFileSync(source, segment.bytes)
  const compressor = makeWorkerCompressor({ ...services, loadCodec }, start)
  return { segment, compressor, job: compressJobOf(segment, source, target) }
}

/** Starts the worker of the compressor and counts how often. */
const counting = (): { readonly start: StartWorker; readonly started: () => number } => {
  let started = 0
  return {
    start: (data) => {
      started++
      return startJobWorker(data)
    },
    started: () => started,
  }
}

test("a lane starts its worker with the first job, keeps it for the next, and starts another after close", async () => {
  const { start, started } = counting()
  const { compressor, job, segment } = prepare(start)
  expect(started()).toBe(0)
  const made = await Effect.runPromise(compressor.compress(job))
  await Effect.runPromise(compressor.compress(job))
  expect(started()).toBe(1)
  await Effect.runPromise(compressor.checksum({ path: source, lengthBytes: 9 }))
  await Effect.runPromise(compressor.warmUp)
  expect(started()).toBe(2)
  const back = {
    source: target,
    target: join(root, "b.seg"),
    sourceBytes: made.fileBytes,
    sourceChecksum64: made.checksum64,
    targetBytes: segment.bytes.length,
    targetChecksum64: segment.checksum64,
  }
  // The hydration is done while the compression still runs, which ends only because it is interrupted.
  const slow = new AbortController()
  const running = tagOfPromise(
    Effect.runPromiseExit(compressor.compress({ ...job, target: `${target}2`, level: 19 }), slow),
  )
  await Effect.runPromise(compressor.decompress(back))
  slow.abort()
  await running
  expect(started()).toBe(2)
  await Effect.runPromise(compressor.close)
  await Effect.runPromise(compressor.compress(job))
  expect(started()).toBe(3)
  await Effect.runPromise(compressor.close)
})

const tagOfPromise = async (exit: Promise<Exit.Exit<unknown, unknown>>): Promise<boolean> => Exit.isSuccess(await exit)

test("a worker that cannot be started now leaves its job to this thread, and the next job asks again", async () => {
  let isScarce = true
  const { start, started } = counting()
  const { compressor, job } = prepare((data) => (isScarce ? undefined : start(data)))
  await Effect.runPromise(compressor.warmUp)
  const here = await Effect.runPromise(compressor.compress(job))
  isScarce = false
  const there = await Effect.runPromise(compressor.compress(job))
  expect(started()).toBe(1)
  expect(there).toEqual(here)
  await Effect.runPromise(compressor.close)
})

test("makes the same files whether others want the disk or not, and asks while it works", async () => {
  const { compressor, job, segment } = prepare(startJobWorker, [400_000, 3_000_000])
  let asked = 0
  const wishes = [undefined, () => false, () => true, () => asked++ % 2 === 0]
  const found: Array<string> = []
  for (const isDiskWanted of wishes) {
    const made = await Effect.runPromise(compressor.compress({ ...job, isDiskWanted }))
    const restored = join(root, "restored.seg")
    await Effect.runPromise(
      compressor.decompress({
        source: target,
        target: restored,
        sourceBytes: made.fileBytes,
        sourceChecksum64: made.checksum64,
        targetBytes: segment.bytes.length,
        targetChecksum64: segment.checksum64,
        isDiskWanted,
      }),
    )
    found.push(fs.readFileSync(target).toString("base64"))
    expect(fs.readFileSync(restored).equals(segment.bytes)).toBe(true)
  }
  expect(new Set(found).size).toBe(1)
  expect(asked).toBeGreaterThan(2)
  await Effect.runPromise(compressor.close)
})

test("a hydration does not wait behind compressions", async () => {
  const { compressor, job, segment } = prepare(startJobWorker)
  const made = await Effect.runPromise(compressor.compress(job))
  const order: string[] = []
  const note = (name: string) => () => Effect.sync(() => void order.push(name))
  const compressions = [1, 2, 3].map((index) =>
    Effect.onExit(compressor.compress({ ...job, target: `${target}${index}`, level: 19 }), note("compression")),
  )
  const hydration = Effect.onExit(
    compressor.decompress({
      source: target,
      target: join(root, "b.seg"),
      sourceBytes: made.fileBytes,
      sourceChecksum64: made.checksum64,
      targetBytes: segment.bytes.length,
      targetChecksum64: segment.checksum64,
    }),
    note("hydration"),
  )
  await Effect.runPromise(Effect.all([...compressions, hydration], { concurrency: "unbounded" }))
  expect(order.at(-1)).toBe("compression")
  expect(order.indexOf("hydration")).toBeLessThan(3)
  await Effect.runPromise(compressor.close)
})

test("a worker that dies fails its job, which leaves no target, and the next job gets another", async () => {
  const url = pathToFileURL(join(rootDirectory, "test", "support", "dying_worker.ts"))
  let started = 0
  const start: StartWorker = (workerData) =>
    started++ === 0 ? new Worker(url, { workerData }) : startJobWorker(workerData)
  const { compressor, job } = prepare(start)
  const jobs = [tagOf(compressor.compress(job)), tagOf(compressor.compress({ ...job, target: `${target}2` }))]
  expect(await Promise.all(jobs)).toEqual(["Unavailable EPIPE", "success"])
  expect([fs.existsSync(target), fs.existsSync(`${target}2`), started]).toEqual([false, true, 2])
  await Effect.runPromise(compressor.close)
})

test.each([
  [
    "throws",
    () => {
      throw new Error("not allowed")
    },
  ],
  ["is of a file that is not there", (workerData) => new Worker(pathToFileURL(join(root, "none.ts")), { workerData })],
] as ReadonlyArray<[string, StartWorker]>)(
  "where starting a worker %s, jobs run on the main thread",
  async (_: string, start: StartWorker) => {
    const { compressor, job } = prepare(start)
    expect(await tagOf(compressor.compress(job))).toBe("success")
    expect(await tagOf(compressor.compress({ ...job, checksum64: 1n }))).toBe("Corrupt")
    const controller = new AbortController()
    const running = Effect.runPromiseExit(compressor.compress({ ...job, level: 19 }), controller)
    await new Promise((resolve) => setImmediate(resolve))
    controller.abort()
    expect(Exit.isSuccess(await running)).toBe(false)
    await Effect.runPromise(compressor.close)
  },
)

test("idle workers keep no process alive, and one that is waited for does", async () => {
  prepare(startJobWorker)
  const program = join(rootDirectory, "test", "support", "compress_program.ts")
  const output = await runSuccessfully(runtimeCommand(currentRuntime, program, [source, target]), root)
  expect(JSON.parse(output)).toMatchObject({ isInWorker: true })
  await runSuccessfully(runtimeCommand(currentRuntime, program, [source, target, "abandoned"]), root)
})

test("where the worker's file is missing, as beside a bundle without it, jobs run here and nothing is written to the terminal", async () => {
  prepare(startJobWorker)
  const support = join("test", "support")
  // Below the repository, so that packages are found.
  const data = join(rootDirectory, "data")
  fs.mkdirSync(data, { recursive: true })
  const copy = fs.mkdtempSync(join(data, "bundle-"))
  try {
    const filter = (path: string): boolean => !path.endsWith("job_worker.ts")
    fs.cpSync(join(rootDirectory, "src"), join(copy, "src"), { recursive: true, filter })
    for (const file of ["compress_program.ts", "runtime_layer.ts"])
      fs.cpSync(join(rootDirectory, support, file), join(copy, support, file))
    const command = runtimeCommand(currentRuntime, join(copy, support, "compress_program.ts"), [source, target])
    const { code, stdout, stderr } = await runProcess(command, root)
    expect([code, stderr, JSON.parse(stdout).isInWorker]).toEqual([0, "", false])
  } finally {
    fs.rmSync(copy, { recursive: true })
  }
})

test.skipIf(currentRuntime !== "deno")(
  "[Deno] read access to the worker's file decides where jobs run, and they run either way",
  async () => {
    prepare(startJobWorker)
    const program = join(rootDirectory, "test", "support", "compress_program.ts")
    const run = async (read: string): Promise<{ readonly frameCount: number; readonly isInWorker: boolean }> => {
      const flags = [
        "run",
        "--quiet",
        "--no-check",
        "--conditions=source",
        `--allow-write=${root}`,
        `--allow-read=${read}`,
      ]
      const config = `--config=${join(rootDirectory, "deno.json")}`
      return JSON.parse(await runSuccessfully([runtimePath("deno"), ...flags, config, program, source, target], root))
    }
    const isInWorker = [await run(`${root},${rootDirectory}`), await run(root)].map((result) => result.isInWorker)
    expect(isInWorker).toEqual([true, false])
  },
)

test.skipIf(currentRuntime !== "deno")("[Deno] a package that comes from a server has its worker", async () => {
  prepare(startJobWorker)
  const server = createServer(({ url = "" }, response) => {
    response.setHeader("content-type", "application/typescript")
    response.end(fs.readFileSync(join(rootDirectory, url)))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const { port } = server.address() as AddressInfo
  const program = `http://127.0.0.1:${port}/test/support/compress_program.ts`
  const flags = ["--quiet", "--no-check", "--conditions=source", `--config=${join(rootDirectory, "deno.json")}`]
  const allowed = ["--allow-read", "--allow-write", `--allow-import=127.0.0.1:${port}`]
  try {
    const cache = `DENO_DIR=${join(root, "deno")}`
    const command = ["env", cache, runtimePath("deno"), "run", ...flags, ...allowed, program, source, target]
    const { code, stdout, stderr } = await runProcess(command, root)
    expect([code, stderr, JSON.parse(stdout).isInWorker]).toEqual([0, "", true])
  } finally {
    server.close()
  }
})
