/** Lets go of staging memory that nobody has used for a while. */
import * as Effect from "effect/Effect"
import type { BufferPool } from "../../state/staging_tail.ts"

/** Staging memory that a quiet store keeps for use again. */
const idlePoolBytes = 4 * 1024 * 1024
/** Pause between two looks at what is kept beyond that. */
const trimMs = 1000

export class PoolTrim {
  readonly #pool: BufferPool
  readonly #run: (effect: Effect.Effect<void>) => void
  #isPlanned = false

  constructor(pool: BufferPool, run: (effect: Effect.Effect<void>) => void) {
    this.#pool = pool
    this.#run = run
  }

  /** Looks once a second, for as long as more is kept than a quiet store needs. */
  plan(): void {
    if (this.#isPlanned || !this.#pool.keepsMore(idlePoolBytes)) return
    this.#isPlanned = true
    this.#run(
      Effect.map(Effect.sleep(trimMs), () => {
        this.#isPlanned = false
        this.#pool.trim(idlePoolBytes)
        this.plan()
      }),
    )
  }
}
