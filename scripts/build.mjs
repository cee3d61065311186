// Makes `dist/`: JavaScript and declarations for the npm package. Node runs no TypeScript below `node_modules`.

import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { capture } from "./process.mjs"
import { rootDirectory } from "./runtimes.mjs"

const directory = join(rootDirectory, "dist")

/** Gives the exit code of the compiler, and prints what it says if it fails. */
export async function build() {
  rmSync(directory, { recursive: true, force: true })
  const tsc = join(rootDirectory, "node_modules", "typescript", "bin", "tsc")
  const { code, output } = await capture(process.execPath, [tsc, "--project", "tsconfig.build.json"], {
    cwd: rootDirectory,
  })
  if (code !== 0) console.error(output)
  else {
    rewriteDeclarations()
    rewriteWorkers()
  }
  return code
}

/** The compiler rewrites `./x.ts` to `./x.js` in the code only; not every reader of declarations looks for `x.d.ts`. */
function rewriteDeclarations() {
  for (const name of readdirSync(directory, { recursive: true })) {
    if (!name.endsWith(".d.ts")) continue
    const path = join(directory, name)
    const text = readFileSync(path, "utf8")
    writeFileSync(path, text.replace(/((?:from|import) ?\(?")(\.{1,2}\/[^"]+)\.ts"/g, '$1$2.js"'))
  }
}

/** Nor does it rewrite the file of a worker, which is no import: `new URL("./x.ts", import.meta.url)`. */
function rewriteWorkers() {
  for (const name of readdirSync(directory, { recursive: true })) {
    if (!name.endsWith(".js")) continue
    const path = join(directory, name)
    const text = readFileSync(path, "utf8")
    const rewritten = text.replace(/(new URL\("\.{1,2}\/[^"]+)\.ts"(?=, import\.meta\.url\))/g, '$1.js"')
    if (rewritten !== text) writeFileSync(path, rewritten)
  }
}
