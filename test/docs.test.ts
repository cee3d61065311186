// The programs in README.md and docs/guide.md run as they stand there, on this runtime, and print what the text says.

import { afterAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { currentRuntime, rootDirectory, runtimeCommand } from "../scripts/runtimes.mjs"
import { runSuccessfully } from "./support/run_process.ts"

interface Program {
  readonly line: number
  readonly extension: string
  readonly source: string
  readonly output: string | undefined
}

/** Below the repository, so that the package can be imported by its name. */
const parent = join(rootDirectory, "data")
mkdirSync(parent, { recursive: true })
const scratch = mkdtempSync(join(parent, "docs-"))

afterAll(() => rmSync(scratch, { recursive: true, force: true }))

for (const file of ["README.md", "docs/guide.md"]) {
  describe(file, () => {
    const programs = runnablePrograms(readFileSync(join(rootDirectory, file), "utf8"))
    test("there are programs in it", () => expect(programs.length).toBeGreaterThan(0))

    test.each(programs.map((program) => [program.line, program] as const))(
      "the program at line %i runs and prints what follows it",
      async (line, { source, extension, output }) => {
        const directory = join(scratch, `${file.replace(/\W/g, "_")}_${line}`)
        mkdirSync(directory)
        const path = join(directory, `main.${extension}`)
        writeFileSync(path, source)
        const printed = await runSuccessfully(runtimeCommand(currentRuntime, path), directory)
        if (output !== undefined) expect(printed).toBe(output)
      },
      60_000,
    )
  })
}

/** Blocks that say `js runnable` or `ts runnable`, each with the `text output` block behind it, if there is one. */
function runnablePrograms(text: string): ReadonlyArray<Program> {
  const pattern = /^```(js|ts) runnable\n(.*?)^```\n(?:\n```text output\n(.*?)^```\n)?/gms
  return [...text.matchAll(pattern)].map((match) => ({
    line: text.slice(0, match.index).split("\n").length,
    extension: match[1] === "ts" ? "ts" : "mjs",
    source: match[2]!,
    output: match[3],
  }))
}
