// The packed npm package works in an empty project: from plain JavaScript on Node and Bun, from Deno by both kinds of
// specifier, and with types. Takes the time of a build, so `npm run check` runs it, once, and `npm test` leaves it out.

import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { rootDirectory, runtimePath } from "../scripts/runtimes.mjs"
import { runProcess, runSuccessfully } from "./support/run_process.ts"

const project = mkdtempSync(join(tmpdir(), "bop-aof-package-"))
const tsc = join(rootDirectory, "node_modules", "typescript", "bin", "tsc")

/** A user's program: writes, reads back, and prints what it got. */
const program = (specifier: string): string => `
import { AofManager } from "${specifier}"
const manager = await AofManager.open({ root: process.argv[2] })
const stream = await manager.stream("orders")
const ack = await stream.append("hello", { extId: 7n })
const texts = []
for await (const record of stream.read({ from: "start" })) texts.push(record.text())
await manager.close()
console.log(JSON.stringify({ level: ack.level, recordNumber: ack.recordNumber, texts }))
`

/** The second value of each pair fails to compile, so a type that was lost and became \`any\` is noticed. */
const typedProgram = `
import { AofManager, type Ack } from "bop-aof"
const manager = await AofManager.open({ root: "never run" })
const stream = await manager.stream("orders")
const ack: Ack = await stream.append("hello")
export const recordNumber: number = ack.recordNumber
// @ts-expect-error: a number
export const recordText: string = ack.recordNumber
for await (const record of stream.read({ from: "start" })) {
  const bytes: Uint8Array = record.bytes
  // @ts-expect-error: bytes
  const text: string = record.bytes
  console.log(bytes, text)
}
`

const compilerOptions = {
  target: "ES2024",
  lib: ["ESNext", "DOM"],
  module: "NodeNext",
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
}

beforeAll(async () => {
  write("package.json", JSON.stringify({ private: true, type: "module" }))
  await runSuccessfully(["npm", "pack", "--pack-destination", project], rootDirectory)
  const archive = readdirSync(project).find((name) => name.endsWith(".tgz"))!
  await installArchive(archive)
  write("main.js", program("bop-aof"))
  write("main_npm.js", program("npm:bop-aof"))
  write("typed.ts", typedProgram)
  write("tsconfig.json", JSON.stringify({ compilerOptions, include: ["typed.ts"] }))
}, 180_000)

afterAll(() => rmSync(project, { recursive: true, force: true }))

test.each([
  ["Node", "node", [], "main.js"],
  ["Bun", "bun", [], "main.js"],
  ["Deno", "deno", ["run", "--allow-all", "--node-modules-dir=manual"], "main.js"],
  ["Deno by npm:", "deno", ["run", "--allow-all", "--node-modules-dir=manual"], "main_npm.js"],
] as const)("the installed package works from plain JavaScript on %s", async (name, runtime, flags, file) => {
  const store = join(project, `store ${name}`.replace(/\W+/g, "_"))
  const output = await runSuccessfully([runtimePath(runtime), ...flags, file, store], project)
  expect(JSON.parse(output)).toEqual({ level: "durable", recordNumber: 0, texts: ["hello"] })
})

test("the installed package names the file of its worker", () => {
  const folder = join(project, "node_modules", "bop-aof", "dist", "src", "compressor")
  const [, name] = /new URL\("\.\/([^"]+)", import\.meta\.url\)/.exec(
    readFileSync(join(folder, "worker_runner.js"), "utf8"),
  )!
  expect(readdirSync(folder)).toContain(name)
})

test("the installed package has types for TypeScript", async () => {
  await runSuccessfully([runtimePath("node"), tsc, "--project", "."], project)
})

test("the installed package has types for Deno", async () => {
  await runSuccessfully([runtimePath("deno"), "check", "--quiet", "--node-modules-dir=manual", "typed.ts"], project)
})

/** As a user would; where no registry answers, unpacked by hand with the dependencies of this repository. */
async function installArchive(archive: string): Promise<void> {
  const flags = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"]
  const { code } = await runProcess(["npm", "install", ...flags, `./${archive}`], project)
  if (code === 0) return
  const modules = join(project, "node_modules")
  const target = join(modules, "bop-aof")
  mkdirSync(target, { recursive: true })
  await runSuccessfully(["tar", "-xzf", archive, "-C", target, "--strip-components=1"], project)
  for (const name of ["effect", "@bokuweb/zstd-wasm", "@aws-sdk/client-s3"]) {
    const link = join(modules, name)
    rmSync(link, { recursive: true, force: true })
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(rootDirectory, "node_modules", name), link, "dir")
  }
  write(
    "package.json",
    JSON.stringify({ private: true, type: "module", dependencies: { "bop-aof": `file:${archive}` } }),
  )
}

function write(name: string, text: string): void {
  writeFileSync(join(project, name), text)
}
