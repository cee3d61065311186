// One writer for a root. Pairs are tested with this runtime as the holder, so that the three runs together cover all nine.

import { afterAll, beforeEach, describe, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { currentRuntime, type RuntimeName, runtimeNames } from "../../scripts/runtimes.mjs"
import type { Unavailable } from "../../src/model/errors.ts"
import { RootLock } from "../../src/port/root_lock.ts"
import { decodeHolder, judge, ownIdentity, type Verdict } from "../../src/runtime/lock_holder.ts"
import { type Child, startChild } from "../support/child.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"

const parent = fs.mkdtempSync(join(tmpdir(), "bop-aof-lock-"))
let root = ""
let count = 0

beforeEach(() => {
  root = join(parent, String(count++))
  fs.mkdirSync(root)
})
afterAll(() => fs.rmSync(parent, { recursive: true, force: true }))

interface Outcome {
  readonly held: boolean
  readonly code?: string
  readonly message?: string
  readonly holder?: { readonly pid: number; readonly runtime: string; readonly bootId: string }
}

/** Starts a contender and waits until it is ready to try. */
const makeReady = async (runtime: RuntimeName): Promise<Child> => {
  const child = startChild(runtime, "hold_lock.ts", [root])
  await child.line()
  return child
}

const contend = async (child: Child): Promise<Outcome> => {
  child.write("go\n")
  return JSON.parse(await child.line()) as Outcome
}

const finish = async (child: Child): Promise<void> => {
  child.end()
  await child.closed
}

/** Takes the root in this process for a moment; returns the error, if any. */
const tryHere = async (): Promise<Unavailable | undefined> => {
  const layer = await loadRuntimeLayer()
  const attempt = Effect.flatMap(RootLock, (lock) => lock.acquire(root))
  const failure = attempt.pipe(Effect.scoped, Effect.provide(layer), Effect.flip)
  return Effect.runPromise(Effect.orElseSucceed(failure, () => undefined))
}

/** The lock file of a holder that is not there, made from what this process would write. */
const writeLock = (change: object): void => {
  const nonce = "0123456789abcdef0123456789abcdef"
  const holder = { ...ownIdentity(currentRuntime), nonce, flock: false, ...change }
  fs.writeFileSync(join(root, "LOCK"), JSON.stringify(holder))
}

/** Whether the first thread of a process has ended. */
const isZombie = (pid: number): boolean => /^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))

const until = async (isTrue: () => boolean): Promise<void> => {
  while (!isTrue()) await new Promise(setImmediate)
}

/** A pid that was in use and is not any more. */
const findDeadPid = async (): Promise<number> => {
  const child = await makeReady(currentRuntime)
  child.kill("SIGKILL")
  await child.closed
  return child.pid
}

describe("a root held by this runtime", () => {
  test.each([...runtimeNames])("is refused to %s with the holder, and given back", async (other: RuntimeName) => {
    const [holder, contender, next] = await Promise.all([makeReady(currentRuntime), makeReady(other), makeReady(other)])
    expect(await contend(holder)).toEqual({ held: true })
    const refusal = await contend(contender)
    expect([refusal.held, refusal.code, refusal.holder?.pid]).toEqual([false, "EBUSY", holder.pid])
    expect(refusal.holder?.runtime).toBe(currentRuntime)
    expect(refusal.message).toContain(`held by process ${holder.pid} (${currentRuntime})`)
    await finish(contender)
    await finish(holder)
    expect(await contend(next)).toEqual({ held: true })
    await finish(next)
    expect(fs.readdirSync(root)).toEqual([])
  })

  test.each([...runtimeNames])("goes to %s when the holder was killed", async (other: RuntimeName) => {
    const [holder, contender] = await Promise.all([makeReady(currentRuntime), makeReady(other)])
    expect(await contend(holder)).toEqual({ held: true })
    holder.kill("SIGKILL")
    await holder.closed
    expect(fs.existsSync(join(root, "LOCK"))).toBe(true)
    expect(await contend(contender)).toEqual({ held: true })
    expect(fs.readdirSync(root)).toEqual(["LOCK"])
    await finish(contender)
    expect(fs.readdirSync(root)).toEqual([])
  })
})

