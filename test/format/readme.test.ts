// README.md is what the field tables print.

import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { formatReadme } from "../../src/format/readme.ts"

test("README.md is printed from the tables (scripts/format_readme.mjs writes it)", () => {
  const path = fileURLToPath(new URL("../../src/format/README.md", import.meta.url))
  expect(readFileSync(path, "utf8") === formatReadme()).toBe(true)
})
