// Waits until nobody asks a disk for anything any more: background work is done, whatever the speed of the machine.

import type { MemoryDisk } from "../../src/testing/memory_disk.ts"

/** A pause is at least one turn of the event loop, so each step of a work that has begun falls into one of them. */
const pauseMs = 10
/** Together longer than a store waits, by default, before it does something that it has not begun. */
const quietPauses = 6

/** Resolves when there has been no operation for a while; a synchronization that hangs is quiet too. */
export const quietDisk = async (disk: MemoryDisk): Promise<void> => {
  let count = disk.operationCount
  for (let pauses = 0; pauses < quietPauses; pauses++) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    if (disk.operationCount === count) continue
    count = disk.operationCount
    pauses = -1
  }
}
