/** What a reconciliation of Tier 2 is asked for, and what it tells: what lies there beside what the manifest says lies there. */
import { checkStore, type DirectoryPlace, type ObjectStoreHandle } from "./cold_config.ts"
import { checkNames } from "./config_check.ts"
import { invalidArgument } from "./errors.ts"

/** Options of `reconcile`. */
export interface ReconcileOptions {
  /** True to change nothing, and only tell; default false. */
  readonly plan?: boolean | undefined
  /** Where the objects were before, as in `tier2.store`: what is missing and has no local copy is copied from there. */
  readonly from?: ObjectStoreHandle | DirectoryPlace | undefined
}

/** An object of this root that nothing names. */
export interface OrphanObject {
  /** Its key, behind the prefix of the store. */
  readonly key: string
  /** Its length. */
  readonly bytes: number
  /** What was done about it, or would be, in words. */
  readonly action: string
}

/** A segment whose object is not there, or is not what was uploaded. */
export interface MissingObject {
  /** Name of the stream. */
  readonly stream: string
  /** Index of the segment. */
  readonly segmentIndex: number
  /** Its key, behind the prefix of the store. */
  readonly key: string
  /** Nothing is there, or something of another length. */
  readonly problem: "missing" | "length"
  /** The id position at which the segment begins. */
  readonly from: number
  /** The one behind its last record. */
  readonly to: number
  /** True when there is a local copy, or one in `from`, which is uploaded, or would be. */
  readonly isRepairable: boolean
  /** What was done about it, or would be, in words. */
  readonly action: string
}

/** What was found. */
export interface ReconcileReport {
  /** True when nothing was changed. */
  readonly isPlan: boolean
  /** Unix time of its start in milliseconds. */
  readonly startedMs: number
  /** How long it took. */
  readonly durationMs: number
  /** Where the objects lie, for people. */
  readonly place: string
  /** Objects of this root that were listed. */
  readonly objects: number
  /** Bytes of them. */
  readonly bytes: number
  /** What nothing names, in order of key. */
  readonly orphans: ReadonlyArray<OrphanObject>
  /** What is not there. */
  readonly missing: ReadonlyArray<MissingObject>
}

/** Names of the options. */
export const reconcileOptionNames: ReadonlyArray<string> = ["plan", "from"]

/** Checks the options. Throws `InvalidArgument`. */
export const makeReconcilePlan = (options: ReconcileOptions): { readonly isPlan: boolean } => {
  checkNames("reconcile option", options, reconcileOptionNames)
  const { plan = false, from } = options
  if (typeof plan !== "boolean") throw invalidArgument("plan", plan, "true or false")
  if (from !== undefined) checkStore(from, "from")
  return { isPlan: plan }
}
