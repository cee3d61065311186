/** Looks into the manifest of a root with the services of the context. */
import * as Effect from "effect/Effect"
import type { ManifestInspection } from "../core/manifest/manifest_inspector.ts"
import type { AofError } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import { InspectedManifest, inspectRoot } from "./inspected_manifest.ts"

/** A manifest as it was when it was opened. Holds no file. */
export class ManifestInspector extends InspectedManifest {
  /** Reads the manifest of a root; nothing is locked or written. Fails like the main module's; damage is reported by the inspector. */
  static open(root: string): Effect.Effect<ManifestInspector, AofError, Directory> {
    return Effect.map(inspectRoot(root), (inspection: ManifestInspection) => new ManifestInspector(inspection))
  }
}
