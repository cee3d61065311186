/** Pieces of a body as they are sent: whole in memory, with the checksums of what was pulled. */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import type { Crc64 } from "../format/checksum.ts"
import type { ObjectBody } from "../port/object_store.ts"
import type { StoreError } from "../port/store_error.ts"
import { pullPiece } from "./object_checks.ts"

/** Bytes that are ready to be sent. */
export interface S3Part {
  readonly bytes: Uint8Array
  /** SHA-256 in hex: it is part of the signature, so that a server refuses what was damaged on its way. */
  readonly sha256: string
}

/** Pulls `[offset, offset + length)` of a body and adds it to `checksum`, with a turn of the event loop between two pieces. */
export const takePart: (
  key: string,
  body: ObjectBody,
  range: { readonly offset: number; readonly length: number; readonly checksum: Crc64 },
) => Effect.Effect<S3Part, StoreError> = Effect.fnUntraced(function* (key, body, { offset, length, checksum }) {
  const bytes = new Uint8Array(length)
  const sha256 = createHash("sha256")
  const end = offset + length
  for (let at = offset; at < end; ) {
    const piece = yield* pullPiece(key, { lengthBytes: end, read: body.read }, at)
    bytes.set(piece, at - offset)
    checksum.update(piece)
    sha256.update(piece)
    at += piece.length
    yield* Effect.yieldNow
  }
  return { bytes, sha256: sha256.digest("hex") }
})
