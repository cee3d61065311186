// The tables of options in docs/operations.md and docs/guide.md say what the code does: every option is there, with its default and its bounds.

import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { rootDirectory } from "../scripts/runtimes.mjs"
import { type AofManagerOptions, makeConfig } from "../src/model/config.ts"

interface Row {
  readonly name: string
  readonly byDefault: string
  readonly from: string
  readonly to: string
}

const rows = [...optionRows("docs/operations.md", "## Options"), ...optionRows("docs/guide.md", "## Tiers")]
const names = rows.map(({ name }) => name)

describe("the tables of options", () => {
  test("have each option once, and no other", () => {
    expect(new Set(names).size).toBe(names.length)
    const groups = ["retention", "scrub", "manifest", "tier0", "tier1", "tier2", "tier2.retry", "tier2.breaker"]
    const known = ["", ...groups].flatMap(namesIn)
    // A group whose members have rows of their own needs none.
    const needed = known.filter((name) => !groups.includes(name))
    expect(needed.filter((name) => !names.includes(name))).toEqual([])
    expect(names.filter((name) => !known.includes(name))).toEqual([])
  })

  test.each(rows.map((row) => [row.name, row] as const))("say what %s may be", (name, { byDefault, from, to }) => {
    const given = valueIn(byDefault)
    // The log of the manifest has its own defaults.
    if (given !== undefined && !name.startsWith("manifest.")) expect(configOf(name, given)).toEqual(configOf(name))
    const { lowest, off } = lowestOf(from)
    const highest = valueIn(to)
    for (const value of [off, lowest, highest]) if (value !== undefined) configOf(name, value)
    if (typeof lowest === "number" && lowest - 1 !== off) expect(() => configOf(name, lowest - 1)).toThrow("allowed is")
    if (typeof highest === "number") expect(() => configOf(name, highest + 1)).toThrow("allowed is")
    if (off !== undefined) expect(from).toMatch(/\((?:off|never)\)$/)
  })
})

/** The options with `value` at a name such as `tier2.retry.jitter`, and what these need to be taken. */
function optionsWith(name: string, value: unknown): AofManagerOptions {
  const nested = name.split(".").reduceRight((inner, part) => ({ [part]: inner }), value) as Partial<AofManagerOptions>
  if (!name.startsWith("scrub.")) return { root: "/r", ...nested }
  return { root: "/r", scrub: { intervalMs: 1000, ...(nested.scrub as object) } }
}

function configOf(name: string, value?: unknown): unknown {
  return makeConfig(optionsWith(name, value))
}

/** The names that a group of options takes, as the error for another one says. */
function namesIn(group: string): ReadonlyArray<string> {
  const prefix = group === "" ? "" : `${group}.`
  try {
    configOf(`${prefix}nosuch`, 1)
  } catch (error) {
    return (error as { limit: string }).limit.split(", ").map((name) => `${prefix}${name}`)
  }
  throw new Error(`${group} takes any name`)
}

function optionRows(file: string, heading: string): ReadonlyArray<Row> {
  const text = readFileSync(join(rootDirectory, file), "utf8")
  const table = /^\| option \| default \| from \| to \|.*\n\|---.*\n((?:\|.*\n)+)/m.exec(
    text.split(`\n${heading}\n`)[1]!,
  )
  return table![1]!
    .trim()
    .split("\n")
    .map((line) => {
      const [, name, byDefault, from, to] = line.split("|").map((cell) => cell.trim())
      return { name: name!.replaceAll("`", ""), byDefault: byDefault!, from: from!, to: to! }
    })
}

/** The lowest value, and the one that is marked as switching the option off. */
function lowestOf(cell: string): { readonly lowest: unknown; readonly off: unknown } {
  const parts = cell.split(", ")
  const marked = parts.find((part) => part.endsWith(")"))?.replace(/ \(\w+\)$/, "")
  return {
    lowest: valueIn(parts[0]!.replace(/ \(\w+\)$/, "")),
    off: marked === undefined ? undefined : valueIn(marked),
  }
}

const units: Record<string, number> = {
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  PiB: 2 ** 50,
  days: 86_400_000,
}

/** `64 MiB, or …`, `10 000`, `a day`, `false`, `` `strict` ``; undefined for what is said in words. */
function valueIn(cell: string): unknown {
  const text = cell.replace(/, or .*$/, "")
  if (text === "a day") return units.days
  if (text === "an hour") return 3_600_000
  if (/^`?false`?$/.test(text)) return false
  if (text === "`strict`") return "strict"
  const [, digits, unit] = /^(\d[\d ]*(?:\.\d+)?)(?: ([A-Za-z]+))?$/.exec(text) ?? []
  return digits === undefined ? undefined : Number(digits.replaceAll(" ", "")) * (unit === undefined ? 1 : units[unit]!)
}