describe("a lock file", () => {
  test("of this process is refused, and says so", async () => {
    writeLock({})
    const error = await tryHere()
    expect([error?.code, error?.holder?.pid]).toEqual(["EBUSY", process.pid])
    expect(error?.message).toContain("this process")
  })

  test("of an earlier process with this pid is taken over", async () => {
    writeLock({ processStartTime: "1" })
    expect(await tryHere()).toBe(undefined)
  })

  test("from before the machine was started is taken over", async () => {
    writeLock({ bootId: "00000000-0000-0000-0000-000000000000" })
    expect(await tryHere()).toBe(undefined)
  })

  test("of another pid namespace is refused with the way out", async () => {
    writeLock({ pidNamespace: "pid:[1]", pid: await findDeadPid() })
    const error = await tryHere()
    expect(error?.code).toBe("EBUSY")
    expect(error?.message).toContain(`remove ${JSON.stringify(join(root, "LOCK"))}`)
  })

  test.each(["", "garbage", "{}", "null", '{"pid":1}'])("that says %j is refused with the way out", async (text) => {
    fs.writeFileSync(join(root, "LOCK"), text)
    const error = await tryHere()
    expect(error?.code).toBe("EBUSY")
    expect(error?.message).toContain(`remove ${JSON.stringify(join(root, "LOCK"))}`)
    expect(fs.readFileSync(join(root, "LOCK"), "utf8")).toBe(text)
    expect(fs.readdirSync(root)).toEqual(["LOCK"])
  })

  test("that is a link or a directory is refused with its path and the way out", async () => {
    const path = join(root, "LOCK")
    fs.writeFileSync(join(root, "other"), "text")
    for (const target of ["other", "nothing"]) {
      fs.symlinkSync(join(root, target), path)
      const error = await tryHere()
      expect([error?.code, error?.retryable]).toEqual(["ELOOP", false])
      expect(error?.message).toContain(`remove ${JSON.stringify(path)}`)
      fs.unlinkSync(path)
    }
    fs.mkdirSync(path)
    const error = await tryHere()
    expect([error?.code, error?.retryable]).toEqual(["EISDIR", false])
    expect(error?.message).toContain(`remove ${JSON.stringify(path)}`)
    fs.rmdirSync(path)
    fs.symlinkSync("loop", join(root, "loop"))
    root = join(root, "loop")
    const looped = await tryHere()
    expect([looped?.code, looped?.retryable]).toEqual(["ELOOP", false])
  })

  test("of a dead holder goes to the next, with what dead contenders left", async () => {
    const pid = await findDeadPid()
    writeLock({ pid })
    const claim = join(root, "LOCK.takeover.0123456789abcdef0123456789abcdef")
    writeLock({ pid })
    const text = JSON.parse(fs.readFileSync(join(root, "LOCK"), "utf8"))
    fs.writeFileSync(claim, JSON.stringify({ ...text, nonce: "f".repeat(32) }))
    fs.writeFileSync(join(root, "LOCK.claim.half-written"), '{"pid":')
    expect(await tryHere()).toBe(undefined)
    expect(fs.readdirSync(root)).toEqual([])
  })

  test("is not removed by an owner who lost it", async () => {
    const layer = await loadRuntimeLayer()
    const stolen = Effect.gen(function* () {
      yield* (yield* RootLock).acquire(root)
      fs.unlinkSync(join(root, "LOCK"))
      fs.writeFileSync(join(root, "LOCK"), "other")
    })
    await Effect.runPromise(Effect.provide(Effect.scoped(stolen), layer))
    expect(fs.readFileSync(join(root, "LOCK"), "utf8")).toBe("other")
  })

  test("in a root that is a file is ENOTDIR", async () => {
    fs.rmdirSync(root)
    fs.writeFileSync(root, "x")
    expect(await tryHere()).toMatchObject({ code: "ENOTDIR", value: root })
  })
})

