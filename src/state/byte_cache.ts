/** A cache bounded by bytes that forgets what was used longest ago. The newest entry stays, however large it is. */

interface Entry<V> {
  readonly value: V
  readonly bytes: number
}

export class ByteCache<V> {
  /** In order of use, the newest last. */
  readonly #entries: Map<number, Entry<V>> = new Map()
  readonly #bytesMax: number
  #usedBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Bytes of all entries. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** The value of `key`, which counts as used now. */
  get(key: number): V | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.value
  }

  /** The value of `key`, which does not count as used: what came first goes first. */
  peek(key: number): V | undefined {
    return this.#entries.get(key)?.value
  }

  /** True while there is a value of `key`; it does not count as used. */
  has(key: number): boolean {
    return this.#entries.has(key)
  }

  /** Keeps a value, and forgets others as far as that is needed. */
  set(key: number, value: V, bytes: number): void {
    this.delete(key)
    this.#entries.set(key, { value, bytes })
    this.#usedBytes += bytes
    for (const other of this.#entries.keys()) {
      if (this.#usedBytes <= this.#bytesMax || other === key) return
      this.delete(other)
    }
  }

  /** Forgets one value. */
  delete(key: number): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#usedBytes -= entry.bytes
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries.clear()
    this.#usedBytes = 0
  }
}
