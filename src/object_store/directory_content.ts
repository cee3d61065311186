/**
 * Content of objects as files: written and read piece by piece off the main thread, so that neither a turn of the event loop nor
 * memory ever holds more than a piece, and the disk never gets much to sync at once, for which others would wait.
 */
import * as Effect from "effect/Effect"
import { crc64Start } from "../format/checksum.ts"
import { backgroundSyncBytes } from "../model/background_sync.ts"
import type { Unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import type { ObjectBody, ObjectRange } from "../port/object_store.ts"
import { syncPolitely } from "../port/polite_sync.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import type { StoreError } from "../port/store_error.ts"
import { fileError, isMissing } from "./directory_error.ts"
import { onlyUnavailable } from "./directory_temp.ts"
import { compareChecksum, etagOf, pieceBytes, pullPiece } from "./object_checks.ts"

/** Writes a body to an empty file, syncs it, and returns its etag. */
export const writeBody: (
  file: SegmentFile,
  object: { readonly key: string; readonly body: ObjectBody; readonly checksum64: bigint | undefined },
) => Effect.Effect<string, StoreError> = Effect.fnUntraced(function* (file, { key, body, checksum64 }) {
  const failed = Effect.mapError((error: Unavailable) => fileError("put", key, error))
  const checksum = crc64Start()
  let syncedBytes = 0
  // A piece is done with before the next one is pulled.
  const into = new Uint8Array(Math.min(pieceBytes, body.lengthBytes))
  for (let offset = 0; offset < body.lengthBytes; ) {
    const piece = yield* pullPiece(key, body, offset, into)
    checksum.update(piece)
    yield* failed(file.write(piece, 0, piece.length, offset))
    offset += piece.length
    if (offset - syncedBytes < backgroundSyncBytes) continue
    yield* failed(syncPolitely(file))
    syncedBytes = offset
  }
  const found = checksum.digest()
  yield* compareChecksum(key, checksum64, found)
  yield* failed(file.syncData)
  return etagOf(body.lengthBytes, found)
})

/** Opens an object to read it for as long as `use` runs; undefined when there is none. */
export const withObject = <A, E>(
  directory: Directory,
  path: string,
  use: (file: SegmentFile) => Effect.Effect<A, E | Unavailable>,
): Effect.Effect<A | undefined, E | Unavailable> =>
  // Asked first, because opening a pipe would wait, and opening a folder succeeds on some systems.
  Effect.flatMap(fileSize(directory, path), (size): Effect.Effect<A | undefined, E | Unavailable> => {
    if (size === undefined) return Effect.succeed(undefined)
    return Effect.flatMap(openToRead(directory, path), (file): Effect.Effect<A | undefined, E | Unavailable> => {
      if (file === undefined) return Effect.succeed(undefined)
      return Effect.ensuring(
        use(file),
        Effect.sync(() => file.closeUnsafe()),
      )
    })
  })

/** Length of the file at `path`; undefined when there is none, also when the path leads through a file. */
export const fileSize = (directory: Directory, path: string): Effect.Effect<number | undefined, Unavailable> =>
  Effect.catchIf(directory.sizeOf(path), isMissing, () => Effect.succeed(undefined))

const openToRead = (directory: Directory, path: string): Effect.Effect<SegmentFile | undefined, Unavailable> =>
  Effect.catchIf(Effect.try({ try: () => directory.openUnsafe(path, "read"), catch: onlyUnavailable }), isMissing, () =>
    Effect.succeed(undefined),
  )

/** The etag of a file, found by reading all of it. */
export const etagOfFile: (
  file: SegmentFile,
) => Effect.Effect<{ readonly etag: string; readonly lengthBytes: number }, Unavailable> = Effect.fnUntraced(
  function* (file) {
    const checksum = crc64Start()
    const buffer = new Uint8Array(pieceBytes)
    let lengthBytes = 0
    for (;;) {
      const count = yield* file.read(buffer, 0, buffer.length, lengthBytes)
      if (count === 0) break
      checksum.update(buffer.subarray(0, count))
      lengthBytes += count
    }
    return { etag: etagOf(lengthBytes, checksum.digest()), lengthBytes }
  },
)

/** Bytes `[offset, offset + length)` of a file, fewer at its end, in `into` where that is given. */
export const readRange: (file: SegmentFile, range: ObjectRange) => Effect.Effect<Uint8Array, Unavailable> =
  Effect.fnUntraced(function* (file, { offset, length, into }) {
    const buffer = into?.subarray(0, length) ?? new Uint8Array(length)
    let used = 0
    while (used < length) {
      const end = Math.min(length, used + pieceBytes)
      const count = yield* file.read(buffer, used, end, offset + used)
      if (count === 0) break
      used += count
    }
    if (used === length) return buffer
    return into === undefined ? buffer.slice(0, used) : buffer.subarray(0, used)
  })

/** The length of an open file. */
export const sizeOfOpen = (file: SegmentFile): Effect.Effect<number, Unavailable> =>
  Effect.try({ try: () => file.sizeUnsafe(), catch: onlyUnavailable })

/** The folder that a path is in. */
export const folderOf = (path: string): string => {
  const end = path.lastIndexOf("/")
  if (end < 0) return "."
  return end === 0 ? "/" : path.slice(0, end)
}
