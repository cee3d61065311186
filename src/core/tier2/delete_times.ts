/**
 * When the grace of an object ends that is queued for removal. The manifest has that by the clock of the machine, for the next process; this one counts
 * the grace by a clock that does not jump.
 */
import type { QueuedObject } from "../bucket/bucket_options.ts"
import type { SteadyClock } from "../flow/steady_clock.ts"

/** What it is made of. */
export interface DeleteTimesOptions {
  readonly clock: SteadyClock
  readonly graceMs: number
  /** Records above this were queued by this process. */
  readonly foundSequence: number
}

export class DeleteTimes {
  readonly #options: DeleteTimesOptions
  readonly #dueMs: WeakMap<QueuedObject, number> = new WeakMap()

  constructor(options: DeleteTimesOptions) {
    this.#options = options
  }

  /** Milliseconds of the steady clock: a grace from when this process first saw what it has queued itself, and what is left of it for the others. */
  dueMs(record: QueuedObject): number {
    const known = this.#dueMs.get(record)
    if (known !== undefined) return known
    const { clock, graceMs, foundSequence } = this.#options
    const isOwn = record.sequence > foundSequence && record.notBeforeMs > 0
    const leftMs = isOwn ? graceMs : Math.max(0, record.notBeforeMs - clock.wallMsUnsafe())
    const dueMs = clock.currentTimeMillisUnsafe() + leftMs
    this.#dueMs.set(record, dueMs)
    return dueMs
  }
}
