// Some records out of many, each as likely as the other, with what they hold: to be read again one by one.

import { createHash } from "node:crypto"
import type { AofRecord, Cursor } from "bop-aof"

export interface Sample {
  readonly recordId: number
  readonly recordNumber: number
  readonly sha256: string
}

export class Samples {
  /** In no order. */
  readonly taken: Array<Sample> = []
  readonly #countMax: number
  #seen = 0
  #random = 0x2545f491

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  /** Takes the record under the cursor, or not: each has the same chance (reservoir sampling, algorithm R). */
  look(cursor: Cursor): void {
    this.#seen++
    const isFilling = this.taken.length < this.#countMax
    // While it fills, the newcomer changes places with one that is there, so that the order is random too.
    const place = this.#below(this.#seen)
    if (!isFilling && place >= this.#countMax) return
    const { buffer, payloadStart, payloadEnd, recordId, recordNumber } = cursor
    const sample = { recordId, recordNumber, sha256: digest(buffer.subarray(payloadStart, payloadEnd)) }
    if (isFilling && place < this.taken.length) this.taken.push(this.taken[place]!)
    if (place < this.taken.length) this.taken[place] = sample
    else this.taken.push(sample)
  }

  /** xorshift: the same input gives the same samples. */
  #below(limit: number): number {
    this.#random ^= this.#random << 13
    this.#random ^= this.#random >>> 17
    this.#random ^= this.#random << 5
    return Math.floor(((this.#random >>> 0) / 2 ** 32) * limit)
  }
}

/** True when a record that was read again is the one that was sampled. */
export function isSame(sample: Sample, record: AofRecord): boolean {
  return record.recordNumber === sample.recordNumber && digest(record.bytes) === sample.sha256
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}
