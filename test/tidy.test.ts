// The rules of the code that a machine can check: who imports whom, sizes, names, and what may be named where.
// An exception is a comment on the line, or the line above: `tidy: allow <rule> because …` (for `file-length` anywhere).

import { describe, expect, test } from "bun:test"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, posix, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { blankNonCode, findFunctions, findImports, type ImportSpan, lineAt } from "./support/source_scan.ts"

interface Source {
  /** Relative to the repository, with forward slashes. */
  readonly path: string
  /** `model`, `format`, …; "" for `mod.ts` and for files outside of `src`. */
  readonly layer: string
  readonly text: string
  readonly code: string
  readonly imports: ReadonlyArray<ImportSpan>
}

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const adapters = ["runtime", "object_store", "compressor"]
const edges = ["server", "client", "cli"]
const pure = ["model", "format", "state", "port"]
const inner = [...pure, "core"]

/**
 * Which layers, besides itself, and which packages a layer may import. Adapters and edges get Effect with the ports,
 * whose methods are Effects. `*` is any package: that of a back end is the point of its adapter.
 */
const importTable: Record<
  string,
  { readonly layers: ReadonlyArray<string>; readonly packages: ReadonlyArray<string> }
> = {
  model: { layers: [], packages: ["effect/Data"] },
  format: { layers: ["model"], packages: [] },
  state: { layers: ["model", "format"], packages: [] },
  port: { layers: ["model"], packages: ["effect"] },
  core: { layers: pure, packages: ["effect"] },
  runtime: { layers: ["model", "port"], packages: ["effect"] },
  // Both make checksums of what they write; a worker opens files by itself, as the port of the main thread is not there.
  object_store: { layers: ["model", "format", "port"], packages: ["*"] },
  compressor: { layers: ["model", "format", "port", "runtime"], packages: ["*"] },
  api: { layers: [...inner, ...adapters, "testing"], packages: ["effect"] },
  server: { layers: ["api", "core", "port", "model"], packages: ["effect"] },
  client: { layers: ["api", "core", "port", "model"], packages: ["effect"] },
  cli: { layers: ["api", "core", "port", "model", "format", ...adapters], packages: ["effect"] },
  testing: { layers: [...inner, ...adapters, "api"], packages: ["effect"] },
  "": { layers: [...inner, ...adapters, "api", "testing"], packages: ["effect"] },
}

