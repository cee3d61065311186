// SHA-256 of lines, as if the text were still in one piece. Small pieces are gathered: a call of the hash costs more than
// the copy of a line.

import { createHash, type Hash } from "node:crypto"

const gatherBytes = 64 * 1024
const lineFeed = 10

export class LineHash {
  readonly #hash: Hash = createHash("sha256")
  readonly #gathered: Uint8Array = new Uint8Array(gatherBytes)
  #length = 0
  #source: Uint8Array | undefined = undefined
  #copier: Buffer = Buffer.alloc(0)

  /** Takes the line that lies in `source` from `start` to `end`, as cursors give it. */
  add(source: Uint8Array, start: number, end: number, hasLineFeed: boolean): void {
    const length = end - start
    if (this.#length + length + 1 > gatherBytes) this.#pass()
    if (length + 1 > gatherBytes) this.#hash.update(source.subarray(start, end))
    else {
      // A view of each line would be millions of objects; one buffer holds many lines, and `copy` takes a range.
      if (source !== this.#source) this.#wrap(source)
      this.#copier.copy(this.#gathered, this.#length, start, end)
      this.#length += length
    }
    if (hasLineFeed) this.#gathered[this.#length++] = lineFeed
  }

  hex(): string {
    this.#pass()
    return this.#hash.digest("hex")
  }

  #wrap(source: Uint8Array): void {
    this.#source = source
    this.#copier = Buffer.from(source.buffer, source.byteOffset, source.length)
  }

  #pass(): void {
    if (this.#length > 0) this.#hash.update(this.#gathered.subarray(0, this.#length))
    this.#length = 0
  }
}
