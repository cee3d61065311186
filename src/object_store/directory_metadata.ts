/**
 * Metadata of objects in a directory: `<path>/meta/<key>/.<etag>`, a small JSON file that is there only for an object that has some.
 *
 * It is named by the etag of the content that it belongs to, so that an object and its metadata change in one step: the file for new
 * content is durable before the content is, and one without its content means nothing. Only the holder of the store's lock changes them.
 */
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import { type StoreError, storeError } from "../port/store_error.ts"
import { folderOf } from "./directory_content.ts"
import { fileError, orWhenMissing } from "./directory_error.ts"
import type { TempFolder } from "./directory_temp.ts"

/** Metadata as the port has it. */
export type Metadata = Readonly<Record<string, string>>

/** Larger than the JSON of the largest metadata that may be put. */
const sidecarBytesMax = 64 * 1024

export interface SidecarPorts {
  readonly directory: Directory
  readonly temp: TempFolder
  /** Makes a folder of the store and its parents durable. */
  readonly ensureFolder: (folder: string) => Effect.Effect<void, Unavailable>
}

export class Sidecars {
  readonly #ports: SidecarPorts
  readonly #root: string

  constructor(ports: SidecarPorts, path: string) {
    this.#ports = ports
    this.#root = `${path}/meta`
  }

  /** The names of all sidecars of a key, those included whose content is not there. */
  readonly names = (key: string): Effect.Effect<ReadonlyArray<string>, Unavailable> =>
    Effect.map(orWhenMissing(this.#ports.directory.list(this.#folderOf(key)), []), (entries) =>
      entries.filter(({ name, isDirectory }) => !isDirectory && name.startsWith(".")).map(({ name }) => name),
    )

  /** The metadata of the object with this content. */
  readonly read = (key: string, etag: string): Effect.Effect<Metadata, StoreError> =>
    this.#readSmall(`${this.#folderOf(key)}/.${etag}`).pipe(
      (reading) => orWhenMissing(reading, undefined),
      Effect.mapError((error) => fileError("head", key, error)),
      Effect.flatMap((bytes) => {
        const metadata = bytes === undefined ? {} : decode(bytes)
        return metadata === undefined
          ? Effect.fail(storeError("Invalid", "head", key, "BadMetadata"))
          : Effect.succeed(metadata)
      }),
    )

  /** The file, or no bytes at all when it is larger than any that was written here: that is no metadata. */
  #readSmall(path: string): Effect.Effect<Uint8Array | undefined, Unavailable> {
    const { directory } = this.#ports
    return Effect.flatMap(directory.sizeOf(path), (size) => {
      if (size === undefined) return Effect.succeed(undefined)
      return size > sidecarBytesMax ? Effect.succeed(new Uint8Array(0)) : directory.readFile(path)
    })
  }

  /** Makes the metadata of content durable, before the content is put in place; none removes what may be left from earlier. */
  readonly write = (key: string, etag: string, metadata: Metadata): Effect.Effect<void, Unavailable> =>
    Object.keys(metadata).length === 0 ? this.#remove(key, [`.${etag}`]) : this.#replace(key, `.${etag}`, metadata)

  /** Removes all sidecars of a key but one, durably. */
  readonly removeOthers = (key: string, etag: string | undefined): Effect.Effect<void, Unavailable> =>
    Effect.flatMap(this.names(key), (names) =>
      this.#remove(
        key,
        names.filter((name) => name !== `.${etag}`),
      ),
    )

  #replace = Effect.fnUntraced(function* (
    this: Sidecars,
    key: string,
    name: string,
    metadata: Metadata,
  ): Effect.fn.Return<void, Unavailable> {
    const { directory, temp, ensureFolder } = this.#ports
    const folder = this.#folderOf(key)
    const bytes = new TextEncoder().encode(`${JSON.stringify(metadata)}\n`)
    yield* ensureFolder(folder)
    const file = yield* temp.open
    const write = Effect.gen(function* () {
      yield* file.write(bytes, 0, bytes.length, 0)
      yield* file.syncData
      yield* directory.rename(file.path, `${folder}/${name}`)
      yield* directory.sync(folder)
      yield* directory.sync(folderOf(file.path))
    })
    yield* Effect.ensuring(
      write,
      Effect.suspend(() => {
        file.closeUnsafe()
        return Effect.ignore(directory.remove(file.path))
      }),
    )
  })

  #remove = Effect.fnUntraced(function* (
    this: Sidecars,
    key: string,
    names: ReadonlyArray<string>,
  ): Effect.fn.Return<void, Unavailable> {
    const { directory } = this.#ports
    const folder = this.#folderOf(key)
    const found = names.length === 0 ? [] : (yield* this.names(key)).filter((name) => names.includes(name))
    if (found.length === 0) return
    for (const name of found) yield* directory.remove(`${folder}/${name}`)
    yield* directory.sync(folder)
  })

  #folderOf(key: string): string {
    return `${this.#root}/${key}`
  }
}

/** Metadata from a file; undefined when it holds anything else. */
const decode = (bytes: Uint8Array): Metadata | undefined => {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined
    return Object.values(value).every((each) => typeof each === "string") ? (value as Metadata) : undefined
  } catch {
    return undefined
  }
}
