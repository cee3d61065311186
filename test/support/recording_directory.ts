// A `Directory` that keeps a ledger of what is durable, around any other one.

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { RuntimeLayer } from "../../src/api/manager.ts"
import { Directory } from "../../src/port/directory.ts"
import type { SegmentFile } from "../../src/port/segment_file.ts"
import type { LedgerFile, SyncLedger } from "./sync_ledger.ts"

/** The layer with its directory recorded in `ledger`. */
export const recording = (layer: RuntimeLayer, ledger: SyncLedger): RuntimeLayer => {
  const recorded = Layer.effect(
    Directory,
    Effect.map(Directory, (inner) => record(inner, ledger)),
  )
  return Layer.provideMerge(recorded, layer)
}

const record = (inner: Directory, ledger: SyncLedger): Directory => ({
  ...inner,
  openUnsafe: (path, mode) => {
    const file = inner.openUnsafe(path, mode)
    if (mode === "create") ledger.created(path)
    return recordFile(file, ledger.file(path), ledger)
  },
  renameUnsafe: (from, to) => {
    inner.renameUnsafe(from, to)
    ledger.renamed(from, to)
  },
  rename: (from, to) => Effect.tap(inner.rename(from, to), () => Effect.sync(() => ledger.renamed(from, to))),
  link: (from, to) => Effect.tap(inner.link(from, to), () => Effect.sync(() => ledger.linked(from, to))),
  sync: (path) =>
    Effect.suspend(() => {
      const end = ledger.directorySyncBegins(path)
      return Effect.tap(inner.sync(path), () => Effect.sync(end))
    }),
})

const recordFile = (file: SegmentFile, entry: LedgerFile, ledger: SyncLedger): SegmentFile => {
  const syncData = Effect.suspend(() => {
    const end = ledger.syncBegins(entry)
    return Effect.tap(file.syncData, () => Effect.sync(end))
  })
  return {
    path: file.path,
    writeUnsafe: (buffer, start, end, position) => {
      file.writeUnsafe(buffer, start, end, position)
      ledger.written(entry, position, position + end - start)
    },
    readUnsafe: (buffer, start, end, position) => file.readUnsafe(buffer, start, end, position),
    sizeUnsafe: () => file.sizeUnsafe(),
    mapUnsafe: (length) => file.mapUnsafe(length),
    read: (buffer, start, end, position) => file.read(buffer, start, end, position),
    write: (buffer, start, end, position) =>
      Effect.tap(file.write(buffer, start, end, position), () =>
        Effect.sync(() => ledger.written(entry, position, position + end - start)),
      ),
    syncData,
    ...(file.syncDataUnsafe && {
      syncDataUnsafe: () => {
        const end = ledger.syncBegins(entry)
        file.syncDataUnsafe?.()
        end()
      },
    }),
    zeroFill: (from, to) => file.zeroFill(from, to),
    truncate: (length) => file.truncate(length),
    closeUnsafe: () => file.closeUnsafe(),
  }
}
