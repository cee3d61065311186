/** Bounds the descriptors that readers hold: the segment used longest ago gives its own back. Writers' files are not counted. */

/** What can give a descriptor back. */
export interface OpenFile {
  readonly isReleasable: boolean
  readonly releaseFile: () => void
}

export class OpenFiles {
  readonly #files: Set<OpenFile> = new Set()
  readonly #countMax: number

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  add(file: OpenFile): void {
    this.#files.add(file)
    if (this.#files.size <= this.#countMax) return
    for (const one of this.#files) {
      if (one === file || !one.isReleasable) continue
      this.#files.delete(one)
      one.releaseFile()
      return
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
    file.releaseFile()
  }

  /** Gives back all that can be given at any time; false when there was none. */
  makeRoom(): boolean {
    const releasable = [...this.#files].filter((one) => one.isReleasable)
    for (const one of releasable) this.release(one)
    return releasable.length > 0
  }

  /** Gives all back. */
  releaseAll(): void {
    for (const one of this.#files) one.releaseFile()
    this.#files.clear()
  }
}
