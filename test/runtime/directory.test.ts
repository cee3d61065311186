// The real adapter of the runtime that runs this, on a real file system.

import { expect, test } from "bun:test"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Directory } from "../../src/port/directory.ts"
import { detectRuntime } from "../../src/runtime/detect.ts"
import { networkTypeOf } from "../../src/runtime/network_file_system.ts"
import { systemError } from "../../src/runtime/system_error.ts"
import { codeOf, describeDirectory } from "../support/directory_conformance.ts"
import { canMapFiles, loadRuntimeLayer } from "../support/runtime_layer.ts"

const makeRoot = (): string => fs.mkdtempSync(join(tmpdir(), "bop-aof-"))

const load = async (): Promise<Directory> =>
  Context.get(await Effect.runPromise(Effect.scoped(Layer.build(await loadRuntimeLayer()))), Directory)

describeDirectory(`the adapter for ${detectRuntime()}`, async () => ({
  name: detectRuntime(),
  layer: await loadRuntimeLayer(),
  root: makeRoot(),
  canMap: canMapFiles,
}))

test("files and directories are private", async () => {
  const directory = await load()
  const root = makeRoot()
  await Effect.runPromise(directory.makeDirectory(`${root}/a/b`))
  directory.openUnsafe(`${root}/a/f`, "create").closeUnsafe()
  expect(fs.statSync(`${root}/a`).mode & 0o777).toBe(0o700)
  expect(fs.statSync(`${root}/a/b`).mode & 0o777).toBe(0o700)
  expect(fs.statSync(`${root}/a/f`).mode & 0o777).toBe(0o600)
  fs.rmSync(root, { recursive: true })
})

test.skipIf(process.getuid?.() === 0)(
  "[needs a user that is not root] a directory without permission is EACCES and not retryable",
  async () => {
    const directory = await load()
    const root = makeRoot()
    fs.chmodSync(root, 0o500)
    expect(await codeOf(() => directory.openUnsafe(`${root}/a`, "create"))).toBe("EACCES")
    expect(await codeOf(directory.makeDirectory(`${root}/b`))).toBe("EACCES")
    fs.rmSync(root, { recursive: true })
  },
)

test("a store into a mapping never reaches the file", async () => {
  const directory = await load()
  const root = makeRoot()
  fs.writeFileSync(`${root}/a`, "hello")
  const file = directory.openUnsafe(`${root}/a`, "read")
  const view = file.mapUnsafe(5)
  if (view) view[0] = 0
  file.closeUnsafe()
  expect(fs.readFileSync(`${root}/a`, "utf8")).toBe("hello")
  fs.rmSync(root, { recursive: true })
})

test("a sync that is interrupted is waited for", async () => {
  const directory = await load()
  const root = makeRoot()
  const file = directory.openUnsafe(`${root}/a`, "create")
  const buffer = new Uint8Array(1 << 20).fill(1)
  for (let round = 0; round < 50; round++) {
    file.writeUnsafe(buffer, 0, buffer.length, 0)
    const controller = new AbortController()
    const running = Effect.runPromiseExit(file.syncData, { signal: controller.signal })
    controller.abort()
    await running
  }
  // The descriptor is free: nothing that still runs could meet the next file's number.
  file.closeUnsafe()
  fs.rmSync(root, { recursive: true })
})

test("an error without a system's code keeps its message, and one of Deno's permissions names the flag", () => {
  const odd = systemError("reading", "/some/where", new Error("the moon is full"))
  expect([odd.code, odd.message]).toEqual(["EIO", 'reading failed with EIO: "/some/where": the moon is full'])
  // Deno knows no code for it.
  expect(systemError("writing", "/some/where", new Error("File too large (os error 27)")).code).toBe("EFBIG")
  expect(systemError("writing", "/some/where", new Error("Something new (os error 999)")).code).toBe("EIO")
  const denial = new Error('Requires read access to "/some/where", run again with the --allow-read flag')
  denial.name = "NotCapable"
  const denied = systemError("reading", "/some/where", denial)
  expect([denied.code, denied.retryable]).toEqual(["EACCES", false])
  expect(denied.message).toContain("--allow-read")
})

test("the file system of a path is that of the longest mount point above it", () => {
  const table = [
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw",
    "30 22 0:25 / /mnt rw - nfs4 server:/export rw",
    "31 30 254:1 / /mnt/local\\040disk rw shared:2 master:1 - xfs /dev/vdb rw",
    "32 22 0:26 / /over rw - ext4 /dev/vdc rw",
    "33 32 0:27 / /over rw - fuse.sshfs host: rw",
    "",
  ].join("\n")
  expect(networkTypeOf("/mnt/store", table)).toBe("nfs4")
  expect(networkTypeOf("/mnt", table)).toBe("nfs4")
  expect(networkTypeOf("/mntother", table)).toBe(undefined)
  expect(networkTypeOf("/mnt/local disk/store", table)).toBe(undefined)
  expect(networkTypeOf("/over/x", table)).toBe("fuse.sshfs")
  expect(networkTypeOf("/", table)).toBe(undefined)
})
