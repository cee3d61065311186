/** The record that a cursor stands on. */

/** What a cursor shows; the fields live until its next move. */
export interface RecordView {
  /** The memory that holds the record; not to be written. */
  readonly buffer: Uint8Array
  /** Offset in `buffer` of the payload's first byte. */
  readonly payloadStart: number
  /** Offset in `buffer` behind the payload's last byte. */
  readonly payloadEnd: number
  /** The record's id. */
  readonly recordId: number
  /** Ordinal in the stream, from 0. */
  readonly recordNumber: number
  /** Unix time in milliseconds. */
  readonly timestampMs: number
  /** The caller's own number; 0n when there is none. */
  readonly extId: bigint
  /** True when the payload's memory is never written again, so that a view of it may be handed out. */
  readonly isStable: boolean
}
