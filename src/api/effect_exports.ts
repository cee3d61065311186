/** What the store as Effects hands on from the core and its ports. */
export type { Ack, AckLevel, BatchAck, SegmentInfo, StreamInfo } from "../core/aof.ts"
export { APPEND_ADMISSION, APPEND_FLUSH, APPEND_ROLLOVER } from "../core/append/append_codes.ts"
export type { InspectedFile, InspectedRecord, InspectedSlot } from "../core/manifest/manifest_inspection.ts"
export {
  type InspectedSegment,
  type InspectedStream,
  inspectManifest,
  type ManifestInspection,
} from "../core/manifest/manifest_inspector.ts"
export {
  type ChecksumJob,
  type Compressed,
  type CompressJob,
  Compressor,
  type DecompressJob,
} from "../port/compressor.ts"
export { Directory, type DirectoryEntry, type OpenMode } from "../port/directory.ts"
export { EventLoop } from "../port/event_loop.ts"
export { type HeldLock, RootLock } from "../port/root_lock.ts"
export type { SegmentFile } from "../port/segment_file.ts"
