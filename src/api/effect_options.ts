/** Options of the store as Effects: those of the main module without a signal, in whose place there is interruption. */
import type { Codec } from "../model/codec.ts"
import type { AofManagerOptions as AnyManagerOptions } from "../model/config.ts"
import type { RepairOptions as AnyRepairOptions } from "../model/repair.ts"
import type { ReplicaOptions as AnyReplicaOptions } from "../model/replica.ts"
import type { StreamOptions as AnyStreamOptions } from "./stream_options.ts"

/** Options of `AofManager.open`; interruption takes the place of a signal. */
export type AofManagerOptions = Omit<AnyManagerOptions, "signal">
/** Options of `AofManager.repair`; interruption takes the place of a signal. */
export type RepairOptions = Omit<AnyRepairOptions, "signal">
/** Options of `openReplica`; interruption takes the place of a signal. */
export type ReplicaOptions = Omit<AnyReplicaOptions, "signal">
/** Options of a stream; interruption takes the place of a signal. */
export type StreamOptions = Omit<AnyStreamOptions, "signal">

/** Options of a stream of values. */
export interface CodecStreamOptions<V> extends StreamOptions {
  /** Turns values into payloads and back. */
  readonly codec: Codec<V>
}

/** Options of a stream of JSON values. */
export interface JsonStreamOptions extends StreamOptions {
  /** Values are stored as JSON in UTF-8. */
  readonly codec: "json"
}

/** The names of options but for the signal. */
export const withoutSignal = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.filter((name) => name !== "signal")
