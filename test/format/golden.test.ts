// The files of version 1, made once, decode to what they decoded to then.

import { beforeAll, describe, expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { loadCrc64 } from "../../src/format/checksum.ts"
import { describeStore } from "../support/describe_store.ts"

const folder = fileURLToPath(new URL("../golden/v1", import.meta.url))
const files = new Map<string, Uint8Array>()
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || entry.name === "expected.json") continue
  const path = join(entry.parentPath, entry.name)
  files.set(relative(folder, path).split(sep).join("/"), new Uint8Array(readFileSync(path)))
}
const expected: Record<string, unknown> = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"))

beforeAll(loadCrc64)

describe("golden files of version 1", () => {
  test("are one of each kind", () => {
    expect([...files.keys()].sort()).toEqual(Object.keys(expected).sort())
    const kinds = new Set([...files.keys()].map((path) => path.replace(/^.*[./]/, "")))
    expect([...kinds].sort()).toEqual(["ROOT", "chunk", "sealed", "seg", "snapshot"].sort())
    expect(dirname([...files.keys()].find((path) => path.endsWith(".seg"))!)).toBe("streams/orders/segments")
  })

  test.each(Object.keys(expected))("%s decodes as it did when it was made", (path: string) => {
    expect(describeStore(new Map([[path, files.get(path)!]]))).toEqual({ [path]: expected[path] })
  })
})
