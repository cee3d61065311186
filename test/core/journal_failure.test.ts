// A file of the commit journal fails while segments are still behind the file before it: whichever file goes first, what was acknowledged is there.

import { expect, test } from "bun:test"
import type { Aof, AofManagerOptions } from "bop-aof"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"

const KiB = 1024
const options: AofManagerOptions = {
  root: "/store",
  journalBytes: 256 * KiB,
  journalStreamsMin: 2,
  segmentBytes: 1024 * KiB,
  closeTimeoutMs: 200,
}
const streamCount = 12
const slow = "s11"
const isJournal = (path: string): boolean => path.endsWith(".jnl")
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

for (const failing of ["write", "syncData"] as const) {
  test(`a ${failing} that fails in the next file of the journal loses nothing that was acknowledged`, async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const streams = await Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`s${at}`)))
    const acked = new Map<string, Array<string>>(streams.map(({ name }) => [name, []]))
    let firstPath: string | undefined
    let groupsInNext = 0
    let hasFailed = false
    const letGo: Array<() => void> = []
    disk.onOperation = ({ kind, path, from }) => {
      const isGroup = isJournal(path) && kind === "write" && from > 0
      if (isGroup) firstPath ??= path
      const isInNext = firstPath !== undefined && isJournal(path) && path !== firstPath
      if (isGroup && isInNext) groupsInNext++
      if (isInNext && groupsInNext === 2 && kind === failing && !hasFailed) {
        hasFailed = true
        return "EIO"
      }
      // One stream's file takes for ever from then on.
      const isHeld = groupsInNext > 0 && kind === "syncData" && path.includes(`/${slow}/`) && path.endsWith(".seg")
      if (!isHeld) return undefined
      return new Promise((resolve) => {
        letGo.push(() => resolve("EIO"))
      })
    }
    const append = async (stream: Aof, text: string): Promise<void> => {
      await stream.append(text)
      acked.get(stream.name)!.push(text)
    }
    const round = (number: number): Promise<unknown> =>
      Promise.all(streams.map((stream) => append(stream, `${stream.name}-${number} `.padEnd(300, "."))))
    let number = 0
    while (groupsInNext === 0) {
      const all = round(number++)
      let isOver = false
      void all.finally(() => {
        isOver = true
      })
      while (!isOver && groupsInNext === 0) await pause(0)
    }
    // A header is what is left of one that has failed and is not needed any more.
    const isGivenUp = (): boolean =>
      disk.paths().some((path) => isJournal(path) && disk.contentOf(path)!.length === 512)
    // The first group of the next file is acknowledged, the second one fails.
    await pause(20)
    for (const stream of streams) append(stream, `${stream.name}-last `.padEnd(300, ".")).catch(() => {})
    for (let tries = 0; tries < 100 && !(hasFailed && isGivenUp()); tries++) await pause(5)
    expect(hasFailed).toBe(true)
    const promised = new Map([...acked].map(([name, texts]) => [name, [...texts]]))
    disk.onOperation = undefined
    // A file of the journal that was given up stays so.
    disk.crash(({ kind }) => kind === "truncate")
    for (const end of letGo) end()
    await manager.close().catch(() => {})
    await withStore(disk.layer, options, async (again) => {
      for (const [name, texts] of promised) {
        const found: Array<string> = []
        for await (const record of (await again.stream(name)).read({ from: "start" })) found.push(record.text())
        expect([name, found.slice(0, texts.length)]).toEqual([name, texts])
      }
    })
  })
}
