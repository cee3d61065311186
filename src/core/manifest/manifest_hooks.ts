/**
 * What an open manifest tells those who carry its files elsewhere. Hooks are plain functions that return at once; what one throws is
 * dropped, as the log goes on whatever happens to its listeners.
 */
import * as Effect from "effect/Effect"
import type { ManifestRecord } from "../../format/manifest_record.ts"

/** A chunk that takes no more records. */
export interface SealedChunk {
  /** Name of the file in the manifest's directory. */
  readonly name: string
  /** The file. */
  readonly path: string
  /** The number in its name. */
  readonly chunkSequence: number
  /** Length of the file. */
  readonly bytes: number
  /** Sequence of its first record; 0 when its header is damaged. */
  readonly firstRecordSequence: number
  /**
   * True when the file is durable and has its sealing slot. False after damage or a disk that failed: all that was committed in it is
   * durable, but behind that it may hold bytes that count for nothing.
   */
  readonly isComplete: boolean
}

/** A snapshot that is durable. */
export interface WrittenSnapshot {
  /** Name of the file in the manifest's directory. */
  readonly name: string
  /** The file. */
  readonly path: string
  /** The newest chunk that it covers. */
  readonly chunkSequence: number
  /** Length of the file. */
  readonly bytes: number
  /** Log records up to this sequence are contained. */
  readonly coversSequence: number
}

/** What may be asked for. Nothing is called for a manifest that is read-only, but `onRecord`. */
export interface ManifestHooks {
  /** A chunk was sealed. Also called once while opening for each one that is there and that no snapshot covers, in order. */
  readonly onChunkSealed?: ((chunk: SealedChunk) => void) | undefined
  /** A snapshot is durable, before what it covers is removed. Also called once while opening for the one that is there. */
  readonly onSnapshot?: ((snapshot: WrittenSnapshot) => void) | undefined
  /** Files that a snapshot covers were removed. */
  readonly onPruned?: ((names: ReadonlyArray<string>) => void) | undefined
  /**
   * A record of the log is durable, in order of sequence. Also called while opening for those that no snapshot covers, and by `refresh`;
   * what a snapshot has taken in before a read-only log has seen it is not told.
   */
  readonly onRecord?: ((record: ManifestRecord) => void) | undefined
}

/** Calls a hook, if there is one. */
export const tell = <A>(hook: ((value: A) => void) | undefined, value: A): Effect.Effect<void> =>
  hook === undefined ? Effect.void : Effect.ignore(Effect.try({ try: () => hook(value), catch: (error) => error }))