/** A name, and the layers in which it is at home. */
const bannedNames: ReadonlyArray<{
  readonly rule: string
  readonly pattern: RegExp
  readonly layers: ReadonlyArray<string>
}> = [
  { rule: "clock", pattern: /\bDate\.now\b|\bperformance\.now\b/g, layers: [...adapters, ...edges, "api"] },
  { rule: "timer", pattern: /\bset(?:Timeout|Interval|Immediate)\b/g, layers: [...adapters, ...edges, "api"] },
  { rule: "chance", pattern: /\bMath\.random\b/g, layers: [...adapters, ...edges, "api"] },
  { rule: "async", pattern: /(?<![.\w])async\s/g, layers: [...adapters, ...edges, "api", "testing"] },
  { rule: "try", pattern: /(?<![.\w])try\s*\{/g, layers: [...adapters, ...edges, "api", "testing"] },
  { rule: "runtime-global", pattern: /\b(?:Bun|Deno)\s*\??\.(?=\s*\w)/g, layers: [...adapters, ...edges] },
  { rule: "enum", pattern: /\benum\s+\w+\s*\{/g, layers: [] },
  { rule: "using", pattern: /\busing\s+\w+\s*=/g, layers: [] },
]

const sources = filesBelow("src", ".ts").concat("mod.ts").filter(exists).map(readSource)
const programs = ["test", "bench", "examples"].flatMap((folder) => filesBelow(folder, ".ts")).map(readSource)

describe("sources", () => {
  test("import what their layer may import, and no more", () => {
    expect(sources.flatMap(importViolations)).toEqual([])
  })

  test("import no file in a circle", () => {
    expect(findCircles()).toEqual([])
  })

  test("name relative imports by file, and Effect by module", () => {
    const violations = [...sources, ...programs].flatMap((source) =>
      source.imports.flatMap(({ line, specifier }) => {
        if (/^\.\.?\//.test(specifier) && !/\.(?:ts|mjs)$/.test(specifier))
          return report(source, line, "extension", specifier)
        return specifier === "effect" ? report(source, line, "barrel", specifier) : []
      }),
    )
    expect(violations).toEqual([])
  })

  test.each(bannedNames.map(({ rule }) => rule))("keep to the rule %s", (rule: string) => {
    const { pattern, layers } = bannedNames.find((each) => each.rule === rule)!
    const violations = sources
      .filter((source) => !layers.includes(source.layer))
      .flatMap((source) =>
        [...source.code.matchAll(pattern)].flatMap((match) =>
          report(source, lineAt(source.code, match.index), rule, match[0].trim()),
        ),
      )
    expect(violations).toEqual([])
  })

  test("have at most 400 lines, tests 600, and functions below 70", () => {
    const long = [...sources, ...programs].flatMap((source) => {
      const lines = source.text.trimEnd().split("\n").length
      const max = source.path.startsWith("test/") ? 600 : 400
      return lines > max && !/tidy: allow file-length because \w/.test(source.text)
        ? [`${source.path}: file-length: ${lines} lines, at most ${max}`]
        : []
    })
    const longFunctions = sources.flatMap((source) =>
      findFunctions(source.code)
        .filter(({ lines }) => lines >= 70)
        .flatMap(({ line, lines }) => report(source, line, "function-length", `${lines} lines, below 70`)),
    )
    expect([...long, ...longFunctions]).toEqual([])
  })

  test("have names in snake case and begin with what they are for", () => {
    const names = [...sources, ...programs].filter(
      ({ path }) => !/^[a-z0-9_]+(?:\.(?:test|bench))?\.ts$/.test(posix.basename(path)),
    )
    const headless = sources.filter(({ text }) => !/^\/[/*]/.test(text))
    expect(names.map(({ path }) => `${path}: file-name`)).toEqual([])
    expect(headless.map(({ path }) => `${path}: header: begins with no comment`)).toEqual([])
  })
})

describe("the repository", () => {
  const npm = readJson("package.json")
  const jsr = readJson("deno.json")

  test("has one version number", () => {
    const lock = readJson("package-lock.json")
    expect([jsr.version, lock.version, lock.packages[""].version]).toEqual([npm.version, npm.version, npm.version])
  })

  test("names each dependency with one exact version", () => {
    const wanted: Record<string, string> = { ...npm.dependencies, ...npm.devDependencies }
    expect(Object.entries(wanted).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
    for (const [name, target] of Object.entries<string>(jsr.imports)) {
      const [, module, version] = /^npm:\/?((?:@[^/]+\/)?[^@/]+)@([^/]+)\/?$/.exec(target) ?? []
      if (module !== undefined) expect(`${name} ${version}`).toBe(`${name} ${wanted[module]}`)
      else expect(`${name} ${target}`).toMatch(/ \.\//)
    }
    expect(Object.keys(npm.dependencies).filter((name) => !(name in jsr.imports))).toEqual([])
  })

  test("exports the same entry points to npm and to JSR", () => {
    const entries = Object.entries<{ source: string }>(npm.exports).filter(([name]) => name !== "./package.json")
    expect(Object.fromEntries(entries.map(([name, { source }]) => [name, source]))).toEqual(jsr.exports)
    for (const [name, path] of Object.entries(jsr.exports)) {
      expect(jsr.imports[name.replace(/^\./, npm.name)]).toBe(path)
      expect(`${path} ${exists(path as string) ? "is there" : "is missing"}`).toBe(`${path} is there`)
    }
  })

  test("holds no note of work left over and no path of a machine", () => {
    // Put together here, so that this file does not hold them.
    const notes = new RegExp(
      `\\b(?:${["TO", "FIX"].map((word, index) => word + ["DO", "ME"][index]).join("|")})\\b`,
      "g",
    )
    const paths = /(?<![\w.>$}])\/(?:root|work|home\/\w+|Users\/\w+)\/\w/g
    const violations = textFiles().flatMap((path) => {
      const source = readSource(path)
      const find = (rule: string, pattern: RegExp): string[] =>
        [...source.text.matchAll(pattern)].flatMap((match) =>
          report(source, lineAt(source.text, match.index), rule, match[0]),
        )
      return [...find("note", notes), ...find("machine-path", paths)]
    })
    expect(violations).toEqual([])
  })
})

describe("the scanner", () => {
  test("leaves code and blanks everything else", () => {
    const text = `a("x{") // {\n/* { */ b(\`{\${c({ d: "}" })}{\`, /[/{]/g) / e`
    expect(blankNonCode(text).replace(/\s+/g, " ")).toBe("a( ) b( c({ d: }) , g) / e")
  })

  test("finds functions, methods and arrows with their lengths", () => {
    const code = blankNonCode(
      "function a<T>(b: { c: T }): { d: T } | (() => { e: 1 }) {\n}\nclass F {\n  #g(h: number): h is 1 {\n\n  }\n}\n" +
        "const i = (): void => {\n}\nif (j) {\n\n}\nfunction k(): void\nfunction* l() {\n  if (m) {\n  }\n}\n",
    )
    // Of the first line's return type nothing but a length of one line is said, which breaks no rule.
    const spans = findFunctions(code).filter(({ lines }) => lines > 1)
    spans.sort((a, b) => a.line - b.line)
    expect(spans).toEqual([
      { line: 1, lines: 2 },
      { line: 4, lines: 3 },
      { line: 8, lines: 2 },
      { line: 14, lines: 4 },
    ])
  })
})

function importViolations(source: Source): string[] {
  const allowed = importTable[source.layer]
  if (allowed === undefined) return [`${source.path}: layer: there is no layer ${source.layer}`]
  return source.imports.flatMap(({ line, specifier }) => {
    const isAllowed = /^\.\.?\//.test(specifier)
      ? isLayerAllowed(source, specifier)
      : isPackageAllowed(source, specifier)
    return isAllowed ? [] : report(source, line, "import", specifier)
  })
}

function isLayerAllowed(source: Source, specifier: string): boolean {
  const target = posix.join(posix.dirname(source.path), specifier)
  if (!target.startsWith("src/")) return false
  const layer = layerOf(target)
  return layer === source.layer || importTable[source.layer]!.layers.includes(layer)
}

function isPackageAllowed(source: Source, specifier: string): boolean {
  if (/^(?:node|bun):/.test(specifier)) {
    const isChecksum = source.path === "src/format/checksum.ts" && specifier === "node:zlib"
    return isChecksum || [...adapters, ...edges].includes(source.layer)
  }
  return importTable[source.layer]!.packages.some(
    (name) => name === "*" || specifier === name || specifier.startsWith(`${name}/`),
  )
}

/** Each circle once, as the files along it. */
function findCircles(): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const finished = new Set<string>()
  const circles: string[] = []
  const visit = (path: string, trail: ReadonlyArray<string>): void => {
    if (trail.includes(path)) circles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "))
    if (trail.includes(path) || finished.has(path)) return
    for (const { specifier } of byPath.get(path)?.imports ?? []) {
      if (specifier.startsWith(".")) visit(posix.join(posix.dirname(path), specifier), [...trail, path])
    }
    finished.add(path)
  }
  for (const path of byPath.keys()) visit(path, [])
  return circles
}

/** Nothing, if the line or a comment right above it allows the rule and says why. */
function report(source: Source, line: number, rule: string, what: string): string[] {
  const lines = source.text.split("\n").slice(Math.max(0, line - 2), line)
  const isAllowed = lines.some((each) => new RegExp(`tidy: allow ${rule} because \\w`).test(each))
  return isAllowed ? [] : [`${source.path}:${line}: ${rule}: ${what}`]
}

function readSource(path: string): Source {
  const text = readFileSync(join(root, path), "utf8")
  const code = path.endsWith(".ts") ? blankNonCode(text) : text
  return { path, layer: layerOf(path), text, code, imports: path.endsWith(".ts") ? findImports(text, code) : [] }
}

function layerOf(path: string): string {
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? ""
}

function exists(path: string): boolean {
  return statSync(join(root, path), { throwIfNoEntry: false }) !== undefined
}

function filesBelow(folder: string, ending: string): string[] {
  if (!exists(folder)) return []
  const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
  return names.filter((name) => name.endsWith(ending)).map((name) => `${folder}/${name.split(sep).join("/")}`)
}

/** What a person wrote: everything but installed packages, build results and golden files. */
function textFiles(): string[] {
  const folders = ["src", "test", "bench", "examples", "scripts", "docs", ".ci"].filter(exists)
  const top = readdirSync(root).filter((name) => name !== "package-lock.json" && statSync(join(root, name)).isFile())
  const isText = (path: string): boolean =>
    /\.(?:ts|mjs|json|md|toml|py)$|^\.ci\//.test(path) && !path.startsWith("test/golden/")
  return [...top, ...folders.flatMap((folder) => filesBelow(folder, ""))].filter(
    (path) => isText(path) && statSync(join(root, path)).isFile(),
  )
}

function readJson(path: string): any {
  return JSON.parse(readFileSync(join(root, path), "utf8"))
}
