/** What every entry point of the promise dress has in common: all but the manager. */

export type { Ack, AckLevel, AppendOptions, BatchAck, SegmentInfo, StreamInfo } from "../core/aof.ts"
export { APPEND_ADMISSION, APPEND_FLUSH, APPEND_ROLLOVER } from "../core/append.ts"
export type { ReadLevel } from "../core/reader.ts"
export { AofRecord } from "../core/record.ts"
export type { RecordView } from "../core/record_view.ts"
export type { Recovery, RecoveryEntry, StreamDamage } from "../core/recovery_report.ts"
export type { ReadOptions } from "../core/start.ts"
export type { Codec } from "../model/codec.ts"
export type { AofManagerOptions, Retention } from "../model/config.ts"
export {
  type Admission,
  type AofError,
  Closed,
  ClosedBase,
  Corrupt,
  CorruptBase,
  type ErrorDetails,
  Fenced,
  FencedBase,
  type Flush,
  type Hydration,
  InvalidArgument,
  InvalidArgumentBase,
  isAofError,
  NotFound,
  NotFoundBase,
  type Rollover,
  type RootHolder,
  type TaggedErrorBase,
  type Tail,
  Unavailable,
  UnavailableBase,
  WouldBlock,
  WouldBlockBase,
  type WouldBlockNumbers,
  type WouldBlockReason,
} from "../model/errors.ts"
export { Aof, type WaitOptions } from "./aof.ts"
export type { Cursor } from "./cursor.ts"
export type { BatchInput, DetailedInput } from "./payload.ts"
export type { CodecStreamOptions, JsonStreamOptions, StreamOptions } from "./stream_options.ts"
