/** Memory that is used again for one large fetch after the other: new memory costs more than the copy into it, and brings the collector, which stops everybody. */

export class SpareBuffers {
  readonly #spare: Array<Uint8Array> = []
  /** Those that nobody has needed since all was quiet: the collector takes them, unless they are needed before it comes. */
  #quiet: Array<WeakRef<Uint8Array>> = []
  readonly #bytes: number

  /** Of so many bytes each; what is longer, or shorter than half, is made anew. */
  constructor(bytes: number) {
    this.#bytes = bytes
  }

  /** A buffer of at least `length` bytes, with anything in it. */
  take(length: number): Uint8Array {
    const isOne = length <= this.#bytes && length > this.#bytes / 2
    return isOne ? (this.#spare.pop() ?? this.#takeQuiet() ?? new Uint8Array(this.#bytes)) : new Uint8Array(length)
  }

  /** Takes one back. */
  give(buffer: Uint8Array): void {
    if (buffer.length === this.#bytes) this.#spare.push(buffer)
  }

  /** Nothing is under way: none of it is kept from the collector any more. */
  rest(): void {
    this.#quiet = this.#quiet.filter((one) => one.deref() !== undefined)
    for (const buffer of this.#spare.splice(0)) this.#quiet.push(new WeakRef(buffer))
  }

  #takeQuiet(): Uint8Array | undefined {
    while (this.#quiet.length > 0) {
      const buffer = this.#quiet.pop()!.deref()
      if (buffer !== undefined) return buffer
    }
    return undefined
  }
}
