/** Paths are those of the opening: a process may change its working directory afterwards. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { attempt } from "../core/flow/attempt.ts"
import type { AofManagerConfig } from "../model/config.ts"
import type { AofError } from "../model/errors.ts"
import { absolutePath, Directory } from "../port/directory.ts"
import type { ObjectStore } from "../port/object_store.ts"
import type { RootLock } from "../port/root_lock.ts"
import { openStore } from "./object_store.ts"

/** Opens a root with its store; both mean from now on what their paths mean now, wherever the process goes. */
export const openAbsolute = <A, R>(
  config: AofManagerConfig,
  open: (config: AofManagerConfig, store: ObjectStore | undefined) => Effect.Effect<A, AofError, R>,
): Effect.Effect<A, AofError, R | Directory | RootLock | Scope.Scope> =>
  Effect.gen(function* () {
    const directory = yield* Directory
    const root = yield* attempt(() => absolutePath(directory, config.root))
    return yield* open({ ...config, root }, yield* openStore(config))
  })
