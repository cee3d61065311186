/**
 * A durable, tiered, append-only log for Deno, Bun and Node.
 *
 * ```ts
 * import { AofManager } from "bop-aof"
 *
 * const manager = await AofManager.open({ root: "./data" })
 * const orders = await manager.stream("orders")
 * await orders.append("hello")
 * for await (const record of orders.read({ from: "start" })) console.log(record.text())
 * await manager.close()
 * ```
 *
 * @module
 */
export { Aof, type WaitOptions } from "./src/api/aof.ts"
export type { Cursor } from "./src/api/cursor.ts"
export { AofManager } from "./src/api/manager.ts"
export type { BatchInput, DetailedInput } from "./src/api/payload.ts"
export type { CodecStreamOptions, JsonStreamOptions, StreamOptions } from "./src/api/stream_options.ts"
export type { Ack, AckLevel, AppendOptions, BatchAck, SegmentInfo, StreamInfo } from "./src/core/aof.ts"
export { APPEND_ADMISSION, APPEND_FLUSH, APPEND_ROLLOVER } from "./src/core/append.ts"
export type { ReadLevel } from "./src/core/reader.ts"
export { AofRecord } from "./src/core/record.ts"
export type { RecordView } from "./src/core/record_view.ts"
export type { Recovery, RecoveryEntry, StreamDamage } from "./src/core/recovery_report.ts"
export type { ReadOptions } from "./src/core/start.ts"
export type { Codec } from "./src/model/codec.ts"
export type { AofManagerOptions, Retention } from "./src/model/config.ts"
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
} from "./src/model/errors.ts"
