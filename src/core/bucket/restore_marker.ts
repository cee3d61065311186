/**
 * The marker of a root that is being made from its bucket: what lies in the root is not to be trusted while it is there, and an open begins
 * anew. It says what the restore was for. That of an empty root goes on whoever has the root meanwhile, as the opening of any empty root does. That of a
 * root that is taken back goes on only where it has the root: where somebody else came first it has to be told again.
 */
import * as Effect from "effect/Effect"
import { isSameWriter } from "../../format/head_object.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"
import type { HeadName } from "./head_owner.ts"

/** What a restore was for. */
export interface RestoreMarker {
  /** The claims with which a root that had data may have taken its epoch, oldest first; undefined for a root that was empty. */
  readonly claims: ReadonlyArray<HeadName> | undefined
}

/** Claims that are kept: those of restores that were cut off one after the other. */
const claimsMax = 16
const markerPath = (root: string): string => `${root}/RESTORE`
const textOfEmpty = "this root is being made from its bucket\n"
const textOfTaken = "this root is being taken back from its bucket, as long as one of these claims has it\n"
const claimLine = /^claim ([1-9][0-9]{0,15}) ([0-9a-f]{32})$/gm

/** The marker; undefined when there is none. */
export const readMarker = (directory: Directory, root: string): Effect.Effect<RestoreMarker | undefined, AofError> =>
  Effect.map(directory.readFile(markerPath(root)), (bytes) => {
    if (bytes === undefined) return undefined
    const text = new TextDecoder().decode(bytes)
    if (text === textOfEmpty) return { claims: undefined }
    const claims = [...text.matchAll(claimLine)].map(([, epoch, nonce]) => ({
      epoch: Number(epoch),
      nonce: Uint8Array.from(nonce!.match(/../g)!, (byte) => Number.parseInt(byte, 16)),
    }))
    return { claims }
  })

/** Puts the marker, durably. */
export const putMarker = (
  directory: Directory,
  root: string,
  { claims }: RestoreMarker,
): Effect.Effect<void, AofError> => {
  const lines = claims?.slice(-claimsMax).map(({ epoch, nonce }) => `claim ${epoch} ${hexOf(nonce)}\n`)
  const text = lines === undefined ? textOfEmpty : textOfTaken + lines.join("")
  return replaceSmallFile(directory, {
    folder: root,
    path: markerPath(root),
    bytes: new TextEncoder().encode(text),
  })
}

/** Removes the marker, durably: the root is whole, and its manifest knows its own epoch, or it is as it was before. */
export const removeMarker: (directory: Directory, root: string) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (directory, root) {
    yield* directory.remove(markerPath(root))
    yield* directory.sync(root)
  },
)

/** True when the restore may go on where the bucket has this HEAD. */
export const goesOnWith = ({ claims }: RestoreMarker, head: HeadName): boolean =>
  claims === undefined || claims.some((one) => one.epoch === head.epoch && isSameWriter(one.nonce, head.nonce))

const hexOf = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")
