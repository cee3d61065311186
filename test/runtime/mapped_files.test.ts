import { afterAll, expect, test } from "bun:test"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { MappedFiles } from "../../src/runtime/mapped_files.ts"

const folder = fs.mkdtempSync(join(tmpdir(), "bop-aof-mapped-"))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

/** Descriptors of this process that belong to the file `name`, removed or not. */
const held = (name: string): number =>
  fs.readdirSync("/proc/self/fd").filter((descriptor) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${descriptor}`).startsWith(join(folder, name))
    } catch {
      return false
    }
  }).length

const make = (name: string): number => {
  fs.writeFileSync(join(folder, name), "content")
  return fs.openSync(join(folder, name), "r")
}

const removed = async (files: MappedFiles, name: string): Promise<void> => {
  await new Promise<void>((resolve) => files.keep(join(folder, name), resolve))
  fs.unlinkSync(join(folder, name))
}

const until = async (condition: () => boolean): Promise<void> => {
  for (let tries = 0; !condition() && tries < 1000; tries++) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(condition()).toBe(true)
}

test("a removed file stays open until its last mapping is gone", async () => {
  const files = new MappedFiles()
  const descriptor = make("twice")
  const [first, second] = [files.add(descriptor), files.add(descriptor)]
  fs.closeSync(descriptor)
  expect(held("twice")).toBe(0)
  await removed(files, "twice")
  expect(held("twice")).toBe(1)
  first()
  expect(held("twice")).toBe(1)
  second()
  await until(() => held("twice") === 0)
})

test("a file that is not mapped, another of the same name, and one that is not there are not kept", async () => {
  const files = new MappedFiles()
  const gone = files.add(make("other"))
  fs.closeSync(make("plain"))
  await removed(files, "plain")
  await until(() => held("plain") === 0)
  fs.unlinkSync(join(folder, "other"))
  fs.closeSync(make("other"))
  await removed(files, "other")
  // The one that is mapped, by the descriptor above.
  await until(() => held("other") === 1)
  gone()
  await new Promise<void>((resolve) => files.keep(join(folder, "never"), resolve))
})
