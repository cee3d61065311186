/** Memory that is used again for one large fetch after the other: new memory costs more than the copy into it. */

export class SpareBuffers {
  readonly #spare: Array<Uint8Array> = []
  readonly #bytes: number

  /** Of so many bytes each; what is longer is made anew. */
  constructor(bytes: number) {
    this.#bytes = bytes
  }

  /** A buffer of at least `length` bytes, with anything in it. */
  take(length: number): Uint8Array {
    return (length <= this.#bytes ? this.#spare.pop() : undefined) ?? new Uint8Array(Math.max(length, this.#bytes))
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
