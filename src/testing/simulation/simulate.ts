/**
 * Runs the store, whole and as it ships, in a world that a seed decides: disk, object store, clock, chance, the order in which fibers run,
 * what fails and when the power goes; and compares it with a model at every step. The same seed gives the same trace on every runtime.
 */
import * as Effect from "effect/Effect"
import { runDamaged } from "./sim_damage.ts"
import { checkFiles } from "./sim_files.ts"
import { runDamagedMaintenance, runMaintenance } from "./sim_maintain.ts"
import { makePlan, type SimPlan, type SimSession } from "./sim_plan.ts"
import { runSession } from "./sim_session.ts"
import { runTakeovers } from "./sim_takeover.ts"
import { type SimCounts, SimWorld } from "./sim_world.ts"

/** What came of a simulation. */
export interface SimResult {
  /** The seed. */
  readonly seed: number
  /** Of everything that happened: the same seed gives the same. */
  readonly hash: string
  /** What was wrong, in words; undefined when nothing was. */
  readonly violation: string | undefined
  /** What was done. */
  readonly counts: SimCounts
  /** How much time has gone by in the world. */
  readonly virtualMs: number
  /** The last events, or all. */
  readonly trace: ReadonlyArray<string>
}

/** Settings of a simulation. */
export interface SimOptions {
  /** About how many steps; default 120. */
  readonly steps?: number | undefined
  /** Keeps all events, not the last ones only. */
  readonly keepsTrace?: boolean | undefined
}

/** Steps of a simulation unless told otherwise. */
export const stepsDefault = 120

/** Runs the simulation of a seed. It blocks until it is done. */
export const simulate = async (seed: number, options: SimOptions = {}): Promise<SimResult> => {
  return runPlan(makePlan(seed, options.steps ?? stepsDefault), options.keepsTrace)
}

/** The last process of every simulation: nothing fails any more. */
const lastSession: SimSession = {
  steps: [],
  end: "close",
  endAt: 0,
  endKind: "any",
  keep: "nothing",
  openingCuts: [],
  failedOpening: 0,
  closesFirst: false,
  pauseMs: 1000,
  clockMs: 0,
  clockJumps: [],
  hasFaults: false,
}

/** Runs a plan, at once. */
export const runPlan = (plan: SimPlan, keepsTrace = false): SimResult => {
  const world = new SimWorld(plan, keepsTrace)
  let violation: string | undefined
  try {
    violation = runSessions(world, [...plan.sessions, lastSession, lastSession])
  } catch (error) {
    violation = `the simulator failed: ${(error as Error).stack ?? String(error)}`
  }
  const { counts, trace, loop } = world
  const { seed } = plan
  return { seed, hash: trace.hash, violation, counts, virtualMs: loop.nowMs, trace: trace.lines }
}

const runSessions = (world: SimWorld, sessions: ReadonlyArray<SimSession>): string | undefined => {
  let wasClosed = false
  for (const [at, session] of sessions.entries()) {
    if (world.plan.damage !== "none" && at === sessions.length - 1) {
      const { fault, hit } = runDamaged(world)
      return fault ?? runDamagedMaintenance(world, hit)
    }
    const violation = runSession(world, session, wasClosed)
    if (violation !== undefined) return violation
    wasClosed = session.end === "close"
    if (!wasClosed) continue
    // What a disk did not let go stays until the next opening.
    const fault = filesFault(world, !session.hasFaults || world.plan.diskFaults.length === 0)
    if (fault !== undefined) return fault
  }
  return runMaintenance(world) ?? (world.plan.tier2 === "store" ? runTakeovers(world) : undefined)
}

/** Looks at the disk between two processes. */
const filesFault = (world: SimWorld, isStrict: boolean): string | undefined => {
  let fault: string | undefined
  world.hasFaults = false
  world.startProcess(0)
  const look = Effect.matchCause(checkFiles(world, isStrict), {
    onFailure: (cause) => {
      fault = `looking at the files failed: ${String(cause.reasons[0])}`
    },
    onSuccess: (found) => {
      fault = found
    },
  })
  const fiber = world.fork(look)
  world.loop.run(() => fiber.pollUnsafe() !== undefined, Number.POSITIVE_INFINITY)
  world.loop.clear()
  world.disk.kill()
  return fault
}
