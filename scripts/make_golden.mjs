// Writes test/golden/v1 once, from test/support/sample_store.ts; never over a file that is there. Run it with Bun.

import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { loadCrc64 } from "../src/format/checksum.ts"
import { describeStore } from "../test/support/describe_store.ts"
import { makeSampleStore } from "../test/support/sample_store.ts"

const folder = fileURLToPath(new URL("../test/golden/v1", import.meta.url))
if (existsSync(folder)) {
  console.error(`${folder} is there: golden files are never made again`)
  process.exit(1)
}
await loadCrc64()
const files = makeSampleStore()
for (const [path, bytes] of files) {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), bytes)
}
writeFileSync(join(folder, "expected.json"), `${JSON.stringify(describeStore(files), undefined, 1)}\n`)
