// Writes test/golden/v1 and its second set once, from test/support; never over a folder that is there. Run it with Bun.

import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describeStore } from "../test/support/describe_store.ts"
import { makeTypesManifest } from "../test/support/manifest_samples.ts"
import { makeSampleStore } from "../test/support/sample_store.ts"

const golden = fileURLToPath(new URL("../test/golden/v1", import.meta.url))
const rootId = Uint8Array.from({ length: 16 }, (_, index) => 0xb0 + index)
// The second set, of every type of manifest record, came later.
const sets = [
  [golden, makeSampleStore],
  [join(golden, "types"), () => makeTypesManifest(rootId, 17)],
]
for (const [folder, make] of sets) {
  if (existsSync(folder)) {
    console.error(`${folder} is there: golden files are never made again`)
    continue
  }
  const files = make()
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), bytes)
  }
  writeFileSync(join(folder, "expected.json"), `${JSON.stringify(describeStore(files), undefined, 1)}\n`)
}
