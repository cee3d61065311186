// Mappings are bounded, and a segment that is mapped keeps no descriptor.

import { describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { AofManager } from "../../mod.ts"
import { type OpenFile, OpenFiles } from "../../src/core/files/open_files.ts"
import { boundMaps } from "../../src/runtime/bound_maps.ts"
import { mapNothing } from "../../src/runtime/posix_file.ts"
import { makeRoot } from "../support/api.ts"
import { canMapFiles } from "../support/runtime_layer.ts"

const mayCount = process.platform === "linux" && canMapFiles

describe("boundMaps", () => {
  test("maps nothing more while so many mappings live", () => {
    const kept: Array<Uint8Array | undefined> = []
    const map = boundMaps((_descriptor, _path, length) => new Uint8Array(length), 3)
    for (let i = 0; i < 5; i++) kept.push(map(1, "file", 8))
    expect(kept.map((one) => one?.length)).toEqual([8, 8, 8, undefined, undefined])
  })

  test("does not count what could not be mapped, and leaves a runtime alone that cannot map", () => {
    let isFailing = true
    const map = boundMaps(() => (isFailing ? undefined : new Uint8Array(1)), 1)
    expect(map(1, "file", 1)).toBe(undefined)
    isFailing = false
    expect(map(1, "file", 1)?.length).toBe(1)
    expect(boundMaps(mapNothing)).toBe(mapNothing)
  })
})

describe("OpenFiles", () => {
  const makeFiles = (count: number, released: Array<number>): Array<OpenFile> =>
    Array.from({ length: count }, (_, i) => ({ isReleasable: true, releaseFile: () => void released.push(i) }))

  test("lets go of the mapping that was made first, and of no descriptor for it", () => {
    const released: Array<number> = []
    const files = new OpenFiles(2, 2)
    const [a, b, c, d, e] = makeFiles(5, released) as [OpenFile, OpenFile, OpenFile, OpenFile, OpenFile]
    files.add(a)
    files.add(b)
    for (const one of [c, d, e]) {
      files.addMapped(one)
    }
    expect(released).toEqual([2])
    expect(files.makeRoom()).toBe(true)
    expect(released).toEqual([2, 0, 1])
    files.releaseAll()
    expect(released).toEqual([2, 0, 1, 3, 4])
  })

  test("counts one that is mapped no longer among the descriptors", () => {
    const released: Array<number> = []
    const files = new OpenFiles(2, 2)
    const [a, b, c] = makeFiles(3, released) as [OpenFile, OpenFile, OpenFile]
    files.add(a)
    files.addMapped(a)
    files.add(b)
    files.add(c)
    expect(released).toEqual([])
    files.release(a)
    files.releaseAll()
    expect(released).toEqual([0, 1, 2])
  })
})

describe("a segment that is read", () => {
  test.skipIf(!mayCount)("[needs mappings and /proc] keeps no descriptor where it is mapped", async () => {
    const options = { segmentBytes: 4096, tier1: { compress: "pressure" }, tier2: false } as const
    const manager = await AofManager.open({ root: makeRoot(), ...options })
    const stream = await manager.stream("s")
    const ids: Array<number> = []
    for (let i = 0; i < 60; i++) ids.push((await stream.append(`${i}`.padEnd(2000, "."))).recordId)
    await stream.seal()
    const before = readdirSync("/proc/self/fd").length
    for (let round = 0; round < 3; round++)
      for (const [i, id] of ids.entries()) expect(stream.tryGet(id).text()).toBe(`${i}`.padEnd(2000, "."))
    expect(stream.segments().length).toBeGreaterThanOrEqual(30)
    expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 5)
    await manager.close()
  })
})
