/** The files of a stream as recovery finds them: first with what only the commit journal holds, then listed. */
import * as Effect from "effect/Effect"
import { decodeSegmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { segmentIndexOf } from "../../model/record_id.ts"
import type { DirectoryEntry } from "../../port/directory.ts"
import type { ManifestStream } from "../../state/manifest_state.ts"
import {
  segmentIndexOfName,
  segmentIndexOfWarmName,
  segmentPath,
  streamPath,
  streamsPath,
  warmFolder,
} from "../files/paths.ts"
import { readStart } from "../files/read_start.ts"
import { refuseLinks } from "../files/refuse_links.ts"
import { attempt } from "../flow/attempt.ts"
import { type LowestSegment, type ReplayTarget, replayJournal } from "../journal/journal_replay.ts"
import type { StreamState } from "../stream/stream_state.ts"
import type { RecoveryReport } from "./recovery_report.ts"
import { knownSegment, lastBefore } from "./recovery_restore.ts"

/** Below so many segments a directory is listed at once: that takes less than to have it listed elsewhere. */
const shortListMax = 64

/** What lies in the directory of the segments; none of it when that is a link to somewhere else. */
export const listSegments: (
  stream: StreamState,
  known: ManifestStream,
) => Effect.Effect<ReadonlyArray<DirectoryEntry>, AofError> = Effect.fnUntraced(function* (stream, known) {
  const { directory, config } = stream.services
  if (known.sealed.size + known.opened.size < shortListMax)
    return yield* attempt(() => directory.listUnsafe(stream.path))
  if (!config.readOnly) yield* refuseLinks(directory, [stream.path])
  return yield* directory.list(stream.path)
})

/** What only the commit journal holds goes into the segments first. */
export const replayHeld: (
  stream: StreamState,
  known: ManifestStream,
  report: RecoveryReport,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (stream, known, report) {
  const { services, streamId, name, path } = stream
  const entries = yield* services.shared.held(streamId)
  if (entries.length === 0) return
  const firstIndex = known.trim === undefined ? 0 : segmentIndexOf(known.trim.firstRecordId)
  const { root } = services.config
  const parents = [streamsPath(root), streamPath(root, name)]
  const target: ReplayTarget = {
    name,
    streamId,
    path,
    parents,
    firstIndex,
    isSealed: (index) => known.sealed.has(index),
    lowest: yield* lowestLeft(stream, report),
    segmentOf: (index) => {
      const segment = knownSegment(stream, known, index)
      return { ...segment, firstRecordNumber: segment.firstRecordNumber ?? numberBefore(known, index) }
    },
    coordinatorWatermarkOf: (index) => lastBefore(known, index)?.coordinatorWatermark ?? 0n,
  }
  yield* replayJournal(services.directory, target, entries, report)
  services.shared.release(streamId)
})

/** The lowest segment that has a file, when the manifest has forgotten something; else undefined. */
const lowestLeft = Effect.fnUntraced(function* (
  { services, name, path }: StreamState,
  report: RecoveryReport,
): Effect.fn.Return<LowestSegment | undefined, AofError> {
  const { directory, config, manifest } = services
  if (manifest.replay.damage.length === 0 && !report.isManifestShort) return undefined
  const hot = (yield* directory.list(path)).map((entry) => segmentIndexOfName(entry.name))
  const warm = (yield* directory.list(warmFolder(config.root, name))).map((entry) => segmentIndexOfWarmName(entry.name))
  const [index] = [...hot, ...warm].filter((one) => one !== undefined).sort((one, other) => one - other)
  if (index === undefined) return undefined
  const block = hot.includes(index)
    ? yield* readStart(directory, segmentPath(path, index), segmentHeaderBytes)
    : undefined
  return { index, baseOffset: block === undefined ? undefined : decodeSegmentHeader(block)?.baseOffset }
})

/** Number of the first record of a segment, when that follows from the one before; the first of all has index 1. */
const numberBefore = (known: ManifestStream, index: number): number | undefined => {
  if (index === 1) return 0
  const before = lastBefore(known, index)
  return before?.segmentIndex === index - 1 ? before.firstRecordNumber + before.recordCount : undefined
}
