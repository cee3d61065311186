/**
 * The files of the local manifest that the bucket has to have: the newest snapshot and the sealed chunks behind it. Follows the hooks of
 * the manifest; what was uploaded keeps its key.
 */
import * as Effect from "effect/Effect"
import { crc64 } from "../../format/checksum.ts"
import type { HeadFile } from "../../format/head_object.ts"
import { manifestKindLog, manifestKindSnapshot } from "../../format/manifest_chunk.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { SealedChunk, WrittenSnapshot } from "../manifest/manifest_hooks.ts"
import type { HeadStore } from "./head_store.ts"

interface LocalFile {
  readonly kind: number
  readonly path: string
  readonly chunkSequence: number
  readonly bytes: number
  readonly firstRecordSequence: number
  /** Part of its key: the epoch that the root had when it was told of. */
  readonly epoch: number
  uploaded: HeadFile | undefined
}

/** What an upload is done with. */
export interface BucketFilesOptions {
  readonly directory: Directory
  readonly headStore: HeadStore
  /** The root id as text: the first part of each key. */
  readonly rootId: string
}

/** The key of a file of the manifest: never used for other bytes, as it names their checksum. */
const fileKey = (rootId: string, file: LocalFile, checksum64: bigint): string => {
  const sequence = String(file.chunkSequence).padStart(10, "0")
  const kind = file.kind === manifestKindSnapshot ? "snapshot" : "chunk"
  return `${rootId}/manifest/${sequence}-e${file.epoch}-${checksum64.toString(16).padStart(16, "0")}.${kind}`
}

export class BucketFiles {
  #snapshot: LocalFile | undefined = undefined
  #chunks: Array<LocalFile> = []
  /** Keys of this root's manifest that are, or may be, in the bucket. */
  readonly #keys: Set<string> = new Set()

  /** A chunk takes no more records. */
  addChunk(chunk: SealedChunk, epoch: number): void {
    const { path, chunkSequence, bytes, firstRecordSequence } = chunk
    if (chunkSequence <= (this.#snapshot?.chunkSequence ?? 0)) return
    const kind = manifestKindLog
    this.#chunks.push({ kind, path, chunkSequence, bytes, firstRecordSequence, epoch, uploaded: undefined })
  }

  /** A snapshot stands for all chunks up to its number. */
  addSnapshot(snapshot: WrittenSnapshot, epoch: number): void {
    const { path, chunkSequence, bytes, coversSequence } = snapshot
    const kind = manifestKindSnapshot
    const firstRecordSequence = coversSequence + 1
    this.#snapshot = { kind, path, chunkSequence, bytes, firstRecordSequence, epoch, uploaded: undefined }
    this.#chunks = this.#chunks.filter((chunk) => chunk.chunkSequence > chunkSequence)
  }

  /** Notes the files that the bucket has. */
  noteThere(files: ReadonlyArray<HeadFile>): void {
    for (const { key } of files) this.#keys.add(key)
  }

  /** True for the key of a file that is, or may be, in the bucket for this root. */
  has(key: string): boolean {
    return this.#keys.has(key)
  }

  /** Forgets and returns the keys that `files` does not name (any more). */
  takeUnnamed(files: ReadonlyArray<HeadFile>): ReadonlyArray<string> {
    const named = new Set(files.map(({ key }) => key))
    const unnamed = [...this.#keys].filter((key) => !named.has(key))
    for (const key of unnamed) this.#keys.delete(key)
    return unnamed
  }

  /**
   * Brings to the bucket what it lacks and returns all files, the snapshot first. `there` are those that it is known to have. Undefined
   * when what is here is not the whole log.
   */
  readonly upload: (
    options: BucketFilesOptions,
    there: ReadonlyArray<HeadFile>,
  ) => Effect.Effect<ReadonlyArray<HeadFile> | undefined, AofError> = Effect.fnUntraced(
    { self: this },
    function* (options: BucketFilesOptions, there: ReadonlyArray<HeadFile>) {
      for (;;) {
        // A snapshot that comes meanwhile takes the place of files, which are removed behind it.
        const files = this.#files()
        const next = files.find((file) => file.uploaded === undefined)
        if (next === undefined) {
          const isWhole = files.length === 0 || files[0] === this.#snapshot || files[0]?.firstRecordSequence === 1
          return isWhole ? files.map((file) => file.uploaded!) : undefined
        }
        const content = yield* options.directory.readFile(next.path)
        if (content === undefined || content.length < next.bytes) {
          if (this.#files().includes(next)) return undefined
          continue
        }
        yield* this.#uploadOne(options, { file: next, content: content.subarray(0, next.bytes) }, there)
      }
    },
  )

  #files(): ReadonlyArray<LocalFile> {
    return this.#snapshot === undefined ? this.#chunks : [this.#snapshot, ...this.#chunks]
  }

  readonly #uploadOne = Effect.fnUntraced(
    { self: this },
    function* (
      options: BucketFilesOptions,
      { file, content }: { readonly file: LocalFile; readonly content: Uint8Array },
      there: ReadonlyArray<HeadFile>,
    ): Effect.fn.Return<void, AofError> {
      const checksum64 = crc64(content)
      const { kind, chunkSequence, firstRecordSequence } = file
      const known = there.find(
        (one) =>
          one.kind === kind &&
          one.chunkSequence === chunkSequence &&
          one.checksum64 === checksum64 &&
          one.fileBytes === content.length,
      )
      if (known === undefined) {
        const key = fileKey(options.rootId, file, checksum64)
        const made = { kind, chunkSequence, firstRecordSequence, fileBytes: content.length, checksum64, key }
        this.#keys.add(key)
        yield* options.headStore.putFile(made, content)
        file.uploaded = made
      } else file.uploaded = known
    },
  )
}
