/** The record that a cursor stands on. */

/** What a cursor shows; the fields live until its next move. */
export interface RecordView {
  /** The memory that holds the record; not to be written. */
  readonly buffer: Uint8Array
  readonly payloadStart: number
  readonly payloadEnd: number
  readonly recordId: number
  readonly recordNumber: number
  readonly timestampMs: number
  readonly extId: bigint
  /** True when the payload's memory is never written again, so that a view of it may be handed out. */
  readonly isStable: boolean
}
