/** HEAD as its writer holds it: what it has put last, and under which name it goes on. */
import type { HeadFile, HeadObject } from "../../format/head_object.ts"

/** No files of the manifest. */
export const noFiles: ReadonlyArray<HeadFile> = []

/** What a writer knows of its HEAD. */
export class HeldHead {
  /** Epoch of the writer; 0 before it has one. */
  epoch = 0
  /** Sequence of the record with which the epoch starts. */
  epochSequence = 0
  /** HEAD as it is there, as far as the writer knows. */
  last: HeadObject | undefined = undefined
  etag: string | undefined = undefined
  /** A put has had no answer: HEAD is read before the next one. */
  isUncertain = false
  /** Sequence of the record of a HEAD that was not put yet; 0 for none. */
  prepared = 0
}
