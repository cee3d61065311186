// The files of version 1, made once, decode to what they decoded to then.

import { describe, expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { decodeFrameUnsafe } from "../../src/compressor/frame_codec.ts"
import { manifestTypes } from "../../src/format/manifest_record.ts"
import { decodeSeekTable } from "../../src/format/seekable_zstd.ts"
import { describeStore } from "../support/describe_store.ts"

const folder = fileURLToPath(new URL("../golden/v1", import.meta.url))

interface GoldenSet {
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly expected: Record<string, unknown>
}

/** A folder with its `expected.json`; `types` in it is a set of its own. */
function readSet(place: string): GoldenSet {
  const found = new Map<string, Uint8Array>()
  for (const entry of readdirSync(place, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === "expected.json") continue
    const path = join(entry.parentPath, entry.name)
    const name = relative(place, path).split(sep).join("/")
    // A warm file is another form of a segment, and is described by it; HEAD and the journal have tests of their own.
    if (path.endsWith(".zst") || name.startsWith("types/") || name.startsWith("bucket/") || name.startsWith("journal/"))
      continue
    found.set(name, new Uint8Array(readFileSync(path)))
  }
  return { files: found, expected: JSON.parse(readFileSync(join(place, "expected.json"), "utf8")) }
}

const { files, expected } = readSet(folder)
const types = readSet(join(folder, "types"))

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

  test("the warm file gives its segment, frame by frame", () => {
    const warm = new Uint8Array(readFileSync(join(folder, "streams/orders/warm/0000000001.seg.zst")))
    const segment = files.get("streams/orders/segments/0000000001.seg")!
    const table = decodeSeekTable(warm, { fileBytes: warm.length, contentBytes: segment.length })!
    expect(table.frameCount).toBeGreaterThan(3)
    for (let index = 0; index < table.frameCount; index++) {
      const { compressedOffset, compressedBytes, contentOffset, contentBytes } = table.frame(index)!
      const frame = warm.subarray(compressedOffset, compressedOffset + compressedBytes)
      const content = decodeFrameUnsafe(frame, contentBytes)
      expect(Buffer.compare(content, segment.subarray(contentOffset, contentOffset + contentBytes))).toBe(0)
    }
  })

  test.each(Object.keys(types.expected))("types/%s decodes as it did when it was made", (path: string) => {
    expect(describeStore(new Map([[path, types.files.get(path)!]]))).toEqual({ [path]: types.expected[path] })
  })

  test("types/ holds a record of every type of the manifest, and some that are not known", () => {
    expect([...types.files.keys()].sort()).toEqual(Object.keys(types.expected).sort())
    const all = Object.values(types.expected) as ReadonlyArray<{ records: ReadonlyArray<{ type: string } | null> }>
    const found = new Set(all.flatMap(({ records }) => records.map((record) => record?.type)))
    expect([...found].sort()).toEqual([...manifestTypes, "Raw"].sort())
  })
})
