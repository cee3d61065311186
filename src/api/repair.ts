/** `AofManager.repair`: options, an overlay for plans, and the runtime's services. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeInlineCompressor } from "../compressor/compressor.ts"
import { loadCodec } from "../compressor/frame_codec.ts"
import { attempt } from "../core/flow/attempt.ts"
import { repairStore } from "../core/repair/repair.ts"
import { Overlay } from "../core/repair/repair_overlay.ts"
import { overlayStore } from "../core/repair/repair_overlay_store.ts"
import { type AofManagerConfig, makeConfig } from "../model/config.ts"
import { checkNames } from "../model/config_check.ts"
import { type AofError, invalidArgument } from "../model/errors.ts"
import type { RepairChange, RepairOptions, RepairReport } from "../model/repair.ts"
import { Compressor } from "../port/compressor.ts"
import { Directory } from "../port/directory.ts"
import { EventLoop } from "../port/event_loop.ts"
import type { ObjectStore } from "../port/object_store.ts"
import type { RootLock } from "../port/root_lock.ts"
import { openAbsolute } from "./open_absolute.ts"
import { quietProgress } from "./quiet_events.ts"

/** The services of a runtime. */
type Services = Directory | RootLock | EventLoop | Compressor

/** Makes the compressor of a plan, which works above the disk: on the main thread, as workers see the disk only. The simulator puts its own here. */
export const PlanCompressor: Context.Reference<(directory: Directory, eventLoop: EventLoop) => Compressor> =
  Context.Reference("bop-aof/api/PlanCompressor", {
    defaultValue: () => (directory, eventLoop) => makeInlineCompressor({ directory, eventLoop, loadCodec }),
  })

/** Budgets within which nothing is moved. */
const bytesMax = 2 ** 50

/** Repairs a root, or plans to, with the services of `layer`. */
export const repairWith = (
  layer: Layer.Layer<Services>,
  options: RepairOptions,
): Effect.Effect<RepairReport, AofError> =>
  Effect.scoped(
    Effect.flatMap(Effect.scope, (scope) =>
      Effect.flatMap(Layer.buildWithScope(layer, scope), (context) => Effect.provide(repairHere(options), context)),
    ),
  )

/** The same with the services of the context. */
export const repairHere: (options: RepairOptions) => Effect.Effect<RepairReport, AofError, Services> =
  Effect.fnUntraced(function* (options) {
    const { config, isPlan, onProgress } = yield* attempt(() => configOf(options))
    const context = yield* Effect.context<Services>()
    const repaired = openAbsolute(config, (absolute, store) => {
      const work = isPlan ? planned(context, absolute, store) : { context, store, changes: () => [] }
      const input = { config: absolute, isPlan, onProgress, store: work.store, changes: work.changes }
      return Effect.provide(repairStore(input), work.context)
    })
    return yield* Effect.scoped(repaired)
  })

/** The names of all options of a repair. */
export const repairOptionNames: ReadonlyArray<string> = ["root", "plan", "tier2", "onProgress", "signal"]

const configOf = (
  options: RepairOptions,
): {
  readonly config: AofManagerConfig
  readonly isPlan: boolean
  readonly onProgress: RepairOptions["onProgress"]
} => {
  checkNames("repair option", options, repairOptionNames)
  const { root, plan = false, tier2, onProgress } = options
  if (typeof plan !== "boolean") throw invalidArgument("plan", plan, "true or false")
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw invalidArgument("onProgress", onProgress, "a function")
  }
  const config = makeConfig({
    root,
    preallocateBytesMax: 0,
    tier0: { bytesMax },
    tier1: { bytesMax, compress: "pressure" },
    tier2,
  })
  // What is in the bucket is read, and damaged objects are replaced; whose the root is, is not for a repair to say.
  return {
    config: { ...config, tier2: { ...config.tier2, isBucket: false, mayDelete: false } },
    isPlan: plan,
    onProgress: quietProgress(onProgress),
  }
}

/** The same services and store, above which nothing is changed. */
const planned = (context: Context.Context<Services>, config: AofManagerConfig, store: ObjectStore | undefined) => {
  const overlay = new Overlay(Context.get(context, Directory))
  const objects = store === undefined ? undefined : overlayStore(store)
  const eventLoop = Context.get(context, EventLoop)
  const compressor = Context.get(context, PlanCompressor)(overlay.directory, eventLoop)
  const changes = (): ReadonlyArray<RepairChange> => [
    ...overlay
      .changes()
      .filter(({ path }) => path !== `${config.root}/LOCK`)
      .map(({ path, change }) => ({ place: path, change })),
    ...(objects?.changes() ?? []).map(({ key, change }) => ({ place: key, change })),
  ]
  return {
    context: context.pipe(Context.add(Directory, overlay.directory), Context.add(Compressor, compressor)),
    store: objects?.store,
    changes,
  }
}
