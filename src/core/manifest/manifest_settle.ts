/**
 * Completes chunks whose writer ended without order: what was torn is cut off and a sealing slot written, so that the file is durable, says
 * itself that it is whole, and is not reported as torn again. Only after all that counts in them is durable elsewhere or known to be on disk.
 */
import * as Effect from "effect/Effect"
import {
  commitSlot,
  commitSlotOffset,
  encodeCommitSlot,
  manifestFileName,
  manifestHeaderBytes,
  manifestKindLog,
} from "../../format/manifest_chunk.ts"
import type { Unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { UnsettledChunk } from "./manifest_load.ts"

/**
 * Seals each chunk and gives those that are complete now, with their lengths. A disk that fails leaves a chunk as it was. After interruption
 * a chunk is as it was, cut off, or sealed; in each case the same records count.
 */
export const settleChunks: (
  directory: Directory,
  options: { readonly path: string; readonly chunks: ReadonlyArray<UnsettledChunk> },
) => Effect.Effect<ReadonlyMap<number, number>> = Effect.fnUntraced(function* (
  directory: Directory,
  options: { readonly path: string; readonly chunks: ReadonlyArray<UnsettledChunk> },
): Effect.fn.Return<ReadonlyMap<number, number>> {
  const completed = new Map<number, number>()
  for (const chunk of options.chunks) {
    const file = `${options.path}/${manifestFileName(manifestKindLog, chunk.chunkSequence)}`
    const bytes = manifestHeaderBytes + chunk.slot.committedBytes
    const isDone = yield* Effect.match(settle(directory, file, chunk), {
      onFailure: () => false,
      onSuccess: () => true,
    })
    if (isDone) completed.set(chunk.chunkSequence, bytes)
  }
  return completed
})

/**
 * The records are written again and synced before a slot says that they count: they were read, but perhaps only from memory of the system,
 * and of pages that a failed sync has dropped no later sync takes care.
 */
const settle = (directory: Directory, path: string, chunk: UnsettledChunk): Effect.Effect<void, Unavailable> =>
  Effect.acquireUseRelease(
    Effect.try({ try: () => directory.openUnsafe(path, "write"), catch: (error) => error as Unavailable }),
    (file) => {
      const bytes = new Uint8Array(commitSlot.sizeBytes)
      encodeCommitSlot(bytes, 0, chunk.slot)
      const write = Effect.try({
        try: () => file.writeUnsafe(bytes, 0, bytes.length, commitSlotOffset(chunk.slot.sequence)),
        catch: (error) => error as Unavailable,
      })
      const end = manifestHeaderBytes + chunk.slot.committedBytes
      const rewrite = Effect.try({
        try: () => {
          const content = new Uint8Array(end)
          file.writeUnsafe(content, 0, file.readUnsafe(content, 0, end, 0), 0)
        },
        catch: (error) => error as Unavailable,
      })
      return file
        .truncate(end)
        .pipe(
          Effect.andThen(rewrite),
          Effect.andThen(file.syncData),
          Effect.andThen(write),
          Effect.andThen(file.syncData),
        )
    },
    (file) => Effect.sync(() => file.closeUnsafe()),
  )
