/**
 * Moves a root to another bucket while it is open: its objects are copied, then HEAD of the old one says that the root has moved, and HEAD of the new one
 * that it is there. Appends and reads go on meanwhile; uploads and removals stand still for the last part.
 *
 * Invariants: the new bucket has every object that its first HEAD names, but for those that the old one has lost; nobody can take the old
 * bucket over by mistake any more before the new one is the root's; a move that fails leaves the root where it was.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type AofError, invalidArgument, storeRefused, unavailable } from "../../model/errors.ts"
import type { MoveBucketReport } from "../../model/move_bucket.ts"
import type { Tier2Config } from "../../model/tier2_config.ts"
import type { ObjectStore } from "../../port/object_store.ts"
import { attempt } from "../flow/attempt.ts"
import { ObjectCopier } from "../tier2/copy_objects.ts"
import { reconcile, untilHeld } from "../tier2/reconcile.ts"
import type { StoreSwitch } from "../tier2/store_switch.ts"
import { makeTier2, type Tier2 } from "../tier2/tier2.ts"
import { uploadedSegments } from "../tier2/uploaded_segments.ts"
import type { Tiers } from "../tiers/tiers.ts"
import type { Bucket } from "./bucket.ts"
import { fenceOf } from "./head_judge.ts"
import { type FoundHead, HeadStore } from "./head_store.ts"

/** Where the root is to go. */
export interface BucketMoveRequest {
  readonly open: Effect.Effect<ObjectStore, AofError, Scope.Scope>
  /** True when the present bucket is not asked. */
  readonly isAbandoned: boolean
}

/** What a move is done with. */
export interface MovePlan {
  readonly tiers: Tiers
  /** What all requests go through. */
  readonly store: StoreSwitch
  readonly to: ObjectStore
  readonly config: Tier2Config
  readonly isAbandoned: boolean
  readonly random32: () => number
  /** Throws once the manager is closed or fenced. */
  readonly check: () => void
  /** Fails once not even what lies between the two HEADs may go on. */
  readonly cut: Effect.Effect<never, AofError>
}

/** So many are left for the part in which nothing is uploaded. */
const leftMax = 4
/** Rounds of copying while uploads go on. */
const roundsMax = 8
const copiesAtOnce = 2

/** Moves. */
export const moveBucket: (plan: MovePlan) => Effect.Effect<MoveBucketReport, AofError> = Effect.fnUntraced(function* (
  plan: MovePlan,
) {
  const { tiers, store, to, isAbandoned, config, random32, check, cut } = plan
  const { clock, emit } = tiers.services
  const startedMs = clock.wallMsUnsafe()
  const beganMs = clock.currentTimeMillisUnsafe()
  const from = store.current
  const bucket = yield* heldBucket(plan)
  const target = makeTarget(plan)
  const found = yield* target.headStore.read
  yield* refuseTarget(bucket, { place: to.place, found })
  const copier = new ObjectCopier(tiers, target.tier2)
  if (!isAbandoned) yield* copyMost(plan, copier)
  const pausedAtMs = clock.currentTimeMillisUnsafe()
  const switched = Effect.gen(function* () {
    yield* tiers.coordinator.untouching
    if (!isAbandoned) yield* copyAll(plan, copier)
    yield* attempt(check)
    const onMoved = (): void => store.use(to)
    yield* bucket.move({ headStore: target.headStore, found, isAbandoned, onMoved, cut })
  })
  bucket.pause()
  yield* Effect.ensuring(
    switched,
    Effect.sync(() => {
      bucket.resume()
      if (store.current === to) tiers.services.tier2!.gate.reset()
      tiers.coordinator.wake()
    }),
  )
  const endMs = clock.currentTimeMillisUnsafe()
  const { copied, copiedBytes } = copier
  const reason = `from ${from.place} to ${to.place}, ${copied} objects copied`
  emit({ name: "bucket_moved", level: "info", bytes: copiedBytes, durationMs: endMs - beganMs, reason })
  // What could not be copied is uploaded from where it lies, or named.
  // What is asked of the old bucket has limits of its own, as it may have gone meanwhile.
  const { rate } = tiers.services.tier2!.gate
  const old = isAbandoned ? undefined : makeTier2({ store: from, config, emit, clock, random32, rate })
  const checked = yield* Effect.result(reconcile(tiers, { isPlan: false, check, from: old }))
  const missing = checked._tag === "Success" ? checked.success.missing : undefined
  const durationMs = clock.currentTimeMillisUnsafe() - beganMs
  const pausedMs = endMs - pausedAtMs
  return { from: from.place, to: to.place, startedMs, durationMs, pausedMs, copied, copiedBytes, missing }
})

/** The bucket, when its epoch has been taken; one that is abandoned need not have answered. */
const heldBucket = ({ tiers, store, isAbandoned, check }: MovePlan): Effect.Effect<Bucket, AofError> =>
  Effect.gen(function* () {
    const { bucket } = tiers.services
    if (bucket === undefined)
      return yield* Effect.fail(storeRefused("moveBucket", "one without a bucket", "a store with tier2.store"))
    if (!isAbandoned) yield* untilHeld(tiers, check)
    yield* attempt(check)
    if (isAbandoned || bucket.isHeld) return bucket
    const error = unavailable(`moving ${store.place}`, "EAGAIN", "its epoch has not been taken yet")
    return yield* Effect.fail(bucket.trouble(0) ?? error)
  })

/** A client of the new bucket, which nothing of the old one slows down but the limit of bytes that both keep together. */
const makeTarget = ({
  tiers,
  to,
  config,
  random32,
}: MovePlan): { readonly tier2: Tier2; readonly headStore: HeadStore } => {
  const { emit, clock } = tiers.services
  const { rate } = tiers.services.tier2!.gate
  const tier2 = makeTier2({ store: to, config, emit, clock, random32, rate })
  const headStore = new HeadStore({
    store: to,
    config,
    random32,
    send: (kind, key, request) => tier2.gate.send(kind, key, request),
  })
  return { tier2, headStore }
}

/** A bucket with a root in it is no place to go to, but for one that this root has left. */
const refuseTarget = (
  bucket: Bucket,
  { place, found }: { readonly place: string; readonly found: FoundHead | undefined },
): Effect.Effect<void, AofError> => {
  if (found === undefined) return Effect.void
  const { rootId, own, epoch } = bucket
  const error = fenceOf(found, { place, rootId, own, epoch, mayBeMoved: true })
  if (error !== undefined) return Effect.fail(error)
  if (bucket.isLast(found.head))
    return Effect.fail(invalidArgument("moveBucket.to", place, "another bucket than the present one"))
  return Effect.void
}

/** Copies what is there, and what has come meanwhile, until there is little left. */
const copyMost = (plan: MovePlan, copier: ObjectCopier): Effect.Effect<void, AofError> =>
  Effect.gen(function* () {
    for (let round = 0; round < roundsMax; round++) {
      if (copier.left(uploadedSegments(plan.tiers)).length <= leftMax) return
      yield* copyAll(plan, copier)
    }
  })

const copyAll = ({ tiers, check }: MovePlan, copier: ObjectCopier): Effect.Effect<void, AofError> =>
  Effect.forEach(
    copier.left(uploadedSegments(tiers)),
    (segment) => Effect.andThen(attempt(check), copier.copy(segment)),
    { concurrency: copiesAtOnce, discard: true },
  )
