/** `reconcile` with the store that objects may be copied from. */
import * as Effect from "effect/Effect"
import { attempt } from "../core/flow/attempt.ts"
import type { CoreManager } from "../core/manager.ts"
import { makeConfig } from "../model/config.ts"
import type { AofError } from "../model/errors.ts"
import { makeReconcilePlan, type ReconcileOptions, type ReconcileReport } from "../model/reconcile.ts"
import type { Directory } from "../port/directory.ts"
import type { RootLock } from "../port/root_lock.ts"
import { openStore } from "./object_store.ts"

/** Reconciles with the services of the context, which a directory is opened with. */
export const reconcileHere = (
  core: CoreManager,
  options: ReconcileOptions,
): Effect.Effect<ReconcileReport, AofError, Directory | RootLock> => {
  const opened = Effect.gen(function* () {
    const plan = yield* attempt(() => makeReconcilePlan(options))
    const { from } = options
    if (from === undefined) return yield* core.reconcile(plan)
    const config = yield* attempt(() => makeConfig({ root: core.config.root, tier2: { store: from } }))
    return yield* core.reconcile({ ...plan, from: yield* openStore(config) })
  })
  return Effect.scoped(opened)
}
