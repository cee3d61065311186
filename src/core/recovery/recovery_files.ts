/** The files of a stream as recovery finds them: first with what only the commit journal holds, then listed. */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import { segmentIndexOf } from "../../model/record_id.ts"
import type { DirectoryEntry } from "../../port/directory.ts"
import type { ManifestStream } from "../../state/manifest_state.ts"
import { streamPath, streamsPath } from "../files/paths.ts"
import { refuseLinks } from "../files/refuse_links.ts"
import { attempt } from "../flow/attempt.ts"
import { replayJournal } from "../journal/journal_replay.ts"
import type { StreamState } from "../stream/stream_state.ts"
import type { RecoveryReport } from "./recovery_report.ts"

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
  const target = { name, streamId, path, parents, firstIndex, isSealed: (index: number) => known.sealed.has(index) }
  yield* replayJournal(services.directory, target, entries, report)
  services.shared.release(streamId)
})