describe("a judgement", () => {
  const own = ownIdentity(currentRuntime)
  const holder = { ...own, nonce: "0".repeat(32), flock: false }
  const options = { path: "", tryFlock: undefined, isLocal: true }

  test("needs a proof for dead", async () => {
    const pid = await findDeadPid()
    expect(judge(holder, own, options)).toBe("alive")
    expect(judge({ ...holder, pid }, own, options)).toBe("dead")
    expect(judge({ ...holder, pid, pidNamespace: "" }, own, options)).toBe("unknown")
    expect(judge({ ...holder, pid }, { ...own, pidNamespace: "" }, options)).toBe("unknown")
    expect(judge({ ...holder, bootId: "x" }, own, options)).toBe("dead")
    expect(judge({ ...holder, bootId: "x" }, own, { ...options, isLocal: false })).toBe("unknown")
    expect(judge({ ...holder, bootId: "" }, own, options)).toBe("alive")
    expect(judge({ ...holder, processStartTime: "" }, own, options)).toBe("alive")
  })

  test.if(process.platform === "linux")("takes no zombie for dead that still has threads", async () => {
    const child = startChild("bun", "end_first_thread.ts", [])
    const judgeChild = (): Verdict => judge({ ...holder, pid: child.pid, processStartTime: "" }, own, options)
    try {
      await child.line()
      await until(() => isZombie(child.pid))
      expect(judgeChild()).toBe("alive")
    } finally {
      child.kill("SIGKILL")
    }
    await child.closed
    expect(judgeChild()).toBe("dead")
  })

  test.if(process.platform === "linux")("takes a zombie for dead that nobody asked for its exit code", async () => {
    const shell = spawn("sh", ["-c", "sleep 600 & echo $!; exec sleep 600"], { stdio: ["ignore", "pipe", "inherit"] })
    try {
      const pid = Number(await new Promise((resolve) => shell.stdout.once("data", resolve)))
      // As a shell the parent would ask.
      await until(() => fs.readFileSync(`/proc/${shell.pid}/comm`, "utf8") === "sleep\n")
      process.kill(pid, "SIGKILL")
      await until(() => isZombie(pid))
      expect(judge({ ...holder, pid, processStartTime: "" }, own, options)).toBe("dead")
    } finally {
      shell.kill("SIGKILL")
    }
  })

  test("is left to the flock where both have it", () => {
    const dead = { ...holder, processStartTime: "1", flock: true }
    expect(judge(dead, own, { ...options, tryFlock: () => "busy" })).toBe("alive")
    expect(judge({ ...holder, flock: true }, own, { ...options, tryFlock: () => () => {} })).toBe("dead")
    expect(judge(dead, own, { ...options, tryFlock: () => "unsupported" })).toBe("dead")
    expect(judge(holder, own, { ...options, tryFlock: () => "busy" })).toBe("alive")
  })

  test("reads only what a claim may hold", () => {
    expect(decodeHolder(JSON.stringify(holder))).toEqual(holder)
    expect(decodeHolder(JSON.stringify({ ...holder, nonce: "../../../../../../../../etc/passw" }))).toBe(undefined)
    expect(decodeHolder(JSON.stringify({ ...holder, pid: -1 }))).toBe(undefined)
  })
})

describe("many contenders", () => {
  test("at once for a dead holder's root: one wins", async () => {
    const holder = await makeReady(currentRuntime)
    await contend(holder)
    holder.kill("SIGKILL")
    await holder.closed
    const children = await Promise.all([...runtimeNames, ...runtimeNames, ...runtimeNames].map(makeReady))
    const outcomes = await Promise.all(children.map(contend))
    expect(outcomes.filter(({ held }) => held).length).toBe(1)
    expect(outcomes.filter(({ code }) => code === "EBUSY").length).toBe(children.length - 1)
    await Promise.all(children.map(finish))
    expect(fs.readdirSync(root)).toEqual([])
  }, 120_000)

  test("who die with it, over and over: never two at a time, and never none", async () => {
    const deadPid = await findDeadPid()
    const children = [...runtimeNames, ...runtimeNames].map((runtime, index) =>
      startChild(runtime, "contend_lock.ts", [
        root,
        index === 0 ? "Infinity" : "12",
        String(deadPid),
        String(index + 1),
      ]),
    )
    await Promise.all(children.map((child) => child.line()))
    for (const child of children) child.write("go\n")
    const [first, ...others] = children.map(async (child) => JSON.parse(await child.line()))
    // The one that would go on for ever is killed for real, wherever it stands when the first of the others is done.
    await Promise.race(others)
    children[0]?.kill("SIGKILL")
    await expect(first).rejects.toThrow("ended without a word")
    const results = await Promise.all(others)
    await Promise.all(children.map((child) => child.closed))
    for (const { wins, violations, errors } of results) expect([wins, violations, errors]).toEqual([12, [], []])
    expect(await tryHere()).toBe(undefined)
  }, 120_000)
})
