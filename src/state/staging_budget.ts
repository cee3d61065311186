/**
 * The memory that the staging buffers of all streams may take together. A buffer is given while there is room, so that the budget is exceeded by one
 * buffer at most, also by one for a large record. Who finds no room waits: room goes to those who wait in the order in which they were refused, and nobody
 * who comes later passes them.
 *
 * Invariants: whoever was told that there is room may be slow to take it, and it is kept for a moment; whoever never comes keeps nobody waiting.
 */
import { BufferPool } from "./staging_tail.ts"

/** How a budget tells others. */
export interface StagingBudgetHooks<Claimant> {
  /** There may be room now. */
  readonly wake: (claimant: Claimant) => void
  readonly nextTurn: (callback: () => void) => void
}

/** So many buffers fit the budget for each that has one. */
const sharesEach = 4
/** Turns of the event loop for which room is kept for one who was woken: an awaiting caller comes a few turns later. */
const turnsKept = 4

export class StagingBudget<Claimant> {
  readonly bytesMax: number
  /** Where the buffers come from. */
  readonly pool: BufferPool
  readonly #hooks: StagingBudgetHooks<Claimant>
  readonly #waiting: Set<Claimant> = new Set()
  /** Called when memory is short: what can be made durable should be, so that it comes back. */
  onShort: () => void = () => undefined
  /** Those who were woken and have not come yet. */
  readonly #woken: Map<Claimant, object> = new Map()
  #isPlanned = false

  /** For buffers of `bufferBytes`, that take `bytesMax` together. */
  constructor(bufferBytes: number, bytesMax: number, hooks: StagingBudgetHooks<Claimant>) {
    this.bytesMax = bytesMax
    this.#hooks = hooks
    this.pool = new BufferPool(bufferBytes, bytesMax, () => {
      if (this.#waiting.size > 0) this.#plan()
    })
  }

  /** Bytes of all buffers that are in use. */
  get usedBytes(): number {
    return this.pool.lentBytes
  }

  /**
   * What a buffer should have at most, a power of two: so many as hold one now take a part of the budget with the ones that they fill, and leave the
   * rest to what waits to become durable.
   */
  get shareBytes(): number {
    const share = Math.floor(this.bytesMax / (sharesEach * Math.max(1, this.pool.holders)))
    return share >= this.pool.bufferBytes ? this.pool.bufferBytes : 2 ** (31 - Math.clz32(share))
  }

  /** True when `claimant` may take a buffer now; otherwise it is woken when there is room. */
  admits(claimant: Claimant): boolean {
    const isWoken = this.#woken.delete(claimant)
    const hasRoom = this.#hasRoom()
    if (hasRoom && (isWoken || this.#waiting.size === 0)) return true
    if (this.#waiting.size === 0) this.onShort()
    this.#waiting.add(claimant)
    if (hasRoom) this.#plan()
    return false
  }

  /** How many wait. */
  get waitingCount(): number {
    return this.#waiting.size
  }

  /** True while `claimant` waits for room. */
  isWaiting(claimant: Claimant): boolean {
    return this.#waiting.has(claimant)
  }

  #hasRoom(): boolean {
    return this.pool.lentBytes + this.#woken.size * this.pool.bufferBytes < this.bytesMax
  }

  #plan(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    this.#hooks.nextTurn(() => {
      this.#isPlanned = false
      this.#serve()
    })
  }

  #serve(): void {
    for (const claimant of this.#waiting) {
      if (!this.#hasRoom()) break
      this.#waiting.delete(claimant)
      const visit = {}
      this.#woken.set(claimant, visit)
      this.#hooks.wake(claimant)
      if (this.#woken.get(claimant) === visit) this.#expire(claimant, visit, turnsKept)
    }
    if (this.#waiting.size > 0) this.onShort()
  }

  #expire(claimant: Claimant, visit: object, turns: number): void {
    this.#hooks.nextTurn(() => {
      if (this.#woken.get(claimant) !== visit) return
      if (turns > 1) return this.#expire(claimant, visit, turns - 1)
      this.#woken.delete(claimant)
      if (this.#waiting.size > 0) this.#plan()
    })
  }
}
