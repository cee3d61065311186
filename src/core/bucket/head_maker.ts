/**
 * Makes the HEADs of one writer. Each has a name of its own, which the manifest knows before the HEAD is put, so that the root knows all HEADs
 * that may be its own.
 */
import { epochBase, type HeadObject, nonceOf, nonceWriterBytes } from "../../format/head_object.ts"
import type { ManifestEvent } from "../../format/manifest_record.ts"
import type { ManifestLog } from "../manifest/manifest_log.ts"
import { type HeadName, OwnHeads } from "./head_owner.ts"
import type { FoundHead } from "./head_store.ts"

/** What it is made of. */
export interface HeadMakerOptions {
  readonly root: { readonly rootId: Uint8Array; readonly createdMs: number }
  readonly wallMs: () => number
  readonly random32: () => number
}

export class HeadMaker {
  /** The HEADs that the root knows as its own. */
  readonly own: OwnHeads = new OwnHeads()
  readonly #options: HeadMakerOptions
  readonly #writer: Uint8Array
  #count = 0

  constructor(options: HeadMakerOptions) {
    this.#options = options
    this.#writer = new Uint8Array(nonceWriterBytes).map(() => options.random32() & 255)
  }

  /** The HEADs from here on have the next name. */
  next(): void {
    this.#count++
  }

  /** Appends the record that tells the manifest the name of the next HEAD, and with `base` of the one that it takes over from. Returns its sequence. */
  append(manifest: ManifestLog, epoch: number, base: HeadName | undefined): number {
    const nonce = nonceOf(this.#writer, this.#count)
    const rest = base === undefined ? undefined : new Uint8Array(epochBase.sizeBytes)
    if (base !== undefined && rest !== undefined) epochBase.encode(rest, 0, base)
    this.own.add({ epoch, nonce })
    return manifest.append({ type: "Epoch", streamId: 0, epoch, nonce, rest } as ManifestEvent)
  }

  /** A HEAD. */
  head(epoch: number, what: Pick<HeadObject, "epochSequence" | "lastSequence" | "files" | "isMoved">): HeadObject {
    const { root, wallMs } = this.#options
    const nonce = nonceOf(this.#writer, this.#count)
    return { ...what, rootId: root.rootId, rootCreatedMs: root.createdMs, epoch, nonce, writtenMs: wallMs() }
  }

  /** The one that takes over from `found`: it names the files of that one. */
  claimOf(found: FoundHead | undefined): HeadObject {
    const { epoch = 0, lastSequence = 0, files = [] } = found?.head ?? {}
    return this.head(Math.max(epoch, this.own.epoch) + 1, { epochSequence: lastSequence + 1, lastSequence, files })
  }
}
