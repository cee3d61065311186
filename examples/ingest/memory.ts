// The most anonymous memory that a process was seen to have: what it took for itself, without the pages of files.

import { readFileSync } from "node:fs"

export class MemoryWatch {
  /** 0 where the system does not tell. */
  bytesMax = 0
  readonly #path: string

  constructor(pid: number) {
    this.#path = `/proc/${pid}/status`
  }

  look(): void {
    try {
      const [, kibibytes] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(this.#path, "latin1")) ?? []
      this.bytesMax = Math.max(this.bytesMax, Number(kibibytes ?? 0) * 1024)
    } catch {
      // The process has ended, or this is no Linux.
    }
  }
}
