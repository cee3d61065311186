/**
 * How far the application above a stream has come, as it says itself, and how sure that is. Values may go back; each change has a
 * number, and those rise: they tell which change is written, and which is durable.
 */
import { WaitQueue } from "./wait_queue.ts"

/** The watermark that the application sets, from the call until it is durable. */
export class CoordinatorMark {
  /** As last set. */
  value = 0n
  /** Number of the last change; 0 while the value is the one that was found. */
  version = 0
  /** The last change that a slot or a footer names. */
  written = 0
  /** The last change that a power cut does not take away. */
  durable = 0
  /** The last change that somebody waits for. */
  wanted = 0
  /** True while a fiber waits for a moment in which it can be written. */
  isPlanned = false
  /** True when it could not be written because a sync was on its way: the end of that writes it. */
  isDue = false
  /** Wait with the number before that of their change. */
  readonly waiters: WaitQueue = new WaitQueue()

  /** True while no slot and no footer names the value. */
  get isUnsaved(): boolean {
    return this.version > this.written
  }

  /** True when the value survives a power cut. */
  get isDurable(): boolean {
    return this.durable >= this.version
  }

  /** True while somebody waits for a change that is not durable. */
  get isWanted(): boolean {
    return this.wanted > this.durable
  }

  /** Takes a value. */
  set(value: bigint): void {
    if (value === this.value) return
    this.value = value
    this.version++
  }

  /** Takes what the slots of a file say that was found. `isDurable`: it is known that they were synced. */
  restore(value: bigint, isDurable: boolean): void {
    this.value = value
    if (isDurable) return
    this.version++
    this.written = this.version
  }

  /** A slot or a footer names the value of this change, and a process that ends leaves it there. */
  noteWritten(version: number): void {
    this.written = Math.max(this.written, version)
    if (!this.isUnsaved) this.isDue = false
  }

  /** What names the value of this change was synced. */
  noteDurable(version: number): void {
    if (version <= this.durable) return
    this.durable = version
    this.waiters.wake(version)
  }
}
