/** Memory that is used again for one large fetch after the other: new memory costs more than the copy into it. */

export class SpareBuffers {
  readonly #spare: Array<Uint8Array> = []
  readonly #bytes: number

  /** Of so many bytes each; what is longer, or shorter than half, is made anew. */
  constructor(bytes: number) {
    this.#bytes = bytes
  }

  /** A buffer of at least `length` bytes, with anything in it. */
  take(length: number): Uint8Array {
    const isOne = length <= this.#bytes && length > this.#bytes / 2
    return isOne ? (this.#spare.pop() ?? new Uint8Array(this.#bytes)) : new Uint8Array(length)
  }

  /** Takes one back. */
  give(buffer: Uint8Array): void {
    if (buffer.length === this.#bytes) this.#spare.push(buffer)
  }

  /** Nothing is under way: all of it goes. */
  clear(): void {
    this.#spare.length = 0
  }
}
