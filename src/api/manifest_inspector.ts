/** Looks into the manifest of a root, for people and tools. */
import * as Effect from "effect/Effect"
import { checkNames } from "../model/config_check.ts"
import { InspectedManifest, inspectRoot } from "./inspected_manifest.ts"
import { runPromise } from "./promise.ts"

/** A manifest as it was when it was opened. Holds no file. */
export class ManifestInspector extends InspectedManifest {
  /**
   * Reads the manifest of a root with the adapter of the runtime that this is; nothing is locked or written. Rejects with
   * `InvalidArgument` when `root` is no path, `NotFound` when it is not there and `Unavailable` when the disk fails; damage is reported by the inspector, and never rejects.
   */
  static async open(
    root: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<ManifestInspector> {
    checkNames("option", options, ["signal"])
    const inspected = inspectRoot(root).pipe(Effect.provide(await directoryLayer()))
    return new ManifestInspector(await runPromise(inspected, options.signal))
  }
}

/** The adapter of this runtime, loaded when it is needed. */
const directoryLayer = async () => {
  if ("Bun" in globalThis) return (await import("../runtime/bun.ts")).layer
  if ("Deno" in globalThis) return (await import("../runtime/deno.ts")).layer
  return (await import("../runtime/node.ts")).layer
}
