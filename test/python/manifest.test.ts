// The reader in Python and the inspector agree on every record of every type, and on what they add up to.

import { afterAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { ManifestInspector } from "../../src/api/manifest_inspector.ts"
import { plainJson } from "../../src/core/plain_json.ts"
import { encodeRootFile } from "../../src/format/root_file.ts"
import { makeDraw, makeManifestFile, makeTypesManifest, sampleHistory } from "../support/manifest_samples.ts"
import { runProcess } from "../support/run_process.ts"

const reader = fileURLToPath(new URL("./aof_reader.py", import.meta.url))
const hasPython = spawnSync("python3", ["-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).status === 0
const withPython = hasPython ? "" : " (skipped: python3 is missing)"
const rootId = Uint8Array.from({ length: 16 }, (_, index) => 3 * index)
const roots: Array<string> = []

afterAll(() => {
  for (const root of roots) rmSync(root, { recursive: true, force: true })
})

const makeRoot = (files: ReadonlyMap<string, Uint8Array>): string => {
  const root = mkdtempSync(join(tmpdir(), "aof-manifest-"))
  roots.push(root)
  for (const [path, bytes] of [["ROOT", encodeRootFile(rootId, 1)] as const, ...files]) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), bytes)
  }
  return root
}

const fromPython = async (root: string): Promise<unknown> => {
  const { code, stdout, stderr } = await runProcess(["python3", reader, "manifest", root], root)
  expect([code, stderr]).toEqual([0, ""])
  return JSON.parse(stdout)
}

/** What the inspector found, in the form in which the reader prints it. */
const fromInspector = async (root: string): Promise<unknown> => {
  const { files, streams, inspection } = await ManifestInspector.open(root)
  const copy = (key: unknown, of: { readonly fileGeneration: number } | undefined) =>
    of === undefined ? undefined : [key, of.fileGeneration]
  const described = streams.map(({ streamId, name, segments }) => {
    const copies = segments.map(({ segmentIndex, compressed, uploading, uploaded, isHotEvicted, isWarmEvicted }) => {
      const all = {
        compressed: copy(compressed?.level, compressed),
        uploading: copy(uploading?.key, uploading),
        uploaded: copy(uploaded?.key, uploaded),
        hotEvicted: isHotEvicted,
        warmEvicted: isWarmEvicted,
      }
      return [segmentIndex, Object.fromEntries(Object.entries(all).filter(([, value]) => value))] as const
    })
    const known = copies.filter(([, one]) => Object.keys(one).length > 0)
    const rest = { segments: segments.map((one) => one.segmentIndex), copies: Object.fromEntries(known) }
    return [streamId, { name, ...rest }] as const
  })
  return {
    files: Object.fromEntries(files.map(({ name, records }) => [name, plainJson(records)])),
    streams: Object.fromEntries(described),
    deletes: [...inspection.deletes.keys()].sort(),
    epoch: inspection.epoch?.epoch ?? null,
  }
}

/** False evictions are what was cleared: nothing to tell. */
const withoutCleared = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(withoutCleared)
  const entries = Object.entries(value).filter(([name, one]) => !/Evicted$/.test(name) || one !== false)
  return Object.fromEntries(entries.map(([name, one]) => [name, withoutCleared(one)]))
}

describe.skipIf(!hasPython)(`the Python reader and the inspector${withPython}`, () => {
  test.each([1, 2, 3, 4])("agree on every type with values of seed %d", async (seed: number) => {
    const root = makeRoot(makeTypesManifest(rootId, seed))
    const found = (await fromInspector(root)) as { readonly files: Record<string, ReadonlyArray<unknown>> }
    expect(found.files["0000000002.chunk"]?.length).toBe(22)
    expect(withoutCleared(await fromPython(root))).toEqual(withoutCleared(found))
  })

  test("agree on what a history of few segments adds up to", async () => {
    for (let seed = 20; seed < 26; seed++) {
      const history = sampleHistory(makeDraw(seed), 300)
      const chunk = makeManifestFile({ kind: 0, rootId, chunkSequence: 1 }, 1, history)
      const root = makeRoot(new Map([["manifest/0000000001.chunk", chunk]]))
      expect(withoutCleared(await fromPython(root))).toEqual(withoutCleared(await fromInspector(root)))
    }
  })
})
