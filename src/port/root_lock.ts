/** Exclusive ownership of a root: one writer process, whatever the runtime. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Unavailable } from "../model/errors.ts"

/** The file of a root that keeps room for a full disk. Who takes over from a dead holder may shorten it where there is none for the lock. */
export const reserveName = "RESERVE"

/** A lock that is held. */
export interface HeldLock {
  /**
   * Looks now whether the root is still where it was taken: throws `Unavailable` with code `ESTALE` when `<root>/LOCK` is gone or is that of
   * another holder, so that what the path leads to is another root, or none. A failure that says neither is thrown as it is, or passed over.
   */
  readonly checkUnsafe: () => void
}

/** The lock of a root. */
export interface RootLock {
  /**
   * Takes `<root>/LOCK` and gives it back when the scope closes. Fails at once with `Unavailable` (code `EBUSY`, with `holder`)
   * when a living process, this one included, holds it; a dead holder is taken over; one that cannot be judged (another pid
   * namespace) is refused with the way out in the message.
   */
  readonly acquire: (root: string) => Effect.Effect<HeldLock, Unavailable, Scope.Scope>
}

/** The key under which a context holds the lock. */
export const RootLock: Context.Service<RootLock, RootLock> = Context.Service("bop-aof/port/RootLock")
