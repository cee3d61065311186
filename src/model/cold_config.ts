/** Options of the cold tier as a manager takes them: which store, when segments go there, how the client behaves. */
import { checkNames } from "./config_check.ts"
import { invalidArgument } from "./errors.ts"
import { makeTier2Config, type Tier2Config, type Tier2Options, tier2OptionNames } from "./tier2_config.ts"

/** An object store, as `memoryStore()` or `bop-aof/s3` make it; what it does is in the port `ObjectStore`. */
export interface ObjectStoreHandle {
  /** `memory`, `directory` or `s3`. */
  readonly kind: string
  /** Where the objects are, for people. */
  readonly place: string
}

/** A directory that holds objects as plain files. */
export interface DirectoryPlace {
  /** Its path; made when it is missing. */
  readonly directory: string
}

/** Options of Tier 2 of a manager. */
export interface ColdOptions extends Tier2Options {
  /** Where objects are kept; default the directory `tier2` below the root. */
  readonly store?: ObjectStoreHandle | DirectoryPlace | undefined
  /** `eager`: right after compression; `pressure`: when Tier 1 fills. Default `eager` when a store is given, else `pressure`. */
  readonly upload?: "eager" | "pressure" | undefined
  /** How long an object stays after nothing refers to it any more, 0 to 30 days in milliseconds; default 60 000. */
  readonly deleteGraceMs?: number | undefined
  /** Least time between two HEADs, which tell other machines what is there, 0 to an hour; default 1 000. Only where a store is given. */
  readonly headIntervalMs?: number | undefined
  /** Takes a root back that another writer has taken over: what only this one has is moved to its quarantine; default false. */
  readonly takeOver?: boolean | undefined
  /**
   * Refuses to open an empty root while the store cannot say whether it holds one. Default false: then a new root is made, which goes on without
   * the store, and is fenced when that turns out to hold another one.
   */
  readonly requireBucket?: boolean | undefined
}

/** `ColdOptions` with every default filled in. */
export interface ColdConfig {
  readonly client: Tier2Config
  /** Undefined: there is no Tier 2. */
  readonly store: ObjectStoreHandle | DirectoryPlace | undefined
  readonly upload: "eager" | "pressure"
  readonly deleteGraceMs: number
  /** True when a store was named: it holds all that another machine needs. */
  readonly isBucket: boolean
  /** False for one who does not look at HEAD and at replicas: what is queued for removal stays. */
  readonly mayDelete: boolean
  readonly headIntervalMs: number
  readonly takeOver: boolean
  readonly requireBucket: boolean
}

const deleteGraceMsMax = 30 * 86_400_000
const headIntervalMsMax = 3_600_000

/** True when a store was named by whoever opens the root. */
export const hasOwnStore = (options: ColdOptions | false | undefined): boolean =>
  options !== undefined && options !== false && options.store !== undefined

/** Checks options and fills in defaults; `false` turns Tier 2 off. Throws `InvalidArgument`. */
export const makeColdConfig = (options: ColdOptions | false | undefined, root: string): ColdConfig => {
  if (options === false) {
    const none = { isBucket: false, mayDelete: true, headIntervalMs: 0, takeOver: false, requireBucket: false }
    return { client: makeTier2Config(), store: undefined, upload: "pressure", deleteGraceMs: 0, ...none }
  }
  if (options !== undefined) {
    checkNames("tier2 option", options, [
      "store",
      "upload",
      "deleteGraceMs",
      "headIntervalMs",
      "takeOver",
      "requireBucket",
      ...tier2OptionNames,
    ])
  }
  if (options?.store === null) checkStore(null as never)
  const { store, upload, deleteGraceMs = 60_000, headIntervalMs = 1000, ...rest } = options ?? {}
  const { takeOver = false, requireBucket = false, ...client } = rest
  if (upload !== undefined && upload !== "eager" && upload !== "pressure") {
    throw invalidArgument("tier2.upload", upload, "eager or pressure")
  }
  if (!(Number.isSafeInteger(deleteGraceMs) && deleteGraceMs >= 0 && deleteGraceMs <= deleteGraceMsMax)) {
    throw invalidArgument("tier2.deleteGraceMs", deleteGraceMs, `an integer from 0 to ${deleteGraceMsMax}`)
  }
  if (!(Number.isSafeInteger(headIntervalMs) && headIntervalMs >= 0 && headIntervalMs <= headIntervalMsMax)) {
    throw invalidArgument("tier2.headIntervalMs", headIntervalMs, `an integer from 0 to ${headIntervalMsMax}`)
  }
  for (const [name, value] of Object.entries({ takeOver, requireBucket })) {
    if (typeof value !== "boolean") throw invalidArgument(`tier2.${name}`, value, "true or false")
  }
  return {
    client: makeTier2Config(client),
    store: checkStore(store ?? { directory: `${root}/tier2` }),
    upload: upload ?? (hasOwnStore(options) ? "eager" : "pressure"),
    deleteGraceMs,
    isBucket: hasOwnStore(options),
    mayDelete: true,
    headIntervalMs,
    takeOver,
    requireBucket,
  }
}

const storeCalls = ["put", "get", "head", "remove", "list"]

/** Returns a store that can be used; throws `InvalidArgument` that names the option `what`. */
export const checkStore = (
  store: ObjectStoreHandle | DirectoryPlace,
  what = "tier2.store",
): ObjectStoreHandle | DirectoryPlace => {
  const given = store as unknown as Record<string, unknown> | null
  if (typeof given === "object" && given !== null) {
    const { directory } = given
    if (typeof directory === "string" && directory !== "" && !directory.includes("\0")) {
      checkNames(`${what} option`, given, ["directory"])
      return store
    }
    if (storeCalls.every((name) => typeof given[name] === "function")) return store
  }
  throw invalidArgument(what, store, "an object store, or { directory }")
}
