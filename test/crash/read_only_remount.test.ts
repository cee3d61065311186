// A file system that the kernel makes read-only under an open store, as ext4 does when its device fails: what cannot be done says so, what was
// acknowledged stays readable, nothing hangs, and when the file system is back the store is as it was and goes on.

import { afterAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager } from "bop-aof"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"
import { type RemountReport, readPrefix, remountOptions } from "../support/remount.ts"
import { runSuccessfully } from "../support/run_process.ts"

const folder = mkdtempSync(join(tmpdir(), "bop-aof-remount-"))
const mountPoint = join(folder, "disk")
mkdirSync(mountPoint)

const run = (command: string, ...parameters: ReadonlyArray<string>): boolean =>
  spawnSync(command, parameters, { timeout: 20_000 }).status === 0
const imageOf = (streams: number): string => join(folder, `${streams}.img`)
const mount = (streams: number): boolean => run("mount", "-o", "loop", imageOf(streams), mountPoint)
/** Also while something of it is still mapped. */
const leave = (): boolean => run("umount", "-l", mountPoint)

/** A file system of its own for each test. */
const prepare = (streams: number): boolean => {
  writeFileSync(imageOf(streams), "")
  truncateSync(imageOf(streams), 96 * 1024 * 1024)
  return run("mkfs.ext4", "-q", "-F", imageOf(streams)) && mount(streams)
}
const canMount = prepare(0) && leave()

afterAll(() => {
  leave()
  rmSync(folder, { recursive: true, force: true })
})

/** A writer in a process of its own: what it has mapped would keep the file system busy. */
const write = async (root: string, streams: number): Promise<RemountReport> => {
  const program = join(rootDirectory, "test", "support", "remount_writer.ts")
  const command = runtimeCommand(currentRuntime, program, [mountPoint, root, String(streams)])
  return JSON.parse(await runSuccessfully(command, rootDirectory))
}

const refused = /^Unavailable (EROFS|EIO)$/

describe("a file system that becomes read-only under the store", () => {
  test.skipIf(!canMount).each([1, 12])(
    "[needs the right to mount] costs nothing that was acknowledged in %i streams",
    async (streams: number) => {
      expect(prepare(streams)).toBe(true)
      const root = join(mountPoint, "root")
      const seen = await write(root, streams)
      const counts = Object.fromEntries(Object.entries(seen.acked).map(([name, ids]) => [name, ids.length]))
      expect(new Set(seen.before)).toEqual(new Set(["none"]))
      expect(seen.isRemounted).toBe(true)
      for (const failure of [...seen.appends, seen.newStream, seen.opening]) expect(failure).toMatch(refused)
      expect(seen.read).toEqual(counts)
      // What could not be written is told by the close; it ends all the same.
      expect(seen.close).toMatch(/^(none|Unavailable (EROFS|EIO)|Timeout .*)$/)
      // A writer that is cut off cannot tell readers any more how far its last sync had come.
      if (streams === 1) expect(seen.readOnly["s0"]).toBeGreaterThanOrEqual((counts["s0"] ?? 0) - 1)

      expect(run("umount", mountPoint)).toBe(true)
      expect(mount(streams)).toBe(true)
      const again = await AofManager.open({ ...remountOptions, root })
      expect(again.recovery.lost).toEqual([])
      expect(await readPrefix(again, seen.acked)).toEqual(counts)
      const { recordId } = await (await again.stream("s0")).append("goes on")
      expect(recordId).toBeGreaterThan(seen.acked["s0"]?.at(-1) ?? 0)
      expect((await again.scrub()).findings).toEqual([])
      await again.close()
      expect(leave()).toBe(true)
    },
    90_000,
  )
})
