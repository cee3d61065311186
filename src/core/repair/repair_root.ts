/**
 * Makes the root file anew when it is missing or damaged beyond one byte: its id stands in every file of the manifest and in every segment. What
 * else it says is the format version and feature bits, which are those of this version: a root of a later one has to be repaired by it.
 */
import * as Effect from "effect/Effect"
import { decodeManifestHeader, manifestHeaderBytes } from "../../format/manifest_chunk.ts"
import { decodeRootFile, encodeRootFile } from "../../format/root_file.ts"
import { decodeSegmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import { type AofError, corrupt } from "../../model/errors.ts"
import { isStreamName } from "../../model/stream_name.ts"
import type { Directory } from "../../port/directory.ts"
import { rootFilePath, segmentIndexOfName, segmentsPath, streamsPath } from "../files/paths.ts"
import { quarantineLink } from "../files/quarantine.ts"
import { readStart } from "../files/read_start.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"
import { correctedRoot } from "../files/root.ts"
import { manifestFileNames } from "../manifest/manifest_files.ts"
import { manifestPath } from "../manifest/manifest_log.ts"

const rootFileBytesMax = 4096
/** Segments of a stream that are asked for the root id. */
const segmentsAsked = 8

interface Votes {
  readonly byId: Map<string, { count: number; readonly rootId: Uint8Array; createdMs: number }>
}

/** Makes the root file anew if it has to be, and says what was wrong; undefined when nothing was. `Corrupt` when nothing names the root. */
export const repairRoot: (directory: Directory, root: string) => Effect.Effect<string | undefined, AofError> =
  Effect.fnUntraced(function* (directory, root) {
    const path = rootFilePath(root)
    const bytes = yield* readStart(directory, path, rootFileBytesMax)
    if (bytes !== undefined && decodeRootFile(bytes) !== undefined) return undefined
    // One byte is put right by the open itself, exactly.
    if (bytes !== undefined && (yield* correctedRoot(directory, root, bytes)) !== undefined) return undefined
    const votes: Votes = { byId: new Map() }
    yield* askManifest(directory, root, votes)
    yield* askSegments(directory, root, votes)
    const [best] = [...votes.byId.values()].sort((one, other) => other.count - one.count)
    if (best === undefined) {
      return yield* Effect.fail(corrupt(`root ${root}`, "there is no root file, and no other file says whose it is"))
    }
    if (bytes !== undefined) yield* quarantineLink(directory, { root, paths: [path], prefix: "" })
    const made = encodeRootFile(best.rootId, best.createdMs)
    yield* replaceSmallFile(directory, { folder: root, path, bytes: made })
    return bytes === undefined ? "the root file is missing" : "the root file does not check"
  })

const vote = ({ byId }: Votes, rootId: Uint8Array, createdMs: number): void => {
  const key = rootId.join()
  const known = byId.get(key)
  if (known === undefined) byId.set(key, { count: 1, rootId, createdMs })
  else {
    known.count++
    known.createdMs = Math.min(known.createdMs, createdMs)
  }
}

const askManifest = Effect.fnUntraced(function* (
  directory: Directory,
  root: string,
  votes: Votes,
): Effect.fn.Return<void, AofError> {
  const folder = manifestPath(root)
  for (const name of yield* manifestFileNames(directory, folder)) {
    const bytes = yield* readStart(directory, `${folder}/${name}`, manifestHeaderBytes)
    const header = bytes === undefined ? undefined : decodeManifestHeader(bytes)
    if (header !== undefined) vote(votes, header.rootId, header.createdMs)
  }
})

const askSegments = Effect.fnUntraced(function* (
  directory: Directory,
  root: string,
  votes: Votes,
): Effect.fn.Return<void, AofError> {
  for (const stream of yield* directory.list(streamsPath(root))) {
    if (!stream.isDirectory || !isStreamName(stream.name)) continue
    const folder = segmentsPath(root, stream.name)
    const files = (yield* directory.list(folder)).filter(({ name }) => segmentIndexOfName(name) !== undefined)
    for (const { name } of files.slice(0, segmentsAsked)) {
      const bytes = yield* readStart(directory, `${folder}/${name}`, segmentHeaderBytes)
      const header = bytes === undefined ? undefined : decodeSegmentHeader(bytes)
      if (header !== undefined) vote(votes, header.rootId, header.createdMs)
    }
  }
})
