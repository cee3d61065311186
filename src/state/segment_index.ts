/** Search in a sparse index, whether it is still growing or was read from a sealed segment. */
import { type IndexEntry, indexEntry } from "../format/segment_footer.ts"

/** Entries in order of offset. */
export interface SegmentIndex {
  readonly count: number
  readonly entry: (at: number) => IndexEntry
}

/** What a search looks for. For time and extId the wanted record is the first at or above. */
export type IndexKey =
  | { readonly by: "offset"; readonly value: number }
  | { readonly by: "number"; readonly value: number }
  | { readonly by: "time"; readonly value: number }
  | { readonly by: "extId"; readonly value: bigint }

/** An index over encoded entries, which stay owned by the caller and are read in place. */
export const decodedIndex = (bytes: Uint8Array): SegmentIndex => ({
  count: Math.floor(bytes.length / indexEntry.sizeBytes),
  entry: (at) => indexEntry.decode(bytes, at * indexEntry.sizeBytes)!,
})

/** Encodes `count` entries. */
export const encodeIndex = (count: number, entry: (at: number) => IndexEntry): Uint8Array => {
  const bytes = new Uint8Array(count * indexEntry.sizeBytes)
  for (let at = 0; at < count; at++) indexEntry.encode(bytes, at * indexEntry.sizeBytes, entry(at))
  return bytes
}

/**
 * The offset of the last indexed frame at which a walk towards `key` may start, or `first` when there is none. The maxima
 * are those before a frame, so the wanted record lies at or behind the last frame whose maxima are still below the key.
 */
export const searchIndex = (index: SegmentIndex, key: IndexKey, first: number): number => {
  let low = 0
  let high = index.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (liesAtOrBefore(index.entry(middle), key)) low = middle + 1
    else high = middle
  }
  return low === 0 ? first : index.entry(low - 1).frameOffset
}

const liesAtOrBefore = (entry: IndexEntry, key: IndexKey): boolean => {
  switch (key.by) {
    case "offset":
      return entry.frameOffset <= key.value
    case "number":
      return entry.firstRecordNumber <= key.value
    case "time":
      return entry.timestampMsMax < key.value
    case "extId":
      return entry.extIdMax < key.value
  }
}
