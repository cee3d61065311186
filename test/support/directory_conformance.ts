// What every adapter of the file ports does, whatever it stands on. A test file names the adapter and says where it may write.

import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Unavailable } from "../../src/model/errors.ts"
import { Directory } from "../../src/port/directory.ts"
import { EventLoop } from "../../src/port/event_loop.ts"
import { RootLock } from "../../src/port/root_lock.ts"

type Services = Directory | RootLock | EventLoop

/** An adapter, and a directory that exists and is empty; `canMap` says whether mappings are expected. */
export interface Subject {
  readonly name: string
  readonly layer: Layer.Layer<Services>
  readonly root: string
  readonly canMap: boolean
}

const run = <A>(effect: Effect.Effect<A, Unavailable>): Promise<A> => Effect.runPromise(effect)

/** The code that an effect or a synchronous call fails with, or `none`. */
export const codeOf = async (failing: Effect.Effect<unknown, Unavailable> | (() => unknown)): Promise<string> => {
  try {
    if (typeof failing === "function") failing()
    else await run(failing)
    return "none"
  } catch (error) {
    expect(error).toBeInstanceOf(Unavailable)
    return (error as Unavailable).code
  }
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

/** Adds the suite of one adapter; `makeSubject` is called once. */
export function describeDirectory(name: string, makeSubject: () => Subject | Promise<Subject>): void {
  let subject: Subject
  let directory: Directory
  let services: Context.Context<Services>
  let next = 0
  /** A directory of its own for each test. */
  const fresh = async (): Promise<string> => {
    const path = `${subject.root}/test${next++}`
    await run(directory.makeDirectory(path))
    return path
  }
  const put = (path: string, text: string): void => {
    const file = directory.openUnsafe(path, "create")
    file.writeUnsafe(bytesOf(text), 0, text.length, 0)
    file.closeUnsafe()
  }

  describe(name, () => {
    const scope = Scope.makeUnsafe()
    beforeAll(async () => {
      subject = await makeSubject()
      services = await Effect.runPromise(Layer.buildWithScope(subject.layer, scope))
      directory = Context.get(services, Directory)
    })
    afterAll(async () => {
      await run(directory.removeDirectory(subject.root))
      await Effect.runPromise(Scope.close(scope, Exit.void))
    })

    describe("a file", () => {
      test("reads what was written at a position, and less at its end", async () => {
        const file = directory.openUnsafe(`${await fresh()}/a`, "create")
        file.writeUnsafe(bytesOf("..hello.."), 2, 7, 3)
        expect(file.sizeUnsafe()).toBe(8)
        const buffer = bytesOf("----------")
        expect(file.readUnsafe(buffer, 1, 9, 2)).toBe(6)
        expect(textOf(buffer)).toBe("-\0hello---")
        expect(file.readUnsafe(buffer, 0, 10, 8)).toBe(0)
        expect(file.readUnsafe(buffer, 0, 10, 5_000_000_000)).toBe(0)
        file.closeUnsafe()
      })

      test("reads and writes off the main thread as it does on it", async () => {
        const file = directory.openUnsafe(`${await fresh()}/a`, "create")
        await run(file.write(bytesOf("..hello.."), 2, 7, 3))
        await run(file.write(bytesOf("x"), 0, 0, 100))
        expect(file.sizeUnsafe()).toBe(8)
        const buffer = bytesOf("----------")
        expect(await run(file.read(buffer, 1, 9, 2))).toBe(6)
        expect(textOf(buffer)).toBe("-\0hello---")
        expect(await run(file.read(buffer, 0, 10, 8))).toBe(0)
        expect(await run(file.read(buffer, 0, 0, 0))).toBe(0)
        expect(await run(file.read(buffer, 0, 10, 5_000_000_000))).toBe(0)
        file.closeUnsafe()
        expect(await codeOf(file.read(buffer, 0, 1, 0))).toBe("EBADF")
        expect(await codeOf(file.write(buffer, 0, 1, 0))).toBe("EBADF")
        const reading = directory.openUnsafe(file.path, "read")
        expect(await codeOf(reading.write(buffer, 0, 1, 0))).toBe("EBADF")
        expect(await run(reading.read(buffer, 0, 10, 0))).toBe(8)
        reading.closeUnsafe()
      })

      test("reads and writes at many positions at once without mixing them up", async () => {
        const file = directory.openUnsafe(`${await fresh()}/a`, "create")
        const pieces = Array.from({ length: 40 }, (_, index) => new Uint8Array(3000).fill(index + 1))
        await Promise.all(pieces.map((piece, index) => run(file.write(piece, 0, piece.length, index * 3000))))
        const found = pieces.map(() => new Uint8Array(3000))
        await Promise.all([
          ...found.map((buffer, index) => run(file.read(buffer, 0, 3000, index * 3000))),
          run(file.write(pieces[0]!, 0, 3000, 120_000)),
        ])
        expect(found.every((buffer, index) => buffer.every((byte) => byte === index + 1))).toBe(true)
        expect(file.sizeUnsafe()).toBe(123_000)
        file.closeUnsafe()
      })

      test("is filled with zeros in pieces, cut and extended", async () => {
        const file = directory.openUnsafe(`${await fresh()}/a`, "create")
        file.writeUnsafe(new Uint8Array(100).fill(7), 0, 100, 0)
        const end = 2 * 1024 * 1024 + 17
        await run(file.zeroFill(90, end))
        expect(file.sizeUnsafe()).toBe(end)
        await run(file.zeroFill(5, 5))
        const buffer = new Uint8Array(100)
        file.readUnsafe(buffer, 0, 100, 0)
        expect(buffer.indexOf(0)).toBe(90)
        await run(file.truncate(95))
        expect(file.sizeUnsafe()).toBe(95)
        await run(file.truncate(200))
        expect(file.readUnsafe(buffer, 0, 100, 100)).toBe(100)
        expect(buffer.every((byte) => byte === 0)).toBe(true)
        await run(file.syncData)
        file.syncDataUnsafe?.()
        file.closeUnsafe()
      })

      test("takes writes while zeros are written behind them", async () => {
        const file = directory.openUnsafe(`${await fresh()}/a`, "create")
        const filling = run(file.zeroFill(1 << 20, 4 << 20))
        const piece = new Uint8Array(1000).fill(9)
        for (let position = 0; position < 500_000; position += 1000) file.writeUnsafe(piece, 0, 1000, position)
        await filling
        const all = await run(directory.readFile(file.path))
        expect(all?.length).toBe(4 << 20)
        expect(all?.subarray(0, 500_000).every((byte) => byte === 9)).toBe(true)
        expect(all?.subarray(500_000).every((byte) => byte === 0)).toBe(true)
        file.closeUnsafe()
      })

      test("is mapped where the runtime can, and stays so when it is gone", async () => {
        const path = `${await fresh()}/a`
        put(path, "0123456789")
        const file = directory.openUnsafe(path, "read")
        const view = file.mapUnsafe(8)
        expect(view !== undefined).toBe(subject.canMap)
        expect(file.mapUnsafe(11)).toBe(undefined)
        expect(file.mapUnsafe(0)).toBe(undefined)
        const part = view?.subarray(4)
        file.closeUnsafe()
        await run(directory.remove(path))
        put(path, "##########")
        if (view) expect(textOf(view)).toBe("01234567")
        if (part) expect(textOf(part)).toBe("4567")
      })

      test("is dead after close, which may be called again and during a sync", async () => {
        const file = directory.openUnsafe(`${await fresh()}/a`, "create")
        file.writeUnsafe(bytesOf("x"), 0, 1, 0)
        const sync = run(file.syncData)
        file.closeUnsafe()
        file.closeUnsafe()
        await sync
        const buffer = new Uint8Array(1)
        expect(await codeOf(() => file.writeUnsafe(buffer, 0, 1, 0))).toBe("EBADF")
        expect(await codeOf(() => file.readUnsafe(buffer, 0, 1, 0))).toBe("EBADF")
        expect(await codeOf(() => file.sizeUnsafe())).toBe("EBADF")
        expect(await codeOf(file.syncData)).toBe("EBADF")
        if (file.syncDataUnsafe) expect(await codeOf(() => file.syncDataUnsafe?.())).toBe("EBADF")
        expect(await codeOf(file.truncate(0))).toBe("EBADF")
        expect(await codeOf(file.zeroFill(0, 1))).toBe("EBADF")
      })

      test("opened to read refuses writes", async () => {
        const path = `${await fresh()}/a`
        put(path, "x")
        const file = directory.openUnsafe(path, "read")
        expect(await codeOf(() => file.writeUnsafe(bytesOf("y"), 0, 1, 0))).toBe("EBADF")
        file.closeUnsafe()
      })

      test("is opened by mode, or refused with the code and the path", async () => {
        const root = await fresh()
        put(`${root}/a`, "x")
        expect(await codeOf(() => directory.openUnsafe(`${root}/a`, "create"))).toBe("EEXIST")
        expect(await codeOf(() => directory.openUnsafe(`${root}/b`, "read"))).toBe("ENOENT")
        expect(await codeOf(() => directory.openUnsafe(`${root}/b`, "write"))).toBe("ENOENT")
        expect(await codeOf(() => directory.openUnsafe(`${root}/none/b`, "create"))).toBe("ENOENT")
        expect(await codeOf(() => directory.openUnsafe(`${root}/a/b`, "create"))).toBe("ENOTDIR")
        expect(await codeOf(() => directory.openUnsafe(root, "write"))).toBe("EISDIR")
        expect(() => directory.openUnsafe(`${root}/none/b`, "create")).toThrow("/none/b")
      })
    })

    describe("a directory", () => {
      test("lists its entries in name order, nothing when it is missing", async () => {
        const root = await fresh()
        for (const name of ["b", "a", "10", "9", "é"]) put(`${root}/${name}`, "x")
        await run(directory.makeDirectory(`${root}/c/d`))
        const entries = await run(directory.list(root))
        expect(entries.map((entry) => entry.name)).toEqual(["10", "9", "a", "b", "c", "é"])
        expect(entries.filter((entry) => entry.isDirectory).map((entry) => entry.name)).toEqual(["c"])
        expect(await run(directory.list(`${root}/none`))).toEqual([])
        expect(await codeOf(directory.list(`${root}/a`))).toBe("ENOTDIR")
      })

      test("is made with its parents once, and not where a file is", async () => {
        const root = await fresh()
        await run(directory.makeDirectory(`${root}/a/b/c`))
        await run(directory.makeDirectory(`${root}/a/b/c`))
        expect(await run(directory.kind(`${root}/a/b/c`))).toBe("directory")
        put(`${root}/f`, "x")
        expect(await codeOf(directory.makeDirectory(`${root}/f`))).toBe("ENOTDIR")
        expect(await codeOf(directory.makeDirectory(`${root}/f/g`))).toBe("ENOTDIR")
        expect(await run(directory.kind(`${root}/f`))).toBe("file")
        expect(await run(directory.kind(`${root}/none`))).toBe("missing")
      })

      test("is made by two at once", async () => {
        const root = await fresh()
        const path = `${root}/x/y`
        await Promise.all([run(directory.makeDirectory(path)), run(directory.makeDirectory(path))])
        expect(await run(directory.kind(path))).toBe("directory")
      })

      test("reads whole files, and undefined for a missing one", async () => {
        const root = await fresh()
        put(`${root}/a`, "hello")
        const bytes = await run(directory.readFile(`${root}/a`))
        expect(textOf(bytes)).toBe("hello")
        expect(Object.getPrototypeOf(bytes)).toBe(Uint8Array.prototype)
        put(`${root}/empty`, "")
        expect((await run(directory.readFile(`${root}/empty`)))?.length).toBe(0)
        expect(await run(directory.readFile(`${root}/none`))).toBe(undefined)
        expect(await codeOf(directory.readFile(root))).toBe("EISDIR")
      })

      test("renames over an existing file, both ways", async () => {
        const root = await fresh()
        put(`${root}/a`, "new")
        put(`${root}/b`, "old")
        const open = directory.openUnsafe(`${root}/b`, "read")
        await run(directory.rename(`${root}/a`, `${root}/b`))
        expect(textOf(await run(directory.readFile(`${root}/b`)))).toBe("new")
        const buffer = new Uint8Array(3)
        open.readUnsafe(buffer, 0, 3, 0)
        expect(textOf(buffer)).toBe("old")
        open.closeUnsafe()
        directory.renameUnsafe(`${root}/b`, `${root}/c`)
        expect((await run(directory.list(root))).map((entry) => entry.name)).toEqual(["c"])
        expect(await codeOf(directory.rename(`${root}/a`, `${root}/b`))).toBe("ENOENT")
        expect(await codeOf(() => directory.renameUnsafe(`${root}/a`, `${root}/b`))).toBe("ENOENT")
        await run(directory.makeDirectory(`${root}/d`))
        directory.renameUnsafe(`${root}/d`, `${root}/e`)
        expect(await codeOf(() => directory.renameUnsafe(`${root}/c`, `${root}/e`))).toBe("EISDIR")
        expect(await run(directory.kind(`${root}/e`))).toBe("directory")
      })

      test("gives a file a second name, but none that is taken", async () => {
        const root = await fresh()
        put(`${root}/a`, "one")
        put(`${root}/b`, "two")
        await run(directory.makeDirectory(`${root}/d`))
        await run(directory.link(`${root}/a`, `${root}/d/c`))
        expect(await codeOf(directory.link(`${root}/b`, `${root}/d/c`))).toBe("EEXIST")
        expect(await codeOf(directory.link(`${root}/a`, `${root}/a`))).toBe("EEXIST")
        expect(await codeOf(directory.link(`${root}/b`, `${root}/d`))).toBe("EEXIST")
        expect(await codeOf(directory.link(`${root}/none`, `${root}/e`))).toBe("ENOENT")
        expect(await codeOf(directory.link(`${root}/b`, `${root}/none/e`))).toBe("ENOENT")
        expect(await codeOf(directory.link(`${root}/b`, `${root}/a/e`))).toBe("ENOTDIR")
        await run(directory.remove(`${root}/a`))
        expect(textOf(await run(directory.readFile(`${root}/d/c`)))).toBe("one")
        await run(directory.rename(`${root}/b`, `${root}/d/c`))
        expect(textOf(await run(directory.readFile(`${root}/d/c`)))).toBe("two")
      })

      test("of many that link to one name lets one win", async () => {
        const root = await fresh()
        const names = Array.from({ length: 16 }, (_, index) => `${root}/${index}`)
        for (const name of names) put(name, name)
        const codes = await Promise.all(names.map((name) => codeOf(directory.link(name, `${root}/one`))))
        expect(codes.filter((code) => code === "none").length).toBe(1)
        expect(codes.filter((code) => code === "EEXIST").length).toBe(15)
        expect(textOf(await run(directory.readFile(`${root}/one`)))).toBe(names[codes.indexOf("none")]!)
      })

      test("measures files", async () => {
        const root = await fresh()
        put(`${root}/a`, "hello")
        expect(await run(directory.sizeOf(`${root}/a`))).toBe(5)
        expect(await run(directory.sizeOf(`${root}/none`))).toBe(undefined)
        expect(await run(directory.sizeOf(root))).toBe(undefined)
        expect(await codeOf(directory.sizeOf(`${root}/a/b`))).toBe("ENOTDIR")
      })

      test("removes files and whole directories, and what is missing without complaint", async () => {
        const root = await fresh()
        await run(directory.makeDirectory(`${root}/a/b`))
        put(`${root}/a/b/f`, "x")
        put(`${root}/g`, "x")
        await run(directory.remove(`${root}/g`))
        await run(directory.remove(`${root}/g`))
        await run(directory.removeDirectory(`${root}/a`))
        await run(directory.removeDirectory(`${root}/a`))
        expect(await run(directory.list(root))).toEqual([])
      })

      test("is synced, and only if it is one", async () => {
        const root = await fresh()
        put(`${root}/a`, "x")
        await run(directory.sync(root))
        expect(await codeOf(directory.sync(`${root}/none`))).toBe("ENOENT")
        expect(await codeOf(directory.sync(`${root}/a`))).toBe("ENOTDIR")
        expect(await run(directory.networkFileSystem(root))).toBe(undefined)
      })
    })

    describe("the rest", () => {
      test("the lock has one owner until its scope closes", async () => {
        const root = await fresh()
        const lock = Context.get(services, RootLock)
        const held = Effect.gen(function* () {
          yield* lock.acquire(root)
          return yield* Effect.flip(Effect.scoped(lock.acquire(root)))
        })
        const error = await Effect.runPromise(Effect.scoped(held))
        expect(error.code).toBe("EBUSY")
        expect(error.message).toContain("this process")
        expect(typeof error.holder?.pid).toBe("number")
        await Effect.runPromise(Effect.scoped(lock.acquire(root)))
        expect(await run(directory.list(root))).toEqual([])
        expect(await codeOf(Effect.scoped(lock.acquire(`${root}/none`)))).toBe("ENOENT")
      })

      test("the next turn comes after the microtasks of this one", async () => {
        const loop = Context.get(services, EventLoop)
        const events: string[] = []
        await new Promise<void>((resolve) => {
          loop.nextTurn(() => {
            events.push("turn")
            resolve()
          })
          events.push("now")
          Promise.resolve()
            .then(() => Promise.resolve())
            .then(() => events.push("microtask"))
        })
        expect(events).toEqual(["now", "microtask", "turn"])
      })
    })
  })
}
