// Node's FFI is there or not, allowed or not, and its user hears nothing of it.

import { expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { closeSync, existsSync, openSync, readdirSync, readlinkSync, unlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { nodeFlags, rootDirectory, runtimePath } from "../../scripts/runtimes.mjs"
import { RemovedFiles } from "../../src/runtime/removed_files.ts"
import { makeRoot } from "../support/api.ts"

const isLinux = process.platform === "linux" && existsSync("/proc/self/maps")
const flags = nodeFlags.filter((flag) => !flag.startsWith("--disable-warning"))

/** Runs the program on Node; returns what it printed, and fails when its user was told of FFI. */
const lookAtMaps = (more: ReadonlyArray<string>, args: ReadonlyArray<string>): object => {
  const program = join(rootDirectory, "test", "support", "look_at_maps.ts")
  const command = [...flags, ...more, program, ...args]
  const { stdout, stderr } = spawnSync(runtimePath("node"), command, { cwd: rootDirectory, encoding: "utf8" })
  expect(stderr).not.toContain("FFI")
  return JSON.parse(stdout)
}

test.skipIf(!isLinux)("[needs /proc] Node maps files by its FFI where it has it and may use it", () => {
  const root = makeRoot()
  expect(lookAtMaps([], [root, "write"])).toEqual({ texts: ["hello"], isMapped: true })
  expect(lookAtMaps([], [root, "read"])).toEqual({ texts: ["hello"], isMapped: true })
  expect(lookAtMaps(["--no-experimental-ffi"], [root, "read"])).toEqual({ texts: ["hello"], isMapped: false })
  const permission = ["--permission", "--allow-fs-read=*", "--allow-worker"]
  expect(lookAtMaps(permission, [root, "read"])).toEqual({ texts: ["hello"], isMapped: false })
  expect(lookAtMaps([...permission, "--allow-ffi"], [root, "read"])).toEqual({ texts: ["hello"], isMapped: true })
})

const descriptorsOf = (path: string): number => {
  let count = 0
  for (const name of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`).startsWith(path)) count++
    } catch {
      // The descriptor of the listing itself.
    }
  }
  return count
}

const until = async (isTrue: () => boolean): Promise<void> => {
  while (!isTrue()) await new Promise(setImmediate)
}

test.skipIf(!isLinux)("[needs /proc] a removed file stays open until its last mapping is gone", async () => {
  const path = join(makeRoot(), "file")
  const files = new RemovedFiles()
  const remove = (): Promise<void> =>
    new Promise((resolve) =>
      files.whileMapped(path, () => {
        unlinkSync(path)
        resolve()
      }),
    )
  writeFileSync(path, "1")
  const [first, second] = [files.addMapping(path), files.addMapping(path)]
  await remove()
  expect(descriptorsOf(path)).toBe(1)
  writeFileSync(path, "2")
  const ofNext = files.addMapping(path)
  first()
  expect(descriptorsOf(path)).toBe(1)
  second()
  await until(() => descriptorsOf(path) === 0)
  ofNext()
  await remove()
  expect(descriptorsOf(path)).toBe(0)
})

test.skipIf(!isLinux)("[needs /proc] a file whose mapping goes while it is removed is closed", async () => {
  const path = join(makeRoot(), "file")
  closeSync(openSync(path, "w"))
  const files = new RemovedFiles()
  const forget = files.addMapping(path)
  const removed = new Promise<void>((resolve) => files.whileMapped(path, resolve))
  forget()
  await removed
  await until(() => descriptorsOf(path) === 0)
})
