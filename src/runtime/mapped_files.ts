/**
 * Keeps a removed file open for as long as it is mapped. The kernel frees the blocks of a file with its last reference: with a mapping that
 * takes the thread which unmaps, 20 ms and more for 64 MiB, with a descriptor the pool that closes it.
 */
import * as fs from "node:fs"

interface MappedFile {
  mappings: number
  /** Descriptors that were opened before a name of the file was removed. */
  readonly kept: Array<number>
}

export class MappedFiles {
  readonly #files: Map<string, MappedFile> = new Map()

  /** Notes a mapping of an open file; the result is called when it is gone. */
  add(descriptor: number): () => void {
    const key = keyOf(fs.fstatSync(descriptor))
    const file = this.#files.get(key) ?? { mappings: 0, kept: [] }
    this.#files.set(key, file)
    file.mappings++
    return () => {
      if (--file.mappings > 0) return
      this.#files.delete(key)
      for (const one of file.kept) close(one)
    }
  }

  /** Calls `done` when the file at `path`, which is about to be removed, may be: it is kept open when it is mapped. */
  keep(path: string, done: () => void): void {
    if (this.#files.size === 0) return done()
    fs.open(path, "r", (error, descriptor) => {
      if (error !== null) return done()
      fs.fstat(descriptor, (failure, stat) => {
        const file = failure === null ? this.#files.get(keyOf(stat)) : undefined
        if (file === undefined) close(descriptor)
        else file.kept.push(descriptor)
        done()
      })
    })
  }
}

const keyOf = ({ dev, ino }: fs.Stats): string => `${dev}:${ino}`

const close = (descriptor: number): void => fs.close(descriptor, () => undefined)
