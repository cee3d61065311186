/**
 * Makes a failing simulation smaller: fewer processes, fewer steps, fewer faults, less disorder, as long as it fails with the same kind of
 * violation. In the manner of delta debugging (Zeller and Hildebrandt, IEEE TSE 2002): halves first, then smaller parts.
 */
import { noDiskFaults, type SimPlan, type SimSession } from "./sim_plan.ts"
import { runPlan, type SimResult } from "./simulate.ts"

/** A smaller plan, and what comes of it. */
export interface Shrunk {
  readonly plan: SimPlan
  readonly result: SimResult
  /** Plans that were tried. */
  readonly tries: number
}

/** Shrinks a plan that fails, with at most so many tries. */
export const shrink = (plan: SimPlan, triesMax: number): Shrunk => {
  const first = runPlan(plan)
  const kind = kindOf(first.violation)
  const shrinker = new Shrinker(plan, first, { kind, triesMax })
  shrinker.run()
  return { plan: shrinker.plan, result: shrinker.result, tries: shrinker.tries }
}

/** A violation without its numbers and names. */
export const kindOf = (violation: string | undefined): string =>
  (violation ?? "").replaceAll(/"[^"]*"|[0-9a-f]{8,}|\bs?\d+\b/g, "#").slice(0, 60)

class Shrinker {
  plan: SimPlan
  result: SimResult
  tries = 0
  readonly #kind: string
  readonly #triesMax: number

  constructor(plan: SimPlan, result: SimResult, options: { readonly kind: string; readonly triesMax: number }) {
    this.plan = plan
    this.result = result
    this.#kind = options.kind
    this.#triesMax = options.triesMax
  }

  run(): void {
    if (this.result.violation === undefined) return
    for (let before = -1; before !== this.tries && this.tries < this.#triesMax; ) {
      const size = sizeOf(this.plan)
      this.#dropSessions()
      this.#dropSteps()
      this.#calm()
      if (sizeOf(this.plan) === size) break
      before = -1
    }
  }

  /** True when the plan fails in the same way; then it is taken. */
  #try(plan: SimPlan): boolean {
    if (this.tries >= this.#triesMax) return false
    this.tries++
    const result = runPlan(plan)
    if (kindOf(result.violation) !== this.#kind) return false
    this.plan = plan
    this.result = result
    return true
  }

  #dropSessions(): void {
    for (let at = this.plan.sessions.length - 1; at >= 0; at--) {
      const { sessions } = this.plan
      this.#try({ ...this.plan, sessions: sessions.filter((_, index) => index !== at) })
    }
  }

  #dropSteps(): void {
    for (let at = 0; at < this.plan.sessions.length; at++) {
      for (let part = Math.ceil((this.plan.sessions[at]?.steps.length ?? 0) / 2); part >= 1; part = part >> 1) {
        for (let from = 0; from < (this.plan.sessions[at]?.steps.length ?? 0); ) {
          const { steps } = this.plan.sessions[at] as SimSession
          const less = steps.filter((_, index) => index < from || index >= from + part)
          if (!this.#try(this.#withSession(at, { steps: less }))) from += part
        }
      }
    }
  }

  /** Everything that happens by chance, one after the other, is turned off. */
  #calm(): void {
    const { plan } = this
    if (plan.disorder > 0) this.#try({ ...this.plan, disorder: 0 })
    if (plan.diskFaults.length > 0) this.#try({ ...this.plan, diskFaults: noDiskFaults })
    if (plan.outageEveryMs > 0) this.#try({ ...this.plan, outageEveryMs: 0 })
    if (plan.diskMs > 0) this.#try({ ...this.plan, diskMs: 0 })
    if (plan.storeMs > 0) this.#try({ ...this.plan, storeMs: 0 })
    if (plan.slowDisk > 0) this.#try({ ...this.plan, slowDisk: 0 })
    if (plan.damage !== "none") this.#try({ ...this.plan, damage: "none" })
    for (const name of Object.keys(plan.storeFaults)) {
      const left = Object.entries(this.plan.storeFaults).filter(([one]) => one !== name)
      this.#try({ ...this.plan, storeFaults: Object.fromEntries(left) })
    }
    for (let at = this.plan.sessions.length - 1; at >= 0; at--) {
      const session = this.plan.sessions[at] as SimSession
      if (session.failedOpening > 0) this.#try(this.#withSession(at, { failedOpening: 0 }))
      if (session.closesFirst) this.#try(this.#withSession(at, { closesFirst: false }))
      if (session.openingCuts.length > 0) this.#try(this.#withSession(at, { openingCuts: [] }))
      if (session.hasFaults) this.#try(this.#withSession(at, { hasFaults: false }))
      if (session.clockMs !== 0) this.#try(this.#withSession(at, { clockMs: 0 }))
      if (session.clockJumps.length > 0) this.#try(this.#withSession(at, { clockJumps: [] }))
    }
  }

  #withSession(at: number, change: Partial<SimSession>): SimPlan {
    const sessions = this.plan.sessions.map((session, index) => (index === at ? { ...session, ...change } : session))
    return { ...this.plan, sessions }
  }
}

const sizeOf = (plan: SimPlan): number => JSON.stringify(plan).length
