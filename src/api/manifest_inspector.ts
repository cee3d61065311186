/** Looks into the manifest of a root, for people and tools: read-only, beside a living writer, and whatever is damaged. */
import * as Effect from "effect/Effect"
import { attempt } from "../core/flow/attempt.ts"
import type { InspectedFile, InspectedRecord } from "../core/manifest/manifest_inspection.ts"
import { type InspectedStream, inspectManifest, type ManifestInspection } from "../core/manifest/manifest_inspector.ts"
import { type PlainJson, plainJson } from "../core/plain_json.ts"
import { checkNames } from "../model/config_check.ts"
import { type AofError, invalidArgument } from "../model/errors.ts"
import type { ManifestDamage } from "../model/manifest_metrics.ts"
import { absolutePath, Directory } from "../port/directory.ts"
import { runPromise } from "./promise.ts"

/** Set by the class, so that nobody outside sees of what an inspector is made. */
let makeInspector: (inspection: ManifestInspection) => ManifestInspector

/** Inspects a root with the services of the context. Fails like `ManifestInspector.open`. */
export const openInspector = (root: string): Effect.Effect<ManifestInspector, AofError, Directory> =>
  Effect.gen(function* () {
    const directory = yield* Directory
    const path = yield* attempt(() => absolutePath(directory, root))
    return makeInspector({ ...(yield* inspectManifest(path)), root })
  })

/** A manifest as it was when it was opened. Holds no file. */
export class ManifestInspector {
  static {
    makeInspector = (inspection) => new ManifestInspector(inspection)
  }

  readonly #inspection: ManifestInspection

  private constructor(inspection: ManifestInspection) {
    this.#inspection = inspection
  }

  /**
   * Reads the manifest of a root with the adapter of the runtime that this is; nothing is locked or written. Rejects with
   * `InvalidArgument` when `root` is no path, `NotFound` when it is not there and `Unavailable` when the disk fails; damage is reported by the inspector, and never rejects.
   */
  static async open(
    root: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<ManifestInspector> {
    if (typeof root !== "string" || root === "") throw invalidArgument("root", root, "a path")
    checkNames("option", options, ["signal"])
    return runPromise(openInspector(root).pipe(Effect.provide(await directoryLayer())), options.signal)
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

/** The adapter of this runtime, loaded when it is needed. */
const directoryLayer = async () => {
  if ("Bun" in globalThis) return (await import("../runtime/bun.ts")).layer
  if ("Deno" in globalThis) return (await import("../runtime/deno.ts")).layer
  return (await import("../runtime/node.ts")).layer
}
