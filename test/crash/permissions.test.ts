// Folders in which nothing can be made or removed any more, for root too: what cannot be done says so, nothing acknowledged is lost, and the
// store goes on when it may again.

import { afterAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager } from "bop-aof"

const parent = mkdtempSync(join(tmpdir(), "bop-aof-permissions-"))

const chattr = (flag: "+i" | "-i", ...paths: ReadonlyArray<string>): boolean =>
  spawnSync("chattr", [flag, ...paths]).status === 0

const canFreeze = chattr("+i", parent) && chattr("-i", parent)

afterAll(() => {
  spawnSync("chattr", ["-R", "-i", parent])
  rmSync(parent, { recursive: true, force: true })
})

describe("a store whose folders may not be changed", () => {
  test.skipIf(!canFreeze)(
    "[immutable folders] says so, loses nothing, and goes on when they may be again",
    async () => {
      const root = join(parent, "root")
      const options = { root, segmentBytes: 16 * 1024, stagingBytes: 4096, tier2: false, journalBytes: 0 } as const
      const manager = await AofManager.open(options)
      const stream = await manager.stream("orders")
      const ids: Array<number> = []
      const append = async (): Promise<string | undefined> => {
        const text = `${ids.length} `.padEnd(1500, "x")
        try {
          ids.push((await stream.append(text, { signal: AbortSignal.timeout(5000) })).recordId)
          return undefined
        } catch (error) {
          const { _tag, code } = error as { readonly _tag?: string; readonly code?: string }
          return `${_tag} ${code}`
        }
      }
      for (let i = 0; i < 30; i++) expect(await append()).toBe(undefined)
      const folders = ["streams/orders/segments", "streams/orders", "streams", "manifest", ""].map((name) =>
        join(root, name),
      )
      expect(chattr("+i", ...folders)).toBe(true)
      const errors: Array<string> = []
      for (let i = 0; i < 40; i++) {
        const error = await append()
        if (error !== undefined) errors.push(error)
        if (errors.length === 3) break
      }
      expect(errors.length).toBeGreaterThan(0)
      for (const error of errors) expect(error).toMatch(/^Unavailable (EPERM|EACCES)$/)
      const refused = await manager.stream("another").then(
        async (other) =>
          await other.append("x").then(
            () => "appended",
            (error: { code?: string }) => error.code,
          ),
        (error: { code?: string }) => error.code,
      )
      expect(refused).toMatch(/^(EPERM|EACCES)$/)
      let count = 0
      for await (const record of stream.read()) if (record.recordId === ids[count]) count++
      expect(count).toBe(ids.length)
      expect(chattr("-i", ...folders)).toBe(true)
      for (let tries = 0; (await append()) !== undefined; tries++) {
        expect(tries).toBeLessThan(100)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      for (let i = 0; i < 30; i++) expect(await append()).toBe(undefined)
      await manager.close()
      const again = await AofManager.open(options)
      expect(again.recovery.lost).toEqual([])
      const back = await again.stream("orders")
      for (const id of ids) expect((await back.get(id)).recordId).toBe(id)
      await again.close()
    },
    60_000,
  )
})
