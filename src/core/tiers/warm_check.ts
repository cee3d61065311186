/**
 * Whether a warm file is as it was made, which is asked before the last other copy goes. All of it is read and compared, unless that has
 * happened a moment ago and nobody has written into it since.
 */
import * as Effect from "effect/Effect"
import { type AofError, isMissingFile } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { FileStamp } from "../../port/segment_file.ts"
import { caught } from "../flow/attempt.ts"
import type { Residency } from "./residency.ts"
import type { TierServices } from "./tier_services.ts"

/** How long it counts that a warm file was right: what a medium forgets is not seen in its stamp. */
const momentMs = 10_000

/** Notes that the warm file, which has its name now, is right: out of frames that were all decoded and compared, and as it was `made`. */
export const noteWarmChecked = (
  { directory, clock }: TierServices,
  residency: Residency,
  made: FileStamp | undefined,
): void => {
  residency.warmChecked = undefined
  // Where it cannot be looked at it is read as a whole later.
  caught(() => {
    const { stamp } = lookAt(directory, residency.warmPath)
    if (stamp === undefined || stamp.written !== made?.written) return
    residency.warmChecked = { ms: clock.currentTimeMillisUnsafe(), stamp }
  })
}

/** True when the warm file is there as it was made. */
export const isWarmIntact = (
  { directory, clock, compressor }: TierServices,
  { warmPath, form, warmChecked }: Residency,
): Effect.Effect<boolean, AofError> =>
  Effect.suspend(() => {
    let file: FileLook | undefined
    const error = caught(() => {
      file = lookAt(directory, warmPath)
    })
    // What could not be looked at may be as it was.
    if (error !== undefined && !isMissingFile(error)) return Effect.fail(error)
    if (form === undefined || file?.lengthBytes !== form.fileBytes) return Effect.succeed(false)
    const isFresh = warmChecked !== undefined && clock.currentTimeMillisUnsafe() - warmChecked.ms < momentMs
    if (isFresh && isEqual(warmChecked.stamp, file.stamp)) return Effect.succeed(true)
    const checksum = compressor.checksum({ path: warmPath, lengthBytes: form.fileBytes })
    return Effect.map(checksum, (checksum64) => checksum64 === form.checksum64)
  })

interface FileLook {
  readonly lengthBytes: number
  readonly stamp: FileStamp | undefined
}

const lookAt = (directory: Directory, path: string): FileLook => {
  const file = directory.openUnsafe(path, "read")
  let look: FileLook = { lengthBytes: -1, stamp: undefined }
  const error = caught(() => {
    look = { lengthBytes: file.sizeUnsafe(), stamp: file.stampUnsafe?.() }
  })
  file.closeUnsafe()
  if (error !== undefined) throw error
  return look
}

const isEqual = (one: FileStamp, other: FileStamp | undefined): boolean =>
  one.written === other?.written && one.changed === other.changed
