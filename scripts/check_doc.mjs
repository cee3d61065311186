// `deno doc --lint` reports every public type that names a type of Effect as `private-type-ref`, since it sees no
// declaration of it in this package. Those findings, and no others, are dropped here. A finding gives the line number
// and the text of the declaration that it means, but not its file: it is looked up in the declarations of Effect.

import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { capture } from "./process.mjs"
import { rootDirectory, runtimePath } from "./runtimes.mjs"

/** `{ code, output }`: the findings that are left, 0 if there are none. */
export async function checkDocumentation(files) {
  const env = { ...process.env, NO_COLOR: "1" }
  const { code, output } = await capture(runtimePath("deno"), ["doc", "--lint", ...files], { cwd: rootDirectory, env })
  if (code === 0) return { code, output: "" }
  const findings = output.split(/\n(?=error(?:\[|:))/).filter((part) => /^error\[/.test(part))
  // Without a finding it was something else that failed, such as a file that is not there.
  if (findings.length === 0) return { code, output }
  const left = findings.filter((finding) => !isEffectType(finding))
  return { code: left.length === 0 ? 0 : 1, output: left.join("\n") }
}

const referencedType = /\n\s*(\d+) \| (.*)\n\s*\|\s*-+ this is the referenced type/

function isEffectType(finding) {
  const [, line, text] = finding.startsWith("error[private-type-ref]") ? (referencedType.exec(finding) ?? []) : []
  return line !== undefined && effectDeclarations().has(`${line} ${text.trim()}`)
}

let declarations

/** Every line of Effect's declaration files, with its number in front. */
function effectDeclarations() {
  if (declarations) return declarations
  const directory = join(rootDirectory, "node_modules", "effect", "dist")
  const files = readdirSync(directory, { recursive: true }).filter((name) => name.endsWith(".d.ts"))
  declarations = new Set()
  for (const name of files) {
    const text = readFileSync(join(directory, name), "utf8")
    text.split("\n").forEach((line, index) => {
      declarations.add(`${index + 1} ${line.trim()}`)
    })
  }
  return declarations
}
