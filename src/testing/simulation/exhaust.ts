/**
 * The power goes at every single operation of a short run, and of every opening behind it: where chance alone may pass over a place, this
 * does not.
 */
import { makePlan, noDiskFaults, type SimKeep, type SimPlan, type SimSession } from "./sim_plan.ts"
import { runPlan, type SimResult } from "./simulate.ts"

/** What is gone through for one seed. */
export interface ExhaustOptions {
  /** Steps of the run. */
  readonly steps: number
  /** What a cut keeps, one after the other. */
  readonly keeps: ReadonlyArray<SimKeep>
  /** Each so manieth operation; 1 for all. */
  readonly stride: number
  /** `run`: operations of the run. `opening`: of the opening that follows a cut in the middle of it. */
  readonly where: "run" | "opening"
}

/** Gives the result of each cut, until the run or the opening has no more operations. */
export function* exhaust(seed: number, options: ExhaustOptions): Generator<SimResult, void, void> {
  const plan = calmPlan(seed, options.steps)
  const limit = operationsOf(plan, options.where)
  for (let at = 1; at <= limit; at += options.stride) {
    const keep = options.keeps[Math.floor(at / options.stride) % options.keeps.length] as SimKeep
    yield runPlan(cutAt(plan, at, keep, options.where))
  }
}

/** A run without faults and waits, with one process. */
const calmPlan = (seed: number, steps: number): SimPlan => {
  const plan = makePlan(seed, steps)
  const { steps: own } = plan.sessions[0] as SimSession
  const session: SimSession = {
    steps: plan.sessions.length === 1 ? own : plan.sessions.flatMap((one) => one.steps).slice(0, steps),
    end: "kill",
    endAt: 0,
    endKind: "any",
    keep: "half",
    openingCuts: [],
    failedOpening: 0,
    closesFirst: false,
    pauseMs: 0,
    clockMs: 0,
    clockJumps: [],
    hasFaults: false,
  }
  return { ...plan, diskFaults: noDiskFaults, storeFaults: {}, outageEveryMs: 0, damage: "none", sessions: [session] }
}

/** Operations of the disk in the first process, or in an opening after it. */
const operationsOf = (plan: SimPlan, where: "run" | "opening"): number => {
  const session = plan.sessions[0] as SimSession
  const whole = runPlan({ ...plan, sessions: [] }).counts.operations
  const all = runPlan({ ...plan, sessions: [session] }).counts.operations
  return where === "run" ? Math.max(1, all - whole) : 80
}

const cutAt = (plan: SimPlan, at: number, keep: SimKeep, where: "run" | "opening"): SimPlan => {
  const session = plan.sessions[0] as SimSession
  if (where === "run") return { ...plan, sessions: [{ ...session, end: "cut", endAt: at, keep }] }
  const middle: SimSession = { ...session, end: "cut", endAt: 60 + (plan.seed % 100), keep: "half" }
  const again: SimSession = { ...session, steps: [], end: "cut", endAt: 0, keep, openingCuts: [at] }
  return { ...plan, sessions: [middle, again] }
}
