/** Another process that only reads, and stays for as long as the writer does: what it saw before must not spoil what it sees later. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type AofError, AofManager } from "../../api/effect.ts"
import { optionsOf } from "./sim_options.ts"
import type { SimWorld } from "./sim_world.ts"

export class SimWatcher {
  readonly #world: SimWorld
  #scope: Scope.Closeable | undefined
  #opened: Effect.Effect<AofManager, AofError> | undefined

  constructor(world: SimWorld) {
    this.#world = world
  }

  /** Its manager, opened by who asks first and again when that failed. */
  get manager(): Effect.Effect<AofManager, AofError> {
    return Effect.suspend(() => {
      this.#opened ??= Effect.runSync(Effect.cached(this.#open()))
      return Effect.tapError(this.#opened, () =>
        Effect.sync(() => {
          this.#opened = undefined
        }),
      )
    })
  }

  /** Closes what it has open. */
  readonly leave: Effect.Effect<void> = Effect.suspend(() =>
    this.#scope === undefined ? Effect.void : Scope.close(this.#scope, Exit.void),
  )

  #open(): Effect.Effect<AofManager, AofError> {
    const scope = Scope.makeUnsafe()
    this.#scope = scope
    const context = this.#world.services() as Context.Context<never>
    const opened = AofManager.open(optionsOf(this.#world.plan, this.#world, true))
    return opened.pipe(Scope.provide(scope), Effect.provideContext(context)) as Effect.Effect<AofManager, AofError>
  }
}
