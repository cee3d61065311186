/** The simulator: what of it others use. */
export { type ExhaustOptions, exhaust } from "./exhaust.ts"
export { kindOf, type Shrunk, shrink } from "./shrink.ts"
export * from "./sim_plan.ts"
export type { SimCounts } from "./sim_world.ts"
export { runPlan, type SimOptions, type SimResult, simulate, stepsDefault } from "./simulate.ts"
