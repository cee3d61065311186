/**
 * The binary formats: layouts as field tables, encoders and decoders. `src/format/README.md` describes them for other languages.
 *
 * @module
 */

export { type Crc64, crc32, crc64, crc64Start, loadCrc64 } from "./checksum.ts"
export * from "./field_table.ts"
export * from "./frame.ts"
export * from "./head_object.ts"
export * from "./manifest_chunk.ts"
export { manifestPayloads } from "./manifest_codec.ts"
export * from "./manifest_payload.ts"
export * from "./manifest_reason.ts"
export * from "./manifest_record.ts"
export * from "./manifest_tier_payload.ts"
export * from "./record.ts"
export * from "./replica_lease.ts"
export * from "./root_file.ts"
export * from "./sealed_pointer.ts"
export * from "./seekable_zstd.ts"
export * from "./segment_footer.ts"
export * from "./segment_header.ts"
