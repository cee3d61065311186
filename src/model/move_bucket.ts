/** What a move to another bucket is asked for, and what it tells. */
import { checkStore, type DirectoryPlace, type ObjectStoreHandle } from "./cold_config.ts"
import { checkNames } from "./config_check.ts"
import { invalidArgument } from "./errors.ts"
import type { MissingObject } from "./reconcile.ts"

/** Options of `moveBucket`. */
export interface MoveBucketOptions {
  /** Where the root goes, as in `tier2.store`: a place without a root, or one that this root has left before. */
  readonly to: ObjectStoreHandle | DirectoryPlace
  /**
   * True when the bucket that the root leaves does not answer: nothing is asked of it and nothing copied. What has a local copy is uploaded to the new one; what
   * has none can be read again after `reconcile({ from })`. Default false.
   */
  readonly abandon?: boolean | undefined
}

/** What was moved. */
export interface MoveBucketReport {
  /** The bucket that was left, for people. */
  readonly from: string
  /** The bucket that the root has now, for people. */
  readonly to: string
  /** Unix time of its start in milliseconds. */
  readonly startedMs: number
  /** How long it took. */
  readonly durationMs: number
  /** For how long of that nothing was uploaded and nothing removed. */
  readonly pausedMs: number
  /** Objects that were copied. Those that the new bucket had already are not among them. */
  readonly copied: number
  /** Bytes of them. */
  readonly copiedBytes: number
  /** Segments whose object could not be copied, and what was done about it. Undefined when the look at the new bucket afterwards failed: `reconcile` looks again. */
  readonly missing: ReadonlyArray<MissingObject> | undefined
}

/** Names of the options. */
export const moveBucketOptionNames: ReadonlyArray<string> = ["to", "abandon"]

/** Checks the options. Throws `InvalidArgument`. */
export const makeMovePlan = (
  options: MoveBucketOptions,
): { readonly store: ObjectStoreHandle | DirectoryPlace; readonly isAbandoned: boolean } => {
  checkNames("moveBucket option", options, moveBucketOptionNames)
  const { to, abandon = false } = options
  if (typeof abandon !== "boolean") throw invalidArgument("moveBucket.abandon", abandon, "true or false")
  return { store: checkStore(to, "moveBucket.to"), isAbandoned: abandon }
}
