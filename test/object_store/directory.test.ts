// The object store in a directory, on the disk of the runtime that runs this and on the memory disk.

import { expect, test } from "bun:test"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { makeDirectoryStore } from "../../src/object_store/directory.ts"
import { Directory } from "../../src/port/directory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { RootLock } from "../../src/port/root_lock.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { bodyOf, describeObjectStore, pattern } from "../support/object_store_conformance.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"

const run = Effect.runPromise

type Services = Context.Context<Directory | RootLock>

const makeStore = (services: Services, path: string, scope: Scope.Scope): Promise<ObjectStore> => {
  const directory = Context.get(services, Directory)
  const lock = Context.get(services, RootLock)
  return run(Scope.provide(makeDirectoryStore({ directory, lock, path }), scope))
}

const loadServices = async (scope: Scope.Scope): Promise<Services> =>
  run(Layer.buildWithScope(await loadRuntimeLayer(), scope))

const makeRoot = (): string => fs.mkdtempSync(join(tmpdir(), "bop-aof-store-"))

describeObjectStore("the directory store on a real disk", async () => {
  const scope = Scope.makeUnsafe()
  const root = makeRoot()
  const services = await loadServices(scope)
  const path = `${root}/deep/store`
  const [store, second] = [await makeStore(services, path, scope), await makeStore(services, path, scope)]
  const close = async (): Promise<void> => {
    await run(Scope.close(scope, Exit.void))
    expect(fs.readdirSync(`${path}/.temp`)).toEqual([])
    fs.rmSync(root, { recursive: true })
  }
  return { store, second, close }
})

describeObjectStore("the directory store on the memory disk", async () => {
  const scope = Scope.makeUnsafe()
  const disk = new MemoryDisk()
  const store = await makeStore(disk.services(), "/store", scope)
  const second = await makeStore(disk.services(), "/store", scope)
  return { store, second, close: () => run(Scope.close(scope, Exit.void)) }
})

test("an object is a plain file under its key, and nothing else lies beside it", async () => {
  const root = makeRoot()
  const scope = Scope.makeUnsafe()
  const store = await makeStore(await loadServices(scope), `${root}/`, scope)
  expect(fs.readdirSync(root)).toEqual([])
  const content = pattern(300_000)
  await run(store.put("a/b.zst", bodyOf(content)))
  expect(new Uint8Array(fs.readFileSync(`${root}/objects/a/b.zst`))).toEqual(content)
  expect(fs.readdirSync(`${root}/objects/a`)).toEqual(["b.zst"])
  expect(fs.readdirSync(root).sort()).toEqual([".lock", ".temp", "objects"])
  expect(store.place).toBe(root)
  await run(Scope.close(scope, Exit.void))
  expect(fs.readdirSync(`${root}/.temp`)).toEqual([])
  fs.rmSync(root, { recursive: true })
})

test("what is no object is neither listed nor given, and does not stand in the way", async () => {
  const root = makeRoot()
  const scope = Scope.makeUnsafe()
  const store = await makeStore(await loadServices(scope), root, scope)
  await run(store.put("a", bodyOf("x")))
  fs.mkdirSync(`${root}/objects/folder`)
  fs.writeFileSync(`${root}/objects/.hidden`, "x")
  fs.writeFileSync(`${root}/objects/with space`, "x")
  fs.symlinkSync(`${root}/none`, `${root}/objects/dangling`)
  expect((await run(store.list(""))).objects.map(({ key }) => key)).toEqual(["a"])
  expect(await run(store.head("dangling"))).toBe(undefined)
  await run(Scope.close(scope, Exit.void))
  fs.rmSync(root, { recursive: true })
})

test("unfinished objects of a process that has ended are removed by the next put, those of a living one stay", async () => {
  const disk = new MemoryDisk()
  const [dead, living] = [Scope.makeUnsafe(), Scope.makeUnsafe()]
  const directory = (): Directory => Context.get(disk.services(), Directory)
  const hang = { lengthBytes: 1000, read: () => Effect.never }
  const start = async (store: ObjectStore): Promise<void> => {
    Effect.runFork(store.put("a", hang))
    while (!(await isBegun(directory(), count))) await new Promise<void>((resolve) => setImmediate(resolve))
  }
  let count = 1
  await start(await makeStore(disk.services(), "/store", dead))
  disk.kill()
  count = 2
  const first = await makeStore(disk.services(), "/store", living)
  await run(first.put("b", bodyOf("x")))
  const names = await tempNames(directory())
  expect(names.length).toBe(1)
  count = 1
  await start(first)
  const second = await makeStore(disk.services(), "/store", living)
  await run(second.put("c", bodyOf("x")))
  expect((await tempNames(directory())).includes(names[0]!)).toBe(true)
  await run(second.put("d", bodyOf("x")))
})

const tempNames = async (directory: Directory): Promise<ReadonlyArray<string>> =>
  (await run(directory.list("/store/.temp"))).map(({ name }) => name)

const isBegun = async (directory: Directory, count: number): Promise<boolean> => {
  const lists = await Promise.all(
    (await tempNames(directory)).map((name) => run(directory.list(`/store/.temp/${name}`))),
  )
  return lists.flat().length >= count
}

test("a put whose folder was taken away makes a new one", async () => {
  const root = makeRoot()
  const scope = Scope.makeUnsafe()
  const store = await makeStore(await loadServices(scope), root, scope)
  await run(store.put("a/b", bodyOf("x")))
  fs.rmSync(root, { recursive: true })
  const isRetried = (error: { readonly _tag: string }): boolean => error._tag === "StoreError"
  await run(Effect.retry(store.put("a/b", bodyOf("y")), { times: 3, while: isRetried }))
  expect(fs.readFileSync(`${root}/objects/a/b`, "utf8")).toBe("y")
  await run(Scope.close(scope, Exit.void))
  fs.rmSync(root, { recursive: true })
})
