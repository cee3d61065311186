/** What only the store as Effects hands on: services, and what works with them. */
export { inspectManifest } from "../core/manifest/manifest_inspector.ts"
export type { BatchFile, BatchOutcome, BatchPiece, BatchWriter } from "../port/batch_writer.ts"
export {
  type ChecksumJob,
  type Compressed,
  type CompressJob,
  Compressor,
  type DecompressJob,
  type DiskWanted,
} from "../port/compressor.ts"
export { Directory, type DirectoryEntry, type OpenMode } from "../port/directory.ts"
export { EventLoop } from "../port/event_loop.ts"
export { type HeldLock, RootLock } from "../port/root_lock.ts"
export type { SegmentFile } from "../port/segment_file.ts"
