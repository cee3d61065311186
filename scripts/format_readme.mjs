// Writes src/format/README.md from the field tables. Run it with a runtime that reads TypeScript, such as Bun.

import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { formatReadme } from "../src/format/readme.ts"

writeFileSync(fileURLToPath(new URL("../src/format/README.md", import.meta.url)), formatReadme())
