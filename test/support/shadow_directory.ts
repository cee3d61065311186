// Does on a disk in memory what a store does on the real one, so that the power may be cut of what a real run has done: whatever no sync covered may be
// there or not. A sync counts from when it begins and covers what had ended by then; other operations count when they have ended.

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { RuntimeLayer } from "../../src/api/manager.ts"
import { Directory, type OpenMode } from "../../src/port/directory.ts"
import type { SegmentFile } from "../../src/port/segment_file.ts"
import type { MemoryDisk } from "../../src/testing/memory_disk.ts"

/** The layer, with its directory shadowed on `disk`; `onOperation` is called after each operation that changes something. */
export const shadowing = (layer: RuntimeLayer, disk: MemoryDisk, onOperation: () => void): RuntimeLayer => {
  const shadowed = Layer.effect(
    Directory,
    Effect.gen(function* () {
      const shadow = yield* Effect.provide(Directory, disk.services())
      return shadowOf(yield* Directory, shadow, onOperation)
    }),
  )
  return Layer.provideMerge(shadowed, layer)
}

const shadowOf = (inner: Directory, shadow: Directory, onOperation: () => void): Directory => {
  const also = <A, E>(effect: Effect.Effect<A, E>, then: Effect.Effect<unknown, unknown>): Effect.Effect<A, E> =>
    Effect.tap(effect, () => Effect.sync(() => run(then)))
  const run = (effect: Effect.Effect<unknown, unknown>): void => {
    Effect.runSync(effect)
    onOperation()
  }
  const opened = (file: SegmentFile, path: string, mode: OpenMode): SegmentFile => {
    if (mode === "read") return file
    const other = openShadow(shadow, path, mode)
    onOperation()
    return shadowFile(file, other, { also, run, onOperation })
  }
  return {
    ...inner,
    openUnsafe: (path, mode) => opened(inner.openUnsafe(path, mode), path, mode),
    open: (path, mode) => Effect.map(inner.open(path, mode), (file) => opened(file, path, mode)),
    renameUnsafe: (from, to) => {
      inner.renameUnsafe(from, to)
      run(shadow.rename(from, to))
    },
    rename: (from, to) => also(inner.rename(from, to), shadow.rename(from, to)),
    link: (from, to) => also(inner.link(from, to), shadow.link(from, to)),
    makeDirectory: (path) => also(inner.makeDirectory(path), shadow.makeDirectory(path)),
    makeDirectoryUnsafe: (path) => {
      inner.makeDirectoryUnsafe(path)
      run(shadow.makeDirectory(path))
    },
    makeSubdirectory: (path) => also(inner.makeSubdirectory(path), shadow.makeSubdirectory(path)),
    remove: (path) => also(inner.remove(path), shadow.remove(path)),
    removeDirectory: (path) => also(inner.removeDirectory(path), shadow.removeDirectory(path)),
    sync: (path) =>
      Effect.suspend(() => {
        run(shadow.sync(path))
        return inner.sync(path)
      }),
  }
}

/** What is made off the main thread is there before its end is heard of: whoever opens it meanwhile comes first here. */
const openShadow = (shadow: Directory, path: string, mode: OpenMode): SegmentFile => {
  try {
    return shadow.openUnsafe(path, mode)
  } catch {
    return shadow.openUnsafe(path, mode === "write" ? "create" : "write")
  }
}

interface Doing {
  readonly also: <A, E>(effect: Effect.Effect<A, E>, then: Effect.Effect<unknown, unknown>) => Effect.Effect<A, E>
  readonly run: (effect: Effect.Effect<unknown, unknown>) => void
  readonly onOperation: () => void
}

const shadowFile = (file: SegmentFile, other: SegmentFile, { also, run, onOperation }: Doing): SegmentFile => ({
  path: file.path,
  writeUnsafe: (buffer, start, end, position) => {
    file.writeUnsafe(buffer, start, end, position)
    other.writeUnsafe(buffer, start, end, position)
    onOperation()
  },
  readUnsafe: (buffer, start, end, position) => file.readUnsafe(buffer, start, end, position),
  sizeUnsafe: () => file.sizeUnsafe(),
  mapUnsafe: (length) => file.mapUnsafe(length),
  read: (buffer, start, end, position) => file.read(buffer, start, end, position),
  write: (buffer, start, end, position) =>
    Effect.suspend(() => {
      // As it was when it was asked for: the caller may use the buffer again.
      const bytes = buffer.slice(start, end)
      return also(
        file.write(buffer, start, end, position),
        Effect.sync(() => other.writeUnsafe(bytes, 0, bytes.length, position)),
      )
    }),
  syncData: Effect.suspend(() => {
    run(other.syncData)
    return file.syncData
  }),
  ...(file.syncDataUnsafe && {
    syncDataUnsafe: () => {
      file.syncDataUnsafe?.()
      other.syncDataUnsafe?.()
    },
  }),
  zeroFill: (from, to) => also(file.zeroFill(from, to), other.zeroFill(from, to)),
  truncate: (length) => also(file.truncate(length), other.truncate(length)),
  closeUnsafe: () => {
    file.closeUnsafe()
    other.closeUnsafe()
  },
})
