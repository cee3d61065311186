/** The segments of a stream in order of index, and which of them holds what. */
import type { IndexKey } from "./segment_index.ts"

/** What the catalog needs to know of a segment: where it starts, and the maxima over all records before it. */
export interface CatalogEntry {
  readonly index: number
  readonly header: {
    readonly firstRecordNumber: number
    readonly timestampMsMax: number
    readonly extIdMax: bigint
  }
}

export class Catalog<Entry extends CatalogEntry> {
  #entries: Array<Entry> = []

  /** All segments, lowest index first; not to be changed. */
  get entries(): ReadonlyArray<Entry> {
    return this.#entries
  }

  get first(): Entry | undefined {
    return this.#entries[0]
  }

  get last(): Entry | undefined {
    return this.#entries[this.#entries.length - 1]
  }

  /** Adds a segment in its place; one of the same index is replaced. */
  add(entry: Entry): void {
    const at = this.#firstAtOrAbove(entry.index)
    // Room for one, as most streams have one: an array that grows takes room for seventeen.
    if (this.#entries.length === 0) this.#entries = [entry]
    else this.#entries.splice(at, this.#entries[at]?.index === entry.index ? 1 : 0, entry)
  }

  /** The segment of this index. */
  get(index: number): Entry | undefined {
    const entry = this.atOrAbove(index)
    return entry?.index === index ? entry : undefined
  }

  /** The first segment whose index is at least `index`. */
  atOrAbove(index: number): Entry | undefined {
    return this.#entries[this.#firstAtOrAbove(index)]
  }

  /** The last segment whose index is below `index`. */
  below(index: number): Entry | undefined {
    return this.#entries[this.#firstAtOrAbove(index) - 1]
  }

  /** The segment in which the search for `key` starts: the last one whose beginning is still before it. */
  search(key: Exclude<IndexKey, { readonly by: "offset" }>): Entry | undefined {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (startsBefore(this.#entries[middle]!, key)) low = middle + 1
      else high = middle
    }
    return this.#entries[Math.max(0, low - 1)]
  }

  /** Takes all segments below `index` out and returns them. */
  removeBelow(index: number): ReadonlyArray<Entry> {
    return this.#entries.splice(0, this.#firstAtOrAbove(index))
  }

  /** Takes one segment out. */
  remove(index: number): void {
    this.#entries = this.#entries.filter((entry) => entry.index !== index)
  }

  #firstAtOrAbove(index: number): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#entries[middle]!.index < index) low = middle + 1
      else high = middle
    }
    return low
  }
}

const startsBefore = (entry: CatalogEntry, key: Exclude<IndexKey, { readonly by: "offset" }>): boolean => {
  switch (key.by) {
    case "number":
      return entry.header.firstRecordNumber <= key.value
    case "time":
      return entry.header.timestampMsMax < key.value
    case "extId":
      return entry.header.extIdMax < key.value
  }
}
