/**
 * The store as Effects: the same names and arguments as the main module, typed failures in the error channel, reads as Streams.
 * Interruption takes the place of a `signal`, which no option has here. An effect takes what it was given when it runs, so that bytes must
 * stay as they are until then. `AofManager.open` needs a `Scope`, whose end closes the manager, and the layer of a runtime (`bop-aof/bun`,
 * `/deno`, `/node`, `/memory`).
 *
 * Of the main module it leaves out what only promises need: `WaitOptions`, as there are no signals, `SealedSegmentStream`, which is a Stream of cursors
 * here, and `Symbol.asyncDispose`, in whose place there is the scope. It adds the services that a runtime gives, and `inspectManifest`.
 *
 * @module
 */
export { Aof, type AppendOptions, type Cursor, type ReadOptions } from "./effect_aof.ts"
export * from "./effect_exports.ts"
export { ManifestInspector } from "./effect_inspector.ts"
export { AofManager } from "./effect_manager.ts"
export type {
  AofManagerOptions,
  CodecStreamOptions,
  JsonStreamOptions,
  RepairOptions,
  ReplicaOptions,
  StreamOptions,
} from "./effect_options.ts"
export { openReplica, Replica } from "./effect_replica.ts"
export * from "./error_exports.ts"
export * from "./shared_exports.ts"
export * from "./tier_exports.ts"
