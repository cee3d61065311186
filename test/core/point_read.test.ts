// Reads by id prove that a record starts there, however the sizes of the records of a frame are spread.

import { expect, test } from "bun:test"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"

/** Payload sizes by ordinal, for frames in which a guess by the mean size is right, a little wrong and far off. */
const shapes: ReadonlyArray<readonly [string, (i: number) => number]> = [
  ["of one size", () => 100],
  ["of a byte", () => 1],
  ["empty", () => 0],
  ["tiny ones before large ones", (i) => (i % 600 < 500 ? 2 : 400)],
  ["large ones before tiny ones", (i) => (i % 600 < 100 ? 400 : 2)],
  ["one that fills most of a frame", (i) => (i % 300 === 150 ? 40_000 : 5)],
  ["that grow", (i) => i % 700],
  ["of any size", (i) => (Math.imul(i + 1, 2654435761) >>> 8) % 300],
]

test.each(shapes.flatMap(([name, size]) => [true, false].map((mapsFiles) => [name, mapsFiles, size] as const)))(
  "a frame with records %s, files mapped: %s",
  async (_name, mapsFiles: boolean, size: (i: number) => number) => {
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles })
    const manager = await openWith(disk.layer, { root: "/store", journalBytes: 0 })
    const stream = await manager.stream("s")
    const count = 3000
    const ids: Array<number> = []
    for (let i = 0; i < count; i++) {
      const payload = new Uint8Array(size(i)).fill(8)
      // An extId makes the record's header longer.
      ids.push(stream.tryAppend(payload, i % 7 === 6 ? i : 0))
    }
    await stream.flush()
    await stream.seal()
    for (let n = 0; n < count; n++) {
      const i = (n * 1777) % count
      const record = stream.tryGet(ids[i]!)
      if (record.recordNumber !== i || record.bytes.length !== size(i)) throw new Error(`record ${i} is another one`)
    }
    const known = new Set(ids)
    let refused = 0
    for (const id of ids.filter((_, i) => i % 17 === 0))
      for (let shift = -9; shift <= 9; shift++) {
        if (known.has(id + shift)) continue
        expect(() => stream.tryGet(id + shift)).toThrow("the start of a record")
        refused++
      }
    expect(refused).toBeGreaterThan(0)
    await manager.close()
  },
)
