/**
 * The syncs of the file that a worker makes. While others want the disk it is left to them after each sync for as long as that took: who
 * waits for one of theirs waits for one of ours at most. Meanwhile the next frames are made, which nothing of the disk is needed for. While nobody
 * wants it they are made during the sync itself, which another thread waits for.
 *
 * Invariants: one sync at a time; what is written behind `rest` or `ended` is of none that has begun; a sync that failed fails all that
 * come later.
 */
import type { SyncFile } from "./sync_file.ts"

/** How the thread waits, and for whom. */
export interface DiskManners {
  readonly isDiskWanted: () => boolean
  /** Blocks the thread. */
  readonly pause: (ms: number) => void
}

/** Of one target; undefined for a job that makes no file. */
export class TargetSyncs {
  readonly #target: Pick<SyncFile, "sync" | "syncUnsafe"> | undefined
  readonly #manners: DiskManners
  /** The sync that another thread makes. */
  #running: Promise<void> | undefined
  /** Until when the disk is left to others, on the clock of `performance.now`. */
  #restEnd = 0

  constructor(target: Pick<SyncFile, "sync" | "syncUnsafe"> | undefined, manners: DiskManners) {
    this.#target = target
    this.#manners = manners
  }

  /** Makes what was written durable, or begins to. Throws the error of this sync or of the one before. */
  async begin(): Promise<void> {
    await this.ended()
    if (this.#target === undefined) return
    if (!this.#manners.isDiskWanted()) {
      this.#running = this.#target.sync()
      // Whoever waits for it hears of it.
      this.#running.catch(() => undefined)
      return
    }
    const started = performance.now()
    this.#target.syncUnsafe()
    const ended = performance.now()
    this.#restEnd = ended + (ended - started)
  }

  /** Waits until more may be written. */
  async rest(): Promise<void> {
    await this.ended()
    const leftMs = this.#restEnd - performance.now()
    if (leftMs > 0 && this.#manners.isDiskWanted()) this.#manners.pause(leftMs)
  }

  /** Waits for the end of the sync that is on its way, or throws its error, each time. */
  async ended(): Promise<void> {
    if (this.#running === undefined) return
    await this.#running
    this.#running = undefined
  }
}
