/**
 * What `bench:peers` asks of a contestant. One contestant is one file in `contestants/` that exports `contestant`; nothing else has to know
 * of it. Each phase runs in a process of its own, which opens the contestant anew.
 */
import type { RuntimeName } from "../scripts/runtimes.mjs"

/** W1 to W7 of `docs/performance.md`. */
export type Workload = "W1" | "W2" | "W3" | "W4" | "W5" | "W6" | "W7"
export const workloadNames: ReadonlyArray<Workload> = ["W1", "W2", "W3", "W4", "W5", "W6", "W7"]

/** What the process of a phase gives to a contestant. */
export interface Context {
  /** A directory for its files, made before; the same one for the phases that read what another one wrote. */
  readonly directory: string
  /** What is being measured: a contestant may set itself up as its documents recommend for that. */
  readonly workload: Workload
  /** Loads a package from the folder that the peers were installed into. */
  readonly load: (name: string) => Promise<any>
  /** The path of a program that the contestant named. */
  readonly program: (name: string) => string
}

/** Reads one record; peers that are asynchronous give a promise. */
export interface PointReader {
  readonly records: number
  /** The payload of record number `index`. */
  readonly get: (index: number) => Uint8Array | Promise<Uint8Array>
}

/** What a walk over all records has seen; the hash is that of `mixRecord`. */
export interface Walk {
  readonly records: number
  readonly hash: number
}

/** An open contestant. */
export interface Store {
  /** W1: appends `records` records in turn, in the peer's recommended batches; resolves when all are durable. */
  readonly appendAll: (payloads: ReadonlyArray<Uint8Array>, records: number) => Promise<void>
  /** W2, W6: appends one record; resolves when it is durable. May be called again before. */
  readonly append?: (payload: Uint8Array) => Promise<unknown>
  /** W3: the same for one producer, where there is a more direct way. */
  readonly appendAlone?: (payload: Uint8Array) => unknown
  /** W4, in one of the contestant's scan modes. */
  readonly scan?: (mode: string) => Promise<Walk>
  /** W5: gets ready for reads by number; not timed. */
  readonly openPoint?: () => Promise<PointReader>
  /** W6: the first record. */
  readonly first?: () => Promise<Uint8Array>
  readonly close: () => Promise<void>
}

/** A program of a Debian package, used where it is installed, else fetched into the peers' folder without being installed. */
export interface DebianProgram {
  readonly name: string
  readonly packages: ReadonlyArray<string>
}

export interface Contestant {
  readonly name: string
  /** Where it runs; the first one that is asked for counts, but for this store, which runs on all that are asked for. */
  readonly runtimes: ReadonlyArray<RuntimeName>
  /** True for this store. */
  readonly isOwn?: boolean
  /** npm packages with exact versions. */
  readonly packages?: Readonly<Record<string, string>>
  /** True when a package has to be built or fetched by its own install step, for the Node that runs npm, which then runs it. */
  readonly isBuilt?: boolean
  readonly programs?: ReadonlyArray<DebianProgram>
  /** What it runs with, in words: printed with the figures. */
  readonly settings: string
  readonly workloads: ReadonlyArray<Workload>
  /** The ways in which it scans; one when it does not say. */
  readonly scanModes?: ReadonlyArray<string>
  /** The part of the amounts that it gets, 0 to 1, so that a slow one takes no longer. Rates are compared, so this changes little. */
  readonly scale: number
  readonly open: (context: Context) => Promise<Store>
}
