// What keeps a store to its own directories, and its files to their owner: names, keys and what files say about names, symbolic links below the
// root, modes whatever the umask is, sizes that a file claims to have, and secrets in what is shown.

import { describe, expect, test } from "bun:test"
import * as fs from "node:fs"
import { inspect } from "node:util"
import type { TierEvent } from "bop-aof"
import { AofManager } from "bop-aof"
import { crc64 } from "../../src/format/checksum.ts"
import { encodeCommitSlot, encodeManifestHeader } from "../../src/format/manifest_chunk.ts"
import { encodeManifestRecord } from "../../src/format/manifest_record.ts"
import { encodeRootFile } from "../../src/format/root_file.ts"
import { failure, makeRoot, texts } from "../support/api.ts"

const options = { segmentBytes: 16 * 1024, stagingBytes: 4096 }

/** Every path below a folder, with what lstat says. */
const walk = (folder: string): ReadonlyArray<readonly [string, fs.Stats]> =>
  fs.readdirSync(folder).flatMap((name) => {
    const path = `${folder}/${name}`
    const stat = fs.lstatSync(path)
    return [[path, stat] as const, ...(stat.isDirectory() ? walk(path) : [])]
  })

const posixTest = test.skipIf(process.platform === "win32")

describe("modes", () => {
  // What is asked for, where the runtime can change its umask at all.
  const before = process.umask(0)
  const isChangeable = process.umask(before) === 0
  posixTest("of files and directories are private in every tier, whatever the umask is", async () => {
    if (isChangeable) process.umask(0)
    try {
      const root = makeRoot()
      const manager = await AofManager.open({
        root: `${root}/store`,
        ...options,
        tier2: { upload: "eager", deleteGraceMs: 0 },
      })
      const stream = await manager.stream("s")
      for (let number = 0; number < 20; number++) await stream.append(`record ${number} `.repeat(100))
      await stream.seal()
      await stream.evict({ to: "tier2" })
      await stream.prefetch({ to: "tier0" })
      await manager.customEvent(1, new Uint8Array(10))
      const open = walk(root)
      await manager.close()
      const all = new Map([...open, ...walk(root)])
      const wrong = [...all].filter(([, stat]) => (stat.mode & 0o777) !== (stat.isDirectory() ? 0o700 : 0o600))
      expect(wrong.map(([path, stat]) => `${path.slice(root.length)} ${(stat.mode & 0o777).toString(8)}`)).toEqual([])
      for (const part of ["/LOCK", "/ROOT", ".chunk", ".seg", ".seg.zst", ".zst", "/current.sealed"]) {
        expect([part, [...all.keys()].some((path) => path.endsWith(part))]).toEqual([part, true])
      }
    } finally {
      process.umask(before)
    }
  })
})

describe("names", () => {
  const bad = ["..", ".", "../x", "a/b", "a\\b", "/etc", "", "a\0b", ".hidden", "a".repeat(129), "ü", "a b", "a\n"]
  test.each(bad)("%j is no stream name, and makes nothing", async (name: string) => {
    const root = makeRoot()
    const manager = await AofManager.open({ root: `${root}/store`, ...options })
    const before = walk(root).length
    expect((await failure(manager.stream(name)))._tag).toBe("InvalidArgument")
    expect((await failure(manager.deleteStream(name)))._tag).toBe("InvalidArgument")
    expect(walk(root).length).toBe(before)
    await manager.close()
  })

  test("a manifest that names a stream outside of the root is not followed", async () => {
    for (const name of ["../../outside", "..", "/tmp/outside", ".deleted-1", "a/../../../outside"]) {
      const root = makeRoot()
      const store = `${root}/store`
      fs.mkdirSync(`${store}/manifest`, { recursive: true })
      const rootId = new Uint8Array(16).fill(7)
      fs.writeFileSync(`${store}/ROOT`, encodeRootFile(rootId, 1))
      const head = { reasonCode: 0, sequence: 1, timestampMs: 1, rest: undefined }
      const record = encodeManifestRecord({ ...head, type: "StreamCreated", streamId: 1, name })
      const bytes = new Uint8Array(1536 + record.length)
      bytes.set(encodeManifestHeader({ kind: 0, rootId, chunkSequence: 1, firstRecordSequence: 1, createdMs: 1 }))
      const slot = { committedBytes: record.length, recordCount: 1, checksum64: crc64(record) }
      encodeCommitSlot(bytes, 1024, { sequence: 2, ...slot })
      encodeCommitSlot(bytes, 512, { sequence: 3, ...slot })
      bytes.set(record, 1536)
      fs.writeFileSync(`${store}/manifest/0000000001.chunk`, bytes)
      const manager = await AofManager.open({ root: store, ...options })
      expect(manager.streams()).toEqual([])
      await (await manager.stream("ok")).append("x")
      await manager.close()
      expect(fs.readdirSync(root)).toEqual(["store"])
    }
  })
})

