/**
 * Keys of a directory in the order of their bytes. A folder sorts as its name with the slash behind it, because that is what the
 * keys in it begin with: `a-b` comes before `a/b`, and `a/b` before `a0`.
 */
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import type { ObjectPage } from "../port/object_store.ts"
import { fileSize } from "./directory_content.ts"
import { orWhenMissing } from "./directory_error.ts"
import { isKeyPart, keyBytesMax } from "./object_checks.ts"

export interface Listing {
  /** The folder that the keys are below. */
  readonly root: string
  readonly prefix: string
  readonly after: string | undefined
  readonly limit: number
}

type Found = Array<ObjectPage["objects"][number]>

/** One page. Files whose names cannot be keys are left out. */
export const listPage: (directory: Directory, listing: Listing) => Effect.Effect<ObjectPage, Unavailable> =
  Effect.fnUntraced(function* (directory, listing) {
    const found: Found = []
    yield* walk(directory, listing, { folder: "", found })
    const objects = found.slice(0, listing.limit)
    return { objects, next: found.length > listing.limit ? objects.at(-1)?.key : undefined }
  })

/** Adds what is below `folder`, which is empty or ends with a slash, until one more is found than fits on the page. */
const walk: (
  directory: Directory,
  listing: Listing,
  at: { readonly folder: string; readonly found: Found },
) => Effect.Effect<void, Unavailable> = Effect.fnUntraced(function* (directory, listing, { folder, found }) {
  const entries = yield* orWhenMissing(directory.list(`${listing.root}/${folder}`), [])
  const names = entries
    .filter(({ name }) => isKeyPart(name) && folder.length + name.length <= keyBytesMax)
    .map(({ name, isDirectory }) => (isDirectory ? `${name}/` : name))
    .sort()
  for (const name of names) {
    if (found.length > listing.limit) return
    const key = folder + name
    if (name.endsWith("/")) {
      if (mayHold(key, listing)) yield* walk(directory, listing, { folder: key, found })
      continue
    }
    if (!key.startsWith(listing.prefix) || (listing.after !== undefined && key <= listing.after)) continue
    const lengthBytes = yield* fileSize(directory, `${listing.root}/${key}`)
    if (lengthBytes !== undefined) found.push({ key, lengthBytes })
  }
})

/** True when some key below `folder` may have the prefix and come after the last one. */
const mayHold = (folder: string, { prefix, after }: Listing): boolean => {
  if (!folder.startsWith(prefix) && !prefix.startsWith(folder)) return false
  return after === undefined || after.startsWith(folder) || folder > after
}
