// What is durable, from what was asked of the system and when it was answered: a write by a sync of that file that began after it
// and has ended, an entry by such a sync of its directory. Knows nothing of the store.

interface Write {
  readonly from: number
  readonly to: number
  isDurable: boolean
}

/** A file, whatever its name is at the moment. */
export interface LedgerFile {
  readonly writes: Array<Write>
  isEntryDurable: boolean
}

export class SyncLedger {
  readonly #files: Map<string, LedgerFile> = new Map()

  created(path: string): void {
    this.#files.set(path, { writes: [], isEntryDurable: false })
  }

  renamed(from: string, to: string): void {
    const file = this.file(from)
    this.#files.delete(from)
    this.#files.set(to, file)
    file.isEntryDurable = false
  }

  /** The file has a second name, and each name its own entry. */
  linked(from: string, to: string): void {
    this.#files.set(to, { writes: this.file(from).writes, isEntryDurable: false })
  }

  written(file: LedgerFile, from: number, to: number): void {
    file.writes.push({ from, to, isDurable: false })
  }

  /** A sync of a file begins; call what it gives when it has ended well. */
  syncBegins(file: LedgerFile): () => void {
    const covered = [...file.writes]
    return () => {
      for (const write of covered) write.isDurable = true
    }
  }

  /** A sync of a directory begins; call what it gives when it has ended well. */
  directorySyncBegins(path: string): () => void {
    const covered = [...this.#files].filter(
      ([name]) => name.startsWith(`${path}/`) && !name.slice(path.length + 1).includes("/"),
    )
    return () => {
      for (const [name, file] of covered) if (this.#files.get(name) === file) file.isEntryDurable = true
    }
  }

  /** Why `[from, to)` of a file might not survive a power cut; undefined when it does. */
  lack(path: string, from: number, to: number): string | undefined {
    const file = this.#files.get(path)
    if (file === undefined) return `${path} is not there`
    if (!file.isEntryDurable) return `the entry of ${path} is not synced`
    let at = from
    const writes = file.writes.filter((write) => write.from < to && write.to > from).sort((a, b) => a.from - b.from)
    for (const write of writes) {
      if (!write.isDurable) return `${path}: ${write.from} to ${write.to} is not synced`
      if (write.from > at) break
      at = Math.max(at, write.to)
    }
    return at < to ? `${path}: ${at} to ${to} was not written` : undefined
  }

  /** The file that has this name now. */
  file(path: string): LedgerFile {
    const known = this.#files.get(path)
    if (known !== undefined) return known
    const file: LedgerFile = { writes: [], isEntryDurable: false }
    this.#files.set(path, file)
    return file
  }
}