describe("symbolic links", () => {
  const links = ["streams", "manifest", "quarantine", "tier2", "streams/s", "streams/s/segments", "streams/s/warm"]
  posixTest.each(links)(
    "in the place of %s are refused, and nothing is written where they lead",
    async (link: string) => {
      const root = makeRoot()
      const store = `${root}/store`
      const write = async (): Promise<void> => {
        const manager = await AofManager.open({ root: store, ...options })
        try {
          const stream = await manager.stream("s")
          await stream.append("x")
          await stream.seal()
        } finally {
          await manager.close()
        }
      }
      await write()
      fs.mkdirSync(`${root}/elsewhere`)
      fs.writeFileSync(`${root}/elsewhere/mine`, "mine")
      fs.rmSync(`${store}/${link}`, { recursive: true, force: true })
      fs.symlinkSync(`${root}/elsewhere`, `${store}/${link}`)
      const opened = write()
      const error = await failure(opened)
      expect([error._tag, error.code]).toEqual(["Unavailable", "ELOOP"])
      expect(error.message).toContain(link)
      expect(fs.readdirSync(`${root}/elsewhere`)).toEqual(["mine"])
    },
  )

  posixTest("in the place of a file of the store are not followed", async () => {
    const root = makeRoot()
    const store = `${root}/store`
    const manager = await AofManager.open({ root: store, ...options })
    const stream = await manager.stream("s")
    await stream.append("x")
    await manager.close()
    const segment = `${store}/streams/s/segments/0000000001.seg`
    fs.renameSync(segment, `${root}/target`)
    const before = fs.readFileSync(`${root}/target`)
    fs.symlinkSync(`${root}/target`, segment)
    const error = await failure(AofManager.open({ root: store, ...options }).then((one) => one.close()))
    expect([error._tag, error.code]).toEqual(["Unavailable", "ELOOP"])
    expect(fs.readFileSync(`${root}/target`)).toEqual(before)
  })

  posixTest("may lead to the root itself", async () => {
    const root = makeRoot()
    fs.mkdirSync(`${root}/real`)
    fs.symlinkSync(`${root}/real`, `${root}/link`)
    const manager = await AofManager.open({ root: `${root}/link`, ...options })
    await (await manager.stream("s")).append("x")
    await manager.close()
    const again = await AofManager.open({ root: `${root}/real`, ...options })
    expect(await texts(await again.stream("s"))).toEqual(["x"])
    await again.close()
  })
})

describe("sizes", () => {
  test("of small files that are huge are not read whole", async () => {
    const root = makeRoot()
    const store = `${root}/store`
    const manager = await AofManager.open({ root: store, ...options })
    const stream = await manager.stream("s")
    await stream.append("x")
    await stream.seal()
    await manager.close()
    // Sparse: they take no room on the disk, and would take all memory.
    for (const path of [`${store}/ROOT`, `${store}/streams/s/segments/current.sealed`]) fs.truncateSync(path, 2 ** 40)
    fs.mkdirSync(`${store}/streams/strange/segments`, { recursive: true })
    fs.writeFileSync(`${store}/streams/strange/segments/0000000001.seg`, "")
    fs.truncateSync(`${store}/streams/strange/segments/0000000001.seg`, 2 ** 40)
    fs.writeFileSync(`${store}/manifest/0000000009.chunk`, "")
    fs.truncateSync(`${store}/manifest/0000000009.chunk`, 2 ** 40)
    const again = await AofManager.open({ root: store, ...options })
    expect(await texts(await again.stream("s"))).toEqual(["x"])
    await again.scrub({ bytesPerSecond: 2 ** 36 })
    await again.close()
  })
})

test("a lock file of a size that no lock file has is told, and not read whole", async () => {
  const root = makeRoot()
  const store = `${root}/store`
  await (await AofManager.open({ root: store, ...options })).close()
  fs.writeFileSync(`${store}/LOCK`, "")
  fs.truncateSync(`${store}/LOCK`, 2 ** 40)
  const error = await failure(AofManager.open({ root: store, ...options }))
  expect([error._tag, error.code]).toEqual(["Unavailable", "EBUSY"])
  expect(error.message).toContain("names no process")
})

describe("secrets", () => {
  test("of an object store are in no error, event, dump or report", async () => {
    const { s3Store } = await import("../../src/api/s3.ts")
    const secret = "a-secret-that-nobody-may-see"
    const root = makeRoot()
    const events: Array<TierEvent> = []
    const store = s3Store({
      bucket: "bucket",
      region: "us-east-1",
      endpoint: "http://127.0.0.1:9",
      credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: secret, sessionToken: secret },
    })
    const tier2 = { store, requestTimeoutMs: 1000, retry: { maxAttempts: 1, baseDelayMs: 1 } }
    const shown: Array<string> = [inspect(store, { depth: 10, showHidden: true }), JSON.stringify(store), String(store)]
    const opened = AofManager.open({ root: `${root}/store`, ...options, tier2, onEvent: (event) => events.push(event) })
    const manager = await opened.catch((error: unknown) => {
      shown.push(inspect(error, { depth: 10 }), JSON.stringify(error))
      return undefined
    })
    if (manager !== undefined) {
      shown.push(JSON.stringify(manager.observe()), JSON.stringify(manager.recovery), inspect(manager, { depth: 10 }))
      await manager.close()
    }
    shown.push(JSON.stringify(events))
    expect(shown.length).toBeGreaterThan(4)
    expect(shown.filter((text) => text?.includes(secret))).toEqual([])
  })
})
