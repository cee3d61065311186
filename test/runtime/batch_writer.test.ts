// The thread that writes batches: what it makes and writes, what it says of files that it cannot write, and what becomes of a batch whose thread is not there.

import { afterAll, expect, test } from "bun:test"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import { rootDirectory } from "../../scripts/runtimes.mjs"
import type { BatchFile, BatchWriter } from "../../src/port/batch_writer.ts"
import { openBatchWriter } from "../../src/runtime/batch_writer.ts"
import { findSyncfs, isSyncfsTold } from "../../src/runtime/syncfs.ts"

const root = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "bop-aof-")))
/** A file system in memory, which is not synced as a whole. */
const memory = fs.existsSync("/dev/shm") ? fs.mkdtempSync("/dev/shm/bop-aof-") : undefined

afterAll(() => {
  fs.rmSync(root, { recursive: true })
  if (memory !== undefined) fs.rmSync(memory, { recursive: true })
})

/** Whatever else this machine has to write. */
const dirtyBytesMax = Number.POSITIVE_INFINITY
const isThere = isSyncfsTold(root) && findSyncfs() !== undefined
const needsIt = test.skipIf(!isThere)

const withWriter = async (run: (writer: BatchWriter) => Promise<void>): Promise<void> => {
  const writer = openBatchWriter(root, { dirtyBytesMax })!
  try {
    await run(writer)
  } finally {
    await Effect.runPromise(writer.close)
  }
}

const bytes = (): Uint8Array => new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8])
const folder = join(root, "s", "segments")
const newFile: BatchFile = {
  path: join(folder, "1.seg"),
  isNew: true,
  folders: [join(root, "s"), folder],
  pieces: [
    { from: 0, to: 2, position: 0 },
    { from: 2, to: 5, position: 6 },
  ],
}
const more: BatchFile = { path: newFile.path, isNew: false, folders: [], pieces: [{ from: 5, to: 8, position: 9 }] }

needsIt(
  "[needs syncfs] a batch makes private directories and files, writes each piece in its place, and goes on in files that are there",
  () =>
    withWriter(async (writer) => {
      expect(await Effect.runPromise(writer.write([newFile], bytes()))).toEqual(["durable"])
      expect([...fs.readFileSync(newFile.path)]).toEqual([1, 2, 0, 0, 0, 0, 3, 4, 5])
      expect(fs.statSync(newFile.path).mode & 0o777).toBe(0o600)
      expect(fs.statSync(folder).mode & 0o777).toBe(0o700)
      expect(await Effect.runPromise(writer.write([more, newFile], bytes()))).toEqual(["durable", "durable"])
      expect([...fs.readFileSync(newFile.path)]).toEqual([1, 2, 0, 0, 0, 0, 3, 4, 5, 6, 7, 8])
    }),
)

needsIt("[needs syncfs] what others write is synced too", () =>
  withWriter(async (writer) => {
    writer.watchUnsafe()
    fs.writeFileSync(join(root, "by-others"), "1")
    expect(await Effect.runPromise(writer.sync(1))).toBeUndefined()
    expect(
      await Effect.runPromise(writer.write([{ ...newFile, path: join(root, "next"), folders: [] }], bytes())),
    ).toEqual(["durable"])
  }),
)

needsIt("[needs syncfs] files that cannot be written are named, and the others are written", () =>
  withWriter(async (writer) => {
    fs.writeFileSync(join(root, "plain"), "")
    fs.symlinkSync(join(root, "plain"), join(root, "link"))
    const inFile = { ...newFile, path: join(root, "plain", "1.seg"), folders: [join(root, "plain", "segments")] }
    const missing = { ...more, path: join(root, "missing") }
    const link = { ...more, path: join(root, "link") }
    const good = { ...newFile, path: join(root, "good"), folders: [] }
    expect(await Effect.runPromise(writer.write([inFile, missing, good, link], bytes()))).toEqual([
      "failed",
      "failed",
      "durable",
      "failed",
    ])
    expect(fs.readFileSync(join(root, "plain")).length).toBe(0)
    expect(fs.existsSync(join(root, "missing"))).toBe(false)
    expect(fs.readFileSync(join(root, "good")).length).toBe(9)
  }),
)

needsIt("[needs syncfs] many files are one batch", () =>
  withWriter(async (writer) => {
    const files = Array.from({ length: 300 }, (_, at): BatchFile => {
      const own = join(root, `many-${at}`)
      return { ...newFile, path: join(own, "1.seg"), folders: [own] }
    })
    expect(new Set(await Effect.runPromise(writer.write(files, bytes())))).toEqual(new Set(["durable"]))
    for (const { path } of files) expect(fs.statSync(path).size).toBe(9)
  }),
)

test.skipIf(memory === undefined)(
  "[needs /dev/shm] there is none where the sync of a file system tells nothing",
  () => {
    expect(openBatchWriter(memory!)).toBeUndefined()
  },
)

needsIt("[needs syncfs] where no thread can be started nothing is written", async () => {
  const refused = openBatchWriter(root, {
    start: () => {
      throw new Error("no")
    },
  })!
  const file = { ...newFile, path: join(root, "refused"), folders: [] }
  const error = await Effect.runPromise(Effect.flip(refused.write([file], bytes())))
  expect(error.code).toBe("ENOTSUP")
  expect(fs.existsSync(file.path)).toBe(false)
  expect(await Effect.runPromise(Effect.flip(refused.sync(1)))).toMatchObject({ code: "ENOTSUP" })
  await Effect.runPromise(refused.close)
})

needsIt("[needs syncfs] while others have much to write there is none", async () => {
  const writer = openBatchWriter(root, { dirtyBytesMax: -1 })!
  const file = { ...newFile, path: join(root, "busy"), folders: [] }
  expect(writer.isResting).toBe(false)
  const error = await Effect.runPromise(Effect.flip(writer.write([file], bytes())))
  expect([error.code, fs.existsSync(file.path), writer.isResting]).toEqual(["EAGAIN", false, true])
  expect(await Effect.runPromise(Effect.flip(writer.sync(1)))).toMatchObject({ code: "EAGAIN" })
  await Effect.runPromise(writer.close)
})

needsIt("[needs syncfs] what a thread that died has written is not known", async () => {
  const program = new URL(`file://${rootDirectory}/test/support/dying_batch_thread.ts`)
  const dying = openBatchWriter(root, { start: () => new Worker(program) })!
  expect(await Effect.runPromise(dying.write([newFile, more], bytes()))).toEqual(["lost", "lost"])
  dying.watchUnsafe()
  expect(await Effect.runPromise(Effect.flip(dying.sync(1)))).toMatchObject({ code: "EIO" })
  await Effect.runPromise(dying.close)
})

needsIt(
  "[needs syncfs] a batch that is on its way when the thread is ended is cut off, and what it has written is not known",
  async () => {
    const writer = openBatchWriter(root, { dirtyBytesMax })!
    const cut = join(root, "cut")
    const files = Array.from({ length: 20_000 }, (_, at): BatchFile => {
      return { ...newFile, path: join(cut, `${at}.seg`), folders: [cut] }
    })
    const written = Effect.runPromise(writer.write(files, bytes()))
    while (!fs.existsSync(cut)) await new Promise((resolve) => setTimeout(resolve, 1))
    await Effect.runPromise(writer.close)
    // What was not begun is as it was.
    expect([...new Set(await written)].filter((outcome) => outcome !== "failed")).toEqual(["lost"])
    const { length } = fs.readdirSync(cut)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(fs.readdirSync(cut).length).toBe(length)
    expect(length).toBeLessThan(files.length)
  },
)
