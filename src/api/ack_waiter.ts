/** A promise that waits for its record's acknowledgement: one object in the group commit's queue. */
import type { Ack } from "../core/aof.ts"
import type { Waiter } from "../state/wait_queue.ts"

export class AckWaiter implements Waiter {
  readonly position: number
  readonly recordNumber: number
  cancelled = false
  readonly #level: Ack["level"]
  readonly #resolve: (ack: Ack) => void
  readonly fail: (error: unknown) => void

  constructor(
    recordId: number,
    recordNumber: number,
    level: Ack["level"],
    resolve: (ack: Ack) => void,
    reject: (error: unknown) => void,
  ) {
    this.position = recordId
    this.recordNumber = recordNumber
    this.#level = level
    this.#resolve = resolve
    this.fail = reject
  }

  done(): void {
    this.#resolve({ recordId: this.position, recordNumber: this.recordNumber, level: this.#level })
  }
}
