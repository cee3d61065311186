/** What is left of streams that are gone: removed when a root is opened, or put aside where nobody knows what it is. */
import * as Effect from "effect/Effect"
import { decodeSegmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { makeDurableFolder } from "../files/durable_folder.ts"
import {
  quarantinePath,
  segmentIndexOfName,
  segmentPath,
  segmentsPath,
  streamPath,
  streamsPath,
  warmFolder,
} from "../files/paths.ts"
import { readStart } from "../files/read_start.ts"
import { refuseLinks } from "../files/refuse_links.ts"
import type { RecoveryReport } from "../recovery/recovery_report.ts"
import type { StreamServices } from "./stream_state.ts"

/** Finishes the removal of streams that were deleted before a crash, and puts directories aside that no record names. */
export const removeDeleted: (services: StreamServices, report: RecoveryReport) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (services, report) {
    const { config, directory, manifest } = services
    const path = streamsPath(config.root)
    for (const { name, isDirectory } of yield* directory.list(path)) {
      if (manifest.state.streamsByName.has(name)) {
        if (!isDirectory) yield* refuseLinks(directory, [`${path}/${name}`])
        continue
      }
      const isRemovable = name.startsWith(".deleted-") || (yield* isLeftover(services, name, report))
      if (isRemovable) yield* directory.removeDirectory(`${path}/${name}`)
      else yield* putDirectoryAside(services, name, report)
    }
    yield* directory.sync(path)
  })

/** Of a store that is only read: reports streams that the manifest does not name, but for what is left of deleted ones. */
export const reportUnknown: (services: StreamServices, report: RecoveryReport) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (services, report) {
    const { config, directory, manifest } = services
    const list = Effect.map(directory.list(streamsPath(config.root)), (entries) =>
      entries.filter(({ name }) => !name.startsWith(".") && !manifest.state.streamsByName.has(name)),
    )
    if ((yield* list).length === 0) return
    yield* manifest.refresh
    for (const { name } of yield* list) {
      if (yield* isLeftover(services, name, report)) continue
      report.isManifestShort = true
      report.add(name, { from: 0, to: 0, bytes: 0, reason: "a stream that the manifest does not know" })
    }
  })

/** What lies beside segments: a pointer names only what was sealed. */
const withoutRecords: ReadonlySet<string> = new Set(["spare.seg", "current.sealed"])

/**
 * True for a directory without segments, made just before a crash, and for one of a stream that an undamaged manifest has known and
 * does not know any more: it was deleted.
 */
const isLeftover = Effect.fnUntraced(function* (
  { config, directory, manifest, rootId }: StreamServices,
  name: string,
  { isManifestShort }: RecoveryReport,
) {
  const path = segmentsPath(config.root, name)
  const entries = yield* directory.list(path)
  const warm = yield* directory.list(warmFolder(config.root, name))
  if (entries.length === 0 && warm.length === 0) return true
  // A manifest that is not whole, or not there at all, may have forgotten it.
  if (manifest.replay.damage.length > 0 || isManifestShort || manifest.state.nextStreamId === 1) return false
  // All that was ever sealed in it is known to the manifest, or was.
  if (entries.length === 0) return true
  let isKnown = true
  for (const entry of entries) {
    const index = segmentIndexOfName(entry.name)
    if (index === undefined) {
      isKnown &&= withoutRecords.has(entry.name) || entry.name.endsWith(".tmp")
      continue
    }
    const bytes = yield* readStart(directory, segmentPath(path, index), segmentHeaderBytes)
    // A power cut left the entry and not the header: nothing in it was ever durable.
    if (bytes?.every((byte) => byte === 0)) continue
    const header = bytes === undefined ? undefined : decodeSegmentHeader(bytes)
    const isOurs = header?.rootId.every((byte, at) => byte === rootId[at]) === true
    return isOurs && header.streamId < manifest.state.nextStreamId && !manifest.state.streams.has(header.streamId)
  }
  return isKnown
})

/** What lies there may be all that is left of a damaged manifest, or nothing of ours. */
const putDirectoryAside = Effect.fnUntraced(function* (
  { config, directory }: StreamServices,
  name: string,
  report: RecoveryReport,
) {
  const quarantine = quarantinePath(config.root)
  yield* makeDurableFolder(directory, quarantine)
  const taken = new Set((yield* directory.list(quarantine)).map((entry) => entry.name))
  let target = name
  for (let i = 1; taken.has(target); i++) target = `${name}.${i}`
  yield* directory.rename(streamPath(config.root, name), `${quarantine}/${target}`)
  yield* directory.sync(quarantine)
  report.add(name, {
    from: 0,
    to: 0,
    bytes: 0,
    reason: `no record names this directory: moved to quarantine/${target}`,
  })
})
