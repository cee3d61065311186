/**
 * A manifest as a process sees it that does not write: read once, then again when the directory or the newest chunk's header block have
 * changed. What was read is always a beginning of what was committed.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { manifestFileName, manifestHeaderBytes, manifestKindLog } from "../../format/manifest_chunk.ts"
import type { AofError, Unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { replaceManifestState } from "../../state/manifest_state.ts"
import { type ManifestHooks, tell } from "./manifest_hooks.ts"
import { type LoadedManifest, loadManifest, type ManifestPosition, readManifestFile } from "./manifest_load.ts"

/** What was loaded, and how to look again. */
export interface ReadOnlyOptions {
  readonly path: string
  readonly rootId: Uint8Array
  readonly loaded: LoadedManifest
  readonly hooks: ManifestHooks
}

/** How to look again, and how far the last look came. */
export interface ManifestRefresh {
  readonly refresh: Effect.Effect<boolean, AofError>
  /** The sequence of the last record that was read, whoever asked for it. */
  readonly readSequence: () => number
}

/** What tells whether there is more. */
interface Seen {
  readonly names: string
  readonly header: Uint8Array | undefined
}

/**
 * Follows a writer: applies to the loaded state what it has committed since, true when there was something. Fails `Unavailable` when the
 * disk does; interrupting it changes nothing.
 */
export const makeRefresh = (directory: Directory, options: ReadOnlyOptions): ManifestRefresh => {
  const { path, rootId, loaded, hooks } = options
  const isTelling = hooks.onRecord !== undefined
  const state = loaded.state
  let position: ManifestPosition = positionOf(loaded)
  let seen: Seen | undefined

  /** The names of the files and the header block of the newest chunk tell whether there is more. */
  const look = Effect.fnUntraced(function* (): Effect.fn.Return<Seen, Unavailable> {
    const file = `${path}/${manifestFileName(manifestKindLog, position.chunkSequence)}`
    const header =
      position.chunkSequence === 0 ? undefined : yield* readManifestFile(directory, file, manifestHeaderBytes)
    const names = (yield* directory.list(path)).map((entry) => entry.name).join("/")
    return { names, header }
  })

  const readOn = Effect.gen(function* () {
    const found = yield* look()
    if (seen?.names === found.names && isSameBytes(seen.header, found.header)) return false
    const before = position.lastSequence
    const from = position.chunkSequence === 0 ? undefined : { ...position, state }
    const read = yield* loadManifest(directory, { path, rootId, from, isTelling })
    const next = read.isConnected ? read : yield* loadManifest(directory, { path, rootId, isTelling })
    position = positionOf(next)
    if (position.state !== state) replaceManifestState(state, position.state)
    // Only now: a look that failed or was interrupted before has shown nothing.
    seen = found
    for (const record of next.told) if (record.sequence > before) yield* tell(hooks.onRecord, record)
    return position.lastSequence !== before
  })
  // One at a time: who asks while another one looks must not be told that there is nothing new before it has been read.
  return { refresh: Semaphore.makeUnsafe(1).withPermit(readOn), readSequence: () => position.lastSequence }
}

const isSameBytes = (one: Uint8Array | undefined, other: Uint8Array | undefined): boolean => {
  if (one === undefined || other === undefined || one.length !== other.length) return one === other
  return one.every((byte, index) => byte === other[index])
}

/** Only the position, so that the loaded files can be collected. */
const positionOf = ({ state, lastSequence, chunkSequence }: ManifestPosition): ManifestPosition => ({
  state,
  lastSequence,
  chunkSequence,
})
