// Appends until the disk is full and is killed: `full_writer.ts ROOT`. Says how many records were acknowledged.

import { statSync, writeSync } from "node:fs"
import { join } from "node:path"
import { AofManager } from "../../src/api/manager.ts"

const root = process.argv[2] as string
// One segment: no seal needs the room that is kept.
const manager = await AofManager.open({ root, segmentBytes: 64 * 1024 * 1024, preallocateBytesMax: 0, tier2: false })
const stream = await manager.stream("s")
const payload = new Uint8Array(20_000).fill(1)
const [reserveAt, reserveBytes] = [900, 4 * 1024 * 1024]
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1))
let count = 0
try {
  for (;;) {
    await stream.append(payload)
    // It keeps room from then on, behind the appends.
    if (++count === reserveAt)
      while ((statSync(join(root, "RESERVE"), { throwIfNoEntry: false })?.size ?? 0) < reserveBytes) await pause()
  }
} catch (error) {
  if ((error as { readonly code?: unknown }).code !== "ENOSPC") throw error
}
writeSync(1, `${count}\n`)
process.kill(process.pid, "SIGKILL")
