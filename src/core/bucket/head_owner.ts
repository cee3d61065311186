/**
 * Whose HEAD it is. A root knows the HEADs that may be its own from the `Epoch` records of its manifest, each of which was durable before
 * its HEAD was put. A copy of the root, such as a restored image, knows those up to the moment of the copy: what the other one has put since then is
 * foreign to it.
 */
import { epochBase, isSameWriter, nonceCount } from "../../format/head_object.ts"
import type { ManifestRecordOf } from "../../format/manifest_record.ts"

/** What names a HEAD. */
export interface HeadName {
  readonly epoch: number
  readonly nonce: Uint8Array
}

/** The HEADs that a root knows as its own. */
export class OwnHeads {
  readonly #names: Array<HeadName> = []
  #epoch = 0

  /** The highest epoch that the root has known; 0 for none. */
  get epoch(): number {
    return this.#epoch
  }

  /** Notes a HEAD that is about to be put. */
  add(name: HeadName): void {
    this.#epoch = Math.max(this.#epoch, name.epoch)
    const known = this.#names.findIndex((one) => one.epoch === name.epoch && isSameWriter(one.nonce, name.nonce))
    if (known < 0) this.#names.push(name)
    else if (nonceCount(name.nonce) > nonceCount(this.#names[known]!.nonce)) this.#names[known] = name
  }

  /** Notes what a record of the manifest says. */
  addRecord(record: ManifestRecordOf<"Epoch">): void {
    this.add(record)
    const base = record.rest === undefined ? undefined : epochBase.decode(record.rest, 0)
    if (base !== undefined) this.add(base)
  }

  /** True for a HEAD that this root has put, or has taken over. */
  has(head: HeadName): boolean {
    return this.#names.some(
      (one) =>
        one.epoch === head.epoch &&
        isSameWriter(one.nonce, head.nonce) &&
        nonceCount(one.nonce) >= nonceCount(head.nonce),
    )
  }
}
