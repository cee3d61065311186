/**
 * Bounds the descriptors that readers hold, and the mappings, which need none: the descriptor used longest ago is given back, and the oldest mapping. Writers' files are
 * not counted.
 */

/** What can give a descriptor back. */
export interface OpenFile {
  readonly isReleasable: boolean
  readonly releaseFile: () => void
}

export class OpenFiles {
  readonly #files: Set<OpenFile> = new Set()
  readonly #mapped: Set<OpenFile> = new Set()
  readonly #countMax: number
  readonly #mappedMax: number

  constructor(countMax: number, mappedMax: number) {
    this.#countMax = countMax
    this.#mappedMax = mappedMax
  }

  add(file: OpenFile): void {
    this.#files.add(file)
    if (this.#files.size <= this.#countMax) return
    for (const one of this.#files) {
      if (one === file || !one.isReleasable) continue
      this.release(one)
      return
    }
  }

  /** Counts one that is mapped and keeps no descriptor. */
  addMapped(file: OpenFile): void {
    this.#files.delete(file)
    this.#mapped.add(file)
    if (this.#mapped.size <= this.#mappedMax) return
    for (const one of this.#mapped) {
      if (one !== file) return this.release(one)
    }
  }

  touch(file: OpenFile): void {
    if (this.#files.size < this.#countMax || !this.#files.delete(file)) return
    this.#files.add(file)
  }

  /** Counts one no longer: it is a writer's. */
  forget(file: OpenFile): void {
    this.#files.delete(file)
  }

  /** Gives one back. */
  release(file: OpenFile): void {
    this.#files.delete(file)
    this.#mapped.delete(file)
    file.releaseFile()
  }

  /** Gives back all descriptors that can be given at any time; false when there was none. */
  makeRoom(): boolean {
    const releasable = [...this.#files].filter((one) => one.isReleasable)
    for (const one of releasable) this.release(one)
    return releasable.length > 0
  }

  /** Gives all back. */
  releaseAll(): void {
    for (const one of [...this.#files, ...this.#mapped]) this.release(one)
  }
}
