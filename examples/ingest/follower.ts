// A second reader, at the live tail while records are appended: it sees history first and then each record when it has
// become durable, without gap or repeat, at its own pace.

import { setImmediate } from "node:timers/promises"
import { move } from "./cursor_move.ts"
import { LineHash } from "./line_hash.ts"
import type { Run, Store } from "./store.ts"

/** How many records between two turns for the others: what is at hand comes without one. */
const recordsPerTurn = 4096

export class Follower {
  records = 0
  bytes = 0
  readonly #run: Run
  readonly #hash: LineHash = new LineHash()
  readonly #stop: AbortController = new AbortController()
  readonly #done: Promise<void>
  #target = Number.POSITIVE_INFINITY
  #failure: unknown = undefined

  constructor(store: Store, run: Run) {
    this.#run = run
    this.#done = this.#follow(store).catch((error) => {
      if (!this.#stop.signal.aborted) this.#failure = error
    })
  }

  /** Waits until it has seen `records` of them, and gives the SHA-256 of the text that they make. */
  async finish(records: number): Promise<string> {
    this.#target = records
    if (this.records >= records) this.#stop.abort()
    await this.#done
    if (this.#failure !== undefined) throw this.#failure
    return this.#hash.hex()
  }

  /** Leaves at once. */
  async leave(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  async #follow(store: Store): Promise<void> {
    const { firstNumber, withoutLineFeed } = this.#run
    const { signal } = this.#stop
    const cursor = store.lines.cursor({ number: firstNumber, level: "durable" })
    try {
      for (;;) {
        while (move(cursor) === "record") {
          const { buffer, payloadStart, payloadEnd, recordNumber } = cursor
          this.#hash.add(buffer, payloadStart, payloadEnd, !withoutLineFeed.has(recordNumber))
          this.bytes += payloadEnd - payloadStart
          this.records++
          if (this.records >= this.#target) return
          if (this.records % recordsPerTurn === 0) await setImmediate()
          if (signal.aborted) return
        }
        // At the tail, or before a segment that has to be fetched.
        await cursor.ready({ signal })
      }
    } finally {
      cursor.close()
    }
  }
}
