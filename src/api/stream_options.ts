/** Options of `manager.stream` in both dresses. */
import type { Codec } from "../model/codec.ts"
import type { Retention } from "../model/config.ts"

/** Options of a stream. */
export interface StreamOptions {
  /** Makes the stream when it is not there; default true, else `NotFound`. */
  readonly create?: boolean | undefined
  /** Overrides the manager's; `false`, or nothing in it, for none. */
  readonly retention?: Retention | false | undefined
  /** Overrides the manager's for segments opened from now on. */
  readonly segmentBytes?: number | undefined
  /** A byte budget of its own in Tier 0, 64 KiB or more, within the manager's; default none. */
  readonly tier0BytesMax?: number | undefined
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined
}

/** The names of all options of a stream. */
export const streamOptionNames: ReadonlyArray<string> = [
  "create",
  "retention",
  "segmentBytes",
  "tier0BytesMax",
  "codec",
  "signal",
]

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
