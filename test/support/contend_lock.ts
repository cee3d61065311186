// One of many contenders for a root: `contend_lock.ts ROOT WINS DEAD_PID SEED`. Takes the root until it has had it WINS times; checks
// each time that nobody else has it; then gives it back or leaves it as if it had died there, now and then with claims of more dead
// contenders around it. Says what went wrong.

import * as fs from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { RootLock } from "../../src/port/root_lock.ts"
import { loadRuntimeLayer } from "./runtime_layer.ts"

const [root, wins, deadPid, seed] = process.argv.slice(2) as [string, string, string, string]
const lockPath = `${root}/LOCK`
const ownerPath = `${root}/owner`
const result = { wins: 0, busy: 0, abandoned: 0, violations: [] as string[], errors: [] as string[] }
let random = Number(seed)
const chance = (): number => {
  random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff
  return random / 0x80000000
}

const nonce = (): string => Array.from({ length: 32 }, () => Math.floor(chance() * 16).toString(16)).join("")

/**
 * Puts the lock file of a dead process in place of the own, atomically. Often with claims around it: of a contender that died while
 * it took over from that one, and of one that died while it took over from the contender. They come first, for as long as
 * the root is still held nobody acts on them.
 */
const leaveDead = (): void => {
  const text = JSON.parse(fs.readFileSync(lockPath, "utf8"))
  const chain = [nonce()]
  while (chain.length < 3 && chance() < 0.4) chain.unshift(nonce())
  for (const [index, each] of chain.entries()) {
    const predecessor = chain[index + 1]
    const temporary = `${root}/dead.${each}`
    fs.writeFileSync(temporary, JSON.stringify({ ...text, pid: Number(deadPid), nonce: each, flock: chance() < 0.5 }))
    fs.renameSync(temporary, predecessor === undefined ? lockPath : `${lockPath}.takeover.${predecessor}`)
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

const own = (): void => {
  result.wins++
  try {
    const owner = Number(fs.readFileSync(ownerPath, "utf8"))
    if (owner !== process.pid && isAlive(owner)) result.violations.push(`${process.pid} won while ${owner} had it`)
  } catch {
    // Nobody had it, or the one who had it is just writing: that is seen below.
  }
  fs.writeFileSync(ownerPath, String(process.pid))
  const until = performance.now() + chance() * 2
  while (performance.now() < until);
  if (fs.readFileSync(ownerPath, "utf8") !== String(process.pid)) result.violations.push(`${process.pid} was not alone`)
  fs.unlinkSync(ownerPath)
  if (chance() < 0.3) return
  result.abandoned++
  leaveDead()
}

const program = Effect.gen(function* () {
  const services = yield* Layer.build(yield* Effect.promise(loadRuntimeLayer))
  const lock = Context.get(services, RootLock)
  fs.writeSync(1, "ready\n")
  yield* Effect.promise(() => new Promise<void>((resolve) => process.stdin.once("data", () => resolve())))
  while (result.wins < Number(wins) && result.errors.length === 0) {
    yield* Effect.scoped(Effect.andThen(lock.acquire(root), Effect.sync(own))).pipe(
      Effect.catch((error) =>
        Effect.sync(() => {
          if (error.code === "EBUSY") result.busy++
          else result.errors.push(error.message)
        }),
      ),
    )
    if (chance() < 0.2) yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
  }
})

await Effect.runPromise(Effect.scoped(program))
fs.writeSync(1, `${JSON.stringify(result)}\n`)
process.exit(0)
