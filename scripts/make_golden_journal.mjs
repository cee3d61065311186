// Writes the golden journal file of version 1 once, from test/support; never over one that is there. Run it with Bun.

import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { makeJournalSample } from "../test/support/journal_sample.ts"

const target = fileURLToPath(new URL("../test/golden/v1/journal/0.jnl", import.meta.url))
if (existsSync(target)) {
  console.error(`${target} is there: golden files are never made again`)
  process.exit(1)
}
mkdirSync(dirname(target), { recursive: true })
writeFileSync(target, makeJournalSample())
