/**
 * Group commit without a store: what waits is written into a file of zeros in one call and synced in the thread pool, and what comes meanwhile
 * is the next group. The least that a durable append costs in a program that goes on meanwhile.
 */
import * as fs from "node:fs"

/** A file that takes records in groups; `onDurable` hears how many records are durable. */
export class PlainGroups {
  readonly #descriptor: number
  readonly #onDurable: (records: number) => void
  readonly #onFailure: (error: Error) => void
  readonly #fileBytes: number
  #staged: Uint8Array = new Uint8Array(1024 * 1024)
  #stagedBytes = 0
  #records = 0
  #offset = 0
  #isBusy = false

  constructor(
    path: string,
    {
      fileBytes,
      onDurable,
      onFailure,
    }: {
      readonly fileBytes: number
      readonly onDurable: (records: number) => void
      readonly onFailure: (error: Error) => void
    },
  ) {
    fs.writeFileSync(path, new Uint8Array(fileBytes))
    this.#descriptor = fs.openSync(path, "r+")
    fs.fsyncSync(this.#descriptor)
    this.#fileBytes = fileBytes
    this.#onDurable = onDurable
    this.#onFailure = onFailure
  }

  /** Takes a record; it goes out at the end of this turn, or behind the group that is on its way. */
  append(payload: Uint8Array): void {
    if (this.#stagedBytes + payload.length > this.#staged.length) this.#grow()
    this.#staged.set(payload, this.#stagedBytes)
    this.#stagedBytes += payload.length
    this.#records++
    if (this.#isBusy) return
    this.#isBusy = true
    setImmediate(() => this.#sync())
  }

  #grow(): void {
    const larger = new Uint8Array(this.#staged.length * 2)
    larger.set(this.#staged)
    this.#staged = larger
  }

  #sync(): void {
    const records = this.#records
    if (this.#offset + this.#stagedBytes > this.#fileBytes) this.#offset = 0
    this.#offset += fs.writeSync(this.#descriptor, this.#staged, 0, this.#stagedBytes, this.#offset)
    this.#stagedBytes = 0
    fs.fdatasync(this.#descriptor, (error) => {
      if (error !== null) return this.#onFailure(error)
      this.#onDurable(records)
      this.#isBusy = false
      if (this.#records === records) return
      this.#isBusy = true
      this.#sync()
    })
  }
}
