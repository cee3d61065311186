/** What a machine that is made from its bucket is told of segments that are not there: as much as the bucket's manifest knows. */
import { manifestReason } from "../../format/manifest_reason.ts"
import type { ManifestStream, SealedSegment } from "../../state/manifest_state.ts"

type Opened = ManifestStream["opened"] extends ReadonlyMap<number, infer One> ? One : never

/** Of one that was opened and not sealed, as far as the bucket was told. How many records it has nobody knows. */
export const openedText = ({ firstRecordNumber, reasonCode }: Opened): string =>
  reasonCode === manifestReason.Closed
    ? `the bucket knows of this segment that it was in use when its writer closed: records from number ${firstRecordNumber} on are missing`
    : `the bucket knows of this segment only that it was opened: records from number ${firstRecordNumber} on may be missing`

/** Of one that was sealed. */
export const sealedText = ({ firstRecordNumber, recordCount }: SealedSegment): string => {
  if (recordCount === 0) return "the bucket never got this sealed segment, which has no record"
  const last = firstRecordNumber + recordCount - 1
  return `the bucket never got this sealed segment: records ${firstRecordNumber} to ${last} are missing`
}
