// SHA-256 of lines, as if the text were still in one piece. Small pieces are gathered: a call of the hash costs more than
// the copy of a line.

import { createHash, type Hash } from "node:crypto"

const gatherBytes = 64 * 1024
const lineFeed = 10

export class LineHash {
  readonly #hash: Hash = createHash("sha256")
  readonly #gathered: Uint8Array = new Uint8Array(gatherBytes)
  #length = 0

  add(line: Uint8Array, hasLineFeed: boolean): void {
    if (this.#length + line.length + 1 > gatherBytes) this.#pass()
    if (line.length + 1 > gatherBytes) this.#hash.update(line)
    else {
      this.#gathered.set(line, this.#length)
      this.#length += line.length
    }
    if (hasLineFeed) this.#gathered[this.#length++] = lineFeed
  }

  hex(): string {
    this.#pass()
    return this.#hash.digest("hex")
  }

  #pass(): void {
    if (this.#length > 0) this.#hash.update(this.#gathered.subarray(0, this.#length))
    this.#length = 0
  }
}
