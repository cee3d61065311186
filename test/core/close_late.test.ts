// Closing takes no longer than it may, also while the disk does not answer: whoever waits is told `Closed` then, and what is left behind changes nothing
// any more when the disk goes on.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { AofManager } from "../../src/api/manager.ts"
import { RootGuard } from "../../src/core/files/root_guard.ts"
import { unavailable } from "../../src/model/errors.ts"
import { type DiskOperation, MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure, openMemory, turns } from "../support/api.ts"
import { until } from "../support/bucket.ts"

/** Holds what `isHeld` names until it is let go. */
const holdable = () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  let letGo = (): void => {}
  const held: Array<DiskOperation> = []
  const hold = (isHeld: (operation: DiskOperation) => boolean): void => {
    const gone = new Promise<undefined>((resolve) => (letGo = () => resolve(undefined)))
    disk.onOperation = (operation) => {
      if (!isHeld(operation)) return
      held.push(operation)
      return gone
    }
  }
  return {
    disk,
    hold,
    held,
    letGo: () => {
      disk.onOperation = undefined
      letGo()
    },
  }
}

const isManifestSync = ({ kind, path }: DiskOperation): boolean => kind === "syncData" && path.includes("/manifest/")

/** How a call has ended: its tag and its code. */
const endOf = (call: Promise<unknown>): Promise<ReadonlyArray<unknown>> =>
  call.then(
    () => ["ok"],
    (error) => [error._tag, error.code],
  )

const openFilled = async (
  disk: MemoryDisk,
  options: { readonly closeTimeoutMs: number; readonly onEvent?: (event: { readonly name: string }) => void },
): Promise<AofManager> => {
  const manager = await openMemory({ segmentBytes: 4096, recordBytesMax: 1024, ...options }, disk)
  for (const name of ["a", "b", "c"]) {
    const stream = await manager.stream(name)
    for (let i = 0; i < 12; i++) await stream.append("x".repeat(900))
  }
  return manager
}

describe("a close that runs into closeTimeoutMs", () => {
  const held: ReadonlyArray<[string, (operation: DiskOperation) => boolean]> = [
    ["the manifest is not synced", isManifestSync],
    ["the disk does not answer", () => true],
  ]

  test.each(held)("answers Closed to all who wait, when %s", async (_, isHeld) => {
    const { disk, hold, held: operations, letGo } = holdable()
    const names: Array<string> = []
    const manager = await openFilled(disk, { closeTimeoutMs: 100, onEvent: ({ name }) => void names.push(name) })
    const b = await manager.stream("b")
    // Only what can be held: a call on the main thread cannot.
    hold((operation) => isHeld(operation) && !["open", "create", "write", "read"].includes(operation.kind))
    const calls = [
      manager.stream("new"),
      manager.stream("new"),
      manager.deleteStream("a"),
      b.trim({ before: b.info().lastId }),
      manager.customEvent(1, new Uint8Array(1)),
    ].map(endOf)
    await until("something is held", () => operations.length > 0)
    const closing = endOf(manager.close())
    const late = endOf(manager.stream("late"))
    expect(await closing).toEqual(["Unavailable", "ETIMEDOUT"])
    expect(await Promise.all([...calls, late])).toEqual([...calls, late].map(() => ["Closed", undefined]))
    expect(await endOf(manager.stream("later"))).toEqual(["Closed", undefined])
    letGo()
    await turns(50)
    expect(names).not.toContain("root_lost")
    const next = await openMemory({}, disk)
    expect(next.recovery.quarantined).toEqual([])
    expect([...next.streams()].filter((name) => !["a", "new"].includes(name))).toEqual(["b", "c"])
    await next.close()
  })

  test("leaves no stream open that comes when all others were released", async () => {
    const { disk, hold, letGo } = holdable()
    const manager = await openFilled(disk, { closeTimeoutMs: 1000 })
    const a = await manager.stream("a")
    hold(isManifestSync)
    const made = endOf(manager.stream("new"))
    const closing = endOf(manager.close())
    await until("streams are released", () => {
      try {
        return a.info() === undefined
      } catch {
        return true
      }
    })
    letGo()
    expect(await made).toEqual(["Closed", undefined])
    await closing
  })
})

describe("the guard of a root", () => {
  test("says that the manager is closed, and not that the root was moved, once the lock was given back", async () => {
    const guard = new RootGuard()
    let lost = 0
    guard.onLost = () => lost++
    guard.watch({
      checkUnsafe: () => {
        throw unavailable("looking at the lock", "ESTALE", "/root")
      },
    })
    guard.end()
    expect(await failure(Effect.runPromise(guard.check))).toMatchObject({ _tag: "Closed", what: "manager" })
    expect(lost).toBe(0)
  })
})
