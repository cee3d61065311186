/** Points `current.sealed` of a stream to a segment. */
import type * as Effect from "effect/Effect"
import { encodeSealedPointer, type SealedPointer } from "../../format/sealed_pointer.ts"
import type { AofError } from "../../model/errors.ts"
import { pointerPath } from "../files/paths.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"
import type { StreamState } from "../stream/stream_state.ts"

/** Replaces the pointer; comes before the manifest learns of the seal. */
export const replacePointer = (stream: StreamState, sealed: SealedPointer): Effect.Effect<void, AofError> =>
  replaceSmallFile(stream.services.directory, {
    folder: stream.path,
    path: pointerPath(stream.path),
    bytes: encodeSealedPointer(sealed),
  })
