/**
 * The files of the local manifest that the bucket has to have: the newest snapshot and the sealed chunks behind it. Follows the hooks of
 * the manifest; what was uploaded keeps its key.
 */
import * as Effect from "effect/Effect"
import { crc64 } from "../../format/checksum.ts"
import type { HeadFile } from "../../format/head_object.ts"
import { manifestKindLog, manifestKindSnapshot } from "../../format/manifest_chunk.ts"
import { manifestReason } from "../../format/manifest_reason.ts"
import { type AofError, corrupt } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { attempt } from "../flow/attempt.ts"
import type { SealedChunk, WrittenSnapshot } from "../manifest/manifest_hooks.ts"
import type { ManifestLog } from "../manifest/manifest_log.ts"
import { rootIdText } from "./head_fence.ts"
import type { HeadStore } from "./head_store.ts"

interface LocalFile {
  readonly kind: number
  readonly path: string
  readonly chunkSequence: number
  readonly bytes: number
  readonly firstRecordSequence: number
  /** The epoch that the root had when it was told of: a writer before may have put it under a key with that one. */
  readonly epoch: number
  uploaded: HeadFile | undefined
}

/** What an upload is done with. */
export interface BucketFilesOptions {
  readonly directory: Directory
  readonly headStore: HeadStore
  readonly manifest: Pick<ManifestLog, "renew" | "state">
  readonly root: { readonly rootId: Uint8Array }
  /** That of the writer: part of keys. */
  readonly epoch: number
}

/** The key of a file of the manifest: never used for other bytes, as it names their checksum. */
const fileKey = (
  rootId: string,
  file: Pick<LocalFile, "chunkSequence" | "kind" | "epoch">,
  { checksum64, replacement = 0 }: { readonly checksum64: bigint; readonly replacement?: number },
): string => {
  const sequence = String(file.chunkSequence).padStart(10, "0")
  const kind = file.kind === manifestKindSnapshot ? "snapshot" : "chunk"
  const suffix = replacement === 0 ? "" : `-r${replacement}`
  return `${rootId}/manifest/${sequence}-e${file.epoch}-${checksum64.toString(16).padStart(16, "0")}${suffix}.${kind}`
}

/** The number of the file in such a key. */
const sequenceOf = (key: string): number => Number(/\/manifest\/(\d{10})-/.exec(key)?.[1] ?? 0)

export class BucketFiles {
  #snapshot: LocalFile | undefined = undefined
  #chunks: Array<LocalFile> = []
  /** Keys of this root's manifest that are, or may be, in the bucket. */
  readonly #keys: Set<string> = new Set()
  /** Keys of files that are here, which were queued for removal: a DELETE without an answer may come late, so they are not used again. */
  readonly #givenUp: Set<string> = new Set()

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
    for (const key of this.#givenUp) if (sequenceOf(key) < chunkSequence) this.#givenUp.delete(key)
  }

  /** A file of the manifest was queued for removal. */
  giveUp(key: string): void {
    if (sequenceOf(key) >= (this.#snapshot?.chunkSequence ?? 0)) this.#givenUp.add(key)
  }

  /** Begins anew with another bucket, which has `there`. */
  restart(there: ReadonlyArray<HeadFile>): void {
    for (const file of this.#files()) file.uploaded = undefined
    this.#keys.clear()
    this.noteThere(there)
  }

  /** Notes the files that the bucket has. */
  noteThere(files: ReadonlyArray<HeadFile>): void {
    for (const { key } of files) this.#keys.add(key)
  }

  /** True for the key of a file that is, or may be, in the bucket for this root. */
  has(key: string): boolean {
    return this.#keys.has(key)
  }

  /** True for the key of a file that is in the bucket, and that the next HEAD names as things are. */
  isUploaded(key: string): boolean {
    return this.#files().some(({ uploaded }) => uploaded?.key === key)
  }

  /** Queues what `files` does not name (any more) for removal at `notBeforeMs`. */
  readonly retire: (
    manifest: ManifestLog,
    files: ReadonlyArray<HeadFile>,
    notBeforeMs: number,
  ) => Effect.Effect<void, AofError> = Effect.fnUntraced(
    { self: this },
    function* (manifest: ManifestLog, files: ReadonlyArray<HeadFile>, notBeforeMs: number) {
      const named = new Set(files.map(({ key }) => key))
      const unnamed = [...this.#keys].filter((key) => !named.has(key))
      if (unnamed.length === 0) return
      const queued = { streamId: 0, segmentIndex: 0, notBeforeMs, reasonCode: manifestReason.Requested }
      yield* attempt(() => {
        for (const key of unnamed) manifest.append({ type: "Tier2DeleteQueued", ...queued, key })
      })
      yield* manifest.commit
      // Not sooner: what could not be noted is noted with the next HEAD.
      for (const key of unnamed) this.#keys.delete(key)
    },
  )

  /** Brings to the bucket what it lacks and returns all files, the snapshot first. `there` are those that it is known to have. */
  readonly upload: (
    options: BucketFilesOptions,
    there: ReadonlyArray<HeadFile>,
  ) => Effect.Effect<ReadonlyArray<HeadFile>, AofError> = Effect.fnUntraced(
    { self: this },
    function* (options: BucketFilesOptions, there: ReadonlyArray<HeadFile>) {
      let files = yield* this.#uploadAll(options, there)
      if (files === undefined) {
        // What is on the disk is not the whole log, by damage: a snapshot is.
        yield* options.manifest.renew
        files = yield* this.#uploadAll(options, there)
      }
      return files ?? (yield* Effect.fail(corrupt("manifest", "its files are not the whole log")))
    },
  )

  /** Undefined when what is here is not the whole log. */
  readonly #uploadAll: (
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
        const rootId = rootIdText(options.root.rootId)
        const { deletes } = options.manifest.state
        const { epoch } = options
        // An earlier writer may have put it, and no HEAD names it: it goes, and may be on its way out.
        if (file.epoch > 0 && file.epoch < epoch) this.#keys.add(fileKey(rootId, file, { checksum64 }))
        let key = fileKey(rootId, { ...file, epoch }, { checksum64 })
        for (let replacement = 1; deletes.has(key) || this.#givenUp.has(key); replacement++)
          key = fileKey(rootId, { ...file, epoch }, { checksum64, replacement })
        const made = { kind, chunkSequence, firstRecordSequence, fileBytes: content.length, checksum64, key }
        this.#keys.add(key)
        yield* options.headStore.putFile(made, content)
        file.uploaded = made
      } else file.uploaded = known
    },
  )
}
