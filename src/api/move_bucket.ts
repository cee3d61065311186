/** `moveBucket` with the store that the root goes to. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { attempt } from "../core/flow/attempt.ts"
import type { CoreManager } from "../core/manager.ts"
import { makeConfig } from "../model/config.ts"
import type { AofError } from "../model/errors.ts"
import { type MoveBucketOptions, type MoveBucketReport, makeMovePlan } from "../model/move_bucket.ts"
import type { Directory } from "../port/directory.ts"
import type { RootLock } from "../port/root_lock.ts"
import { openStore } from "./object_store.ts"

/** Moves with services that last as long as the manager does, which a directory is opened with. */
export const moveBucketWith = (
  core: CoreManager,
  options: MoveBucketOptions,
  context: Context.Context<Directory | RootLock>,
): Effect.Effect<MoveBucketReport, AofError> =>
  Effect.gen(function* () {
    const { root } = core.config
    const { store, isAbandoned } = yield* attempt(() => makeMovePlan(options))
    const config = yield* attempt(() => makeConfig({ root, tier2: { store } }))
    const open = Effect.map(Effect.provide(openStore(config), context), (opened) => opened!)
    return yield* core.moveBucket({ open, isAbandoned })
  })
