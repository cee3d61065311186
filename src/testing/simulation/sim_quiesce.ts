/** The end of a process in order: faults are over, all who wait are answered, the store goes on, the tiers settle, and it closes. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { AofManager } from "../../api/effect.ts"
import { payloadBytesMin, payloadOf } from "./sim_model.ts"
import type { OpenStream, SimProcess } from "./sim_process.ts"
import { SimViolation } from "./sim_process.ts"
import { verifyStream } from "./sim_verify.ts"

const minuteMs = 60_000
/** Twice the largest segment of any plan. */
const overdraftBytes = 64 * 1024
const answerLimitMs = 30 * minuteMs

/** Brings a process to rest, checks what must hold then, and closes the store. */
export const quiesce = (process: SimProcess, manager: AofManager): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { world } = process
    yield* process.drain(answerLimitMs)
    if (process.violation !== undefined || !world.isAlive) return
    // Retries that faults have put off are over by then, and nothing may fail any more.
    yield* Effect.sleep(minuteMs)
    process.hadFaults = false
    const open = process.streams.filter((stream) => !stream.isClosing)
    for (const stream of open) {
      yield* goOn(process, stream)
      yield* caughtUp(stream)
    }
    yield* process.drain(answerLimitMs)
    for (const stream of open) {
      yield* verifyStream(process, stream.aof, stream.model, "all")
      if (process.violation !== undefined || !world.isAlive) return
    }
    for (const stream of open) yield* sealedAll(stream)
    // Staging memory is given back after a quiet moment.
    yield* Effect.sleep(1000)
    yield* process.within("settling", 60 * minuteMs, manager.settled())
    world.settledMs = yield* Clock.currentTimeMillis
    process.violate(budgetFault(process, manager))
    for (const stream of process.streams) for (const one of stream.follows) one.stop()
    yield* process.within("closing", 60 * minuteMs, manager.close())
    yield* process.leave
  })

/** Back-pressure is over: an append is taken and becomes durable. */
const goOn = (process: SimProcess, stream: OpenStream): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { model, plan } = process.world
    const entry = model.call(stream.model, payloadBytesMin, stream.extId, 0)
    const append = stream.aof.append(payloadOf(stream.model, entry, plan.isNoise), { extId: entry.extId })
    const ack = yield* process.within(`append after all faults to ${stream.model.name}`, answerLimitMs, append)
    if (ack !== undefined) process.violate(model.acknowledge(stream.model, entry, ack))
  })

/** What was filled is sealed: the tiers know of it. */
const sealedAll = (stream: OpenStream): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const isSealing = (): boolean => stream.aof.info().segments.some((one) => one.state === "sealing")
    for (let pauseMs = 1; isSealing(); pauseMs *= 2) {
      if (pauseMs > answerLimitMs) {
        return yield* Effect.fail(new SimViolation(`a segment of ${stream.model.name} is never sealed`))
      }
      yield* Effect.sleep(pauseMs)
    }
  })

/** Followers have got all that is durable. */
const caughtUp = (stream: OpenStream): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { durable } = stream.aof.info().watermarks
    const behind = (): boolean => stream.follows.some((one) => !one.isEnded && one.lastId < durable)
    for (let pauseMs = 1; behind(); pauseMs *= 2) {
      if (pauseMs > answerLimitMs) {
        return yield* Effect.fail(new SimViolation(`a follower of ${stream.model.name} never got ${durable}`))
      }
      yield* Effect.sleep(pauseMs)
    }
  })

/** Tier 0 and Tier 1 hold what their budgets allow, once everything has settled. */
const budgetFault = (process: SimProcess, manager: AofManager): string | undefined => {
  const { plan } = process.world
  const { tier0, tier1 } = manager.observe()
  const limit = plan.policy === "elastic" ? plan.tier0Bytes * 1.5 : plan.tier0Bytes
  if (tier0.usedBytes > limit) return `Tier 0 holds ${tier0.usedBytes} bytes of ${limit}`
  // One segment that is brought back may go above it, and what a batch needs beyond its estimate.
  if (tier0.highestBytes > limit + overdraftBytes) return `Tier 0 has held ${tier0.highestBytes} bytes of ${limit}`
  // Without an object store nothing can leave Tier 1.
  if (plan.tier2 !== "none" && tier1.usedBytes > plan.tier1Bytes) {
    return `Tier 1 holds ${tier1.usedBytes} bytes of ${plan.tier1Bytes}`
  }
  // A disk that failed may have kept what was to go.
  if (process.hadDiskFaults) return undefined
  let [hotBytes, warmBytes] = [0, 0]
  for (const path of process.world.disk.paths()) {
    if (!path.startsWith("/store/streams/")) continue
    const bytes = process.world.disk.contentOf(path)?.length ?? 0
    if (path.endsWith(".seg")) hotBytes += bytes
    if (path.endsWith(".zst")) warmBytes += bytes
  }
  if (tier0.usedBytes > hotBytes) return `Tier 0 counts ${tier0.usedBytes} bytes and has ${hotBytes}`
  return tier1.usedBytes === warmBytes ? undefined : `Tier 1 counts ${tier1.usedBytes} bytes and has ${warmBytes}`
}
