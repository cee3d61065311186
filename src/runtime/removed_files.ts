/**
 * For a runtime that unmaps on the main thread: if that were the last use of a removed file, its blocks would be freed there, which takes 12 ms
 * for 64 MiB. So a file that is removed while it is mapped stays open until it is not, and is closed in the thread pool.
 */
import * as fs from "node:fs"

/** What the mappings of a file share. */
interface MappedFile {
  mappings: number
  /** Once it is removed. */
  descriptor?: number
}

/** The files that are mapped, by path. */
export class RemovedFiles {
  readonly #mapped = new Map<string, MappedFile>()

  /** A mapping of `path` was made. To be called once: what to do when it is no more. */
  addMapping(path: string): () => void {
    const file = this.#mapped.get(path) ?? { mappings: 0 }
    this.#mapped.set(path, file)
    file.mappings++
    return () => {
      if (--file.mappings > 0) return
      if (this.#mapped.get(path) === file) this.#mapped.delete(path)
      if (file.descriptor !== undefined) fs.close(file.descriptor, () => {})
    }
  }

  /** Calls `remove`, which removes the file at `path`; before, opens the file if it is mapped. */
  whileMapped(path: string, remove: () => void): void {
    const file = this.#mapped.get(path)
    if (file === undefined) return remove()
    // The next file of this name is another one.
    this.#mapped.delete(path)
    fs.open(path, fs.constants.O_RDONLY, (error, descriptor) => {
      if (!error && file.mappings > 0) file.descriptor = descriptor
      else if (!error) fs.close(descriptor, () => {})
      remove()
    })
  }
}
