/** What a bucket works with, and who is told of what happens to it. */
import type * as Effect from "effect/Effect"
import type { ManifestRecord } from "../../format/manifest_record.ts"
import type { AofError } from "../../model/errors.ts"
import type { TierEventInput } from "../../model/tier_event.ts"
import type { Directory } from "../../port/directory.ts"
import type { Residency } from "../tiers/residency.ts"
import type { Fence } from "./head_fence.ts"
import type { FoundHead, HeadStore } from "./head_store.ts"

/** What a bucket works with. */
export interface BucketOptions {
  readonly headStore: HeadStore
  readonly directory: Directory
  readonly fence: Fence
  readonly root: { readonly rootId: Uint8Array; readonly createdMs: number }
  /** Of a clock that does not jump, for how long something takes. */
  readonly nowMs: () => number
  /** Of the clock of the machine, for when something happened. */
  readonly wallMs: () => number
  readonly random32: () => number
  /** Least time between two HEADs. */
  readonly headIntervalMs: number
  readonly deleteGraceMs: number
  /** True when the root may go on in a bucket that it has left for another one. */
  readonly takesBack: boolean
  readonly emit: (event: TierEventInput) => void
  /** When the store may be asked again, by `nowMs`; 0 for now. */
  readonly storeAwayUntilMs: () => number
}

/** An object that is queued for removal. */
export interface QueuedObject {
  readonly key: string
  /** 0 for a file of the manifest. */
  readonly streamId: number
  readonly sequence: number
  readonly notBeforeMs: number
}

/** Where a bucket goes. */
export interface BucketMove {
  readonly headStore: HeadStore
  /** The HEAD that is there. */
  readonly found: FoundHead | undefined
  /** True when the place that it leaves is not asked. */
  readonly isAbandoned: boolean
  /** Everything is asked of the new place from here on. */
  readonly onMoved: () => void
  /** Fails once not even what must not be left half-way may go on: then it ends as by a crash. */
  readonly cut: Effect.Effect<never, AofError>
}

/** Who is told of what happens to a bucket. */
export interface BucketListener {
  /** Something that others wait for has changed. */
  readonly onChange: () => void
  /** A segment's object is known to a HEAD. */
  readonly onCommitted: (residency: Residency) => void
  /** True while somebody waits for the next HEAD. */
  readonly isUrgent: () => boolean
}

const telling: ReadonlyArray<ManifestRecord["type"]> = [
  "UploadDone",
  "Tier2DeleteQueued",
  "Trim",
  "StreamCreated",
  "StreamDeleted",
]

/** True for a record after which a HEAD is due: what it says is of use elsewhere. A file of the manifest was queued after such a HEAD. */
export const isTelling = ({ type, streamId }: ManifestRecord): boolean =>
  telling.includes(type) && !(type === "Tier2DeleteQueued" && streamId === 0)

/** True for a record that another machine is told of at the latest when the writer goes: where it had records, and that they are not there. */
export const isNews = ({ type }: ManifestRecord): boolean => type === "SegmentOpened" || type === "SealSegment"
