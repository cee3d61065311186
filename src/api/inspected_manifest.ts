/** What was found in the manifest of a root, as both dresses show it: read-only, beside a living writer, and whatever is damaged. */
import * as Effect from "effect/Effect"
import { attempt } from "../core/flow/attempt.ts"
import type { InspectedFile, InspectedRecord } from "../core/manifest/manifest_inspection.ts"
import { type InspectedStream, inspectManifest, type ManifestInspection } from "../core/manifest/manifest_inspector.ts"
import { type PlainJson, plainJson } from "../core/plain_json.ts"
import { type AofError, invalidArgument } from "../model/errors.ts"
import type { ManifestDamage } from "../model/manifest_metrics.ts"
import { absolutePath, Directory } from "../port/directory.ts"

/** Inspects a root with the services of the context. */
export const inspectRoot = (root: string): Effect.Effect<ManifestInspection, AofError, Directory> =>
  Effect.gen(function* () {
    const directory = yield* Directory
    const path = yield* attempt(() => {
      if (typeof root !== "string" || root === "") throw invalidArgument("root", root, "a path")
      return absolutePath(directory, root)
    })
    return { ...(yield* inspectManifest(path)), root }
  })

/** A manifest as it was when it was opened. What `ManifestInspector` extends. */
export class InspectedManifest {
  readonly #inspection: ManifestInspection

  /** For `ManifestInspector.open`. */
  protected constructor(inspection: ManifestInspection) {
    this.#inspection = inspection
  }

  /** Everything that was found. */
  get inspection(): ManifestInspection {
    return this.#inspection
  }

  /** Every file of the manifest, in order of name. */
  get files(): ReadonlyArray<InspectedFile> {
    return this.#inspection.files
  }

  /** Every record that checks, in order of file and offset; those of snapshots have sequences of their own. */
  get records(): ReadonlyArray<InspectedRecord & { readonly file: string }> {
    return this.files.flatMap((file) => file.records.map((record) => ({ file: file.name, ...record })))
  }

  /** The streams, with their segments and the copies of these. */
  get streams(): ReadonlyArray<InspectedStream> {
    return this.#inspection.streams
  }

  /** What a replay finds out of order; empty for an intact manifest. */
  get damage(): ReadonlyArray<ManifestDamage> {
    return this.#inspection.damage
  }

  /** All of it as plain JSON: bigints as decimal text, bytes as hexadecimal text, what is not there as null. */
  toJSON(): PlainJson {
    return plainJson(this.#inspection)
  }
}
