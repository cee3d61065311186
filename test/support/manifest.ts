// Opens manifests on a memory disk and writes numbered records, which show loss, order and repetition.

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ManifestLog, type ManifestLogOptions, open } from "../../src/core/manifest/manifest_log.ts"
import type { AofError } from "../../src/model/errors.ts"
import type { Directory } from "../../src/port/directory.ts"
import type { MemoryDisk } from "../../src/testing/memory_disk.ts"

/** The smallest chunks: few records make a rotation. */
export const chunkBytes = 16384
export const manifestRootId: Uint8Array = Uint8Array.from({ length: 16 }, (_, index) => 16 + index)

/** Runs `use` with the manifest of `/store` on `disk`, then closes it. Further options are those of `open`. */
export function withManifest<A>(
  disk: MemoryDisk,
  use: (log: ManifestLog) => Effect.Effect<A, AofError, Directory | Scope.Scope>,
  readOnly = false,
  more: Partial<ManifestLogOptions> = {},
): Promise<A> {
  const program = Effect.gen(function* () {
    return yield* use(yield* open({ root: "/store", rootId: manifestRootId, readOnly, chunkBytes, ...more }))
  })
  return Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(disk.layer)))
}

/** The next turns of the event loop, in which the disk in memory ends what was begun. */
export const turns = (count = 20): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (let turn = 0; turn < count; turn++) await new Promise<void>((done) => setImmediate(done))
  })

/** Stages record number `number` of about 1 KiB. */
export function appendNumber(log: ManifestLog, number: number): void {
  const payload = new Uint8Array(1024)
  new DataView(payload.buffer).setUint32(0, number, true)
  log.append({ type: "Raw", streamId: 0, typeNumber: 4000, payload })
}

/** The numbers in the manifest, in order. */
export function numbersOf(log: ManifestLog): ReadonlyArray<number> {
  return log.state.others.map(({ payload }) => new DataView(payload.buffer, payload.byteOffset).getUint32(0, true))
}

/** 0 to `count - 1`. */
export function upTo(count: number): ReadonlyArray<number> {
  return Array.from({ length: count }, (_, index) => index)
}
