// The process that gets killed in `failover.ts`: appends orders for as long as it lives, and says how many are durable here and in the bucket.

import { AofManager } from "bop-aof"

/** What the parent sends first. */
export interface WriterOrder {
  readonly root: string
  readonly bucket: string
}

/** What the writer has. */
export interface WriterReport {
  readonly appended: number
  readonly inBucket: number
}

process.on("message", async ({ root, bucket }: WriterOrder) => {
  const manager = await AofManager.open({
    root,
    // A record waits at most so long for its segment to be sealed and brought to the bucket.
    sealAfterMs: 50,
    tier2: { store: { directory: bucket }, headIntervalMs: 50 },
  })
  const orders = await manager.stream("orders")
  for (let appended = 0; process.connected; ) {
    await orders.append(`order ${appended++}`)
    let inBucket = 0
    for (const { tier, state, count } of orders.segments()) {
      if (state === "sealed" && tier === "tier2") inBucket += count
    }
    process.send?.({ appended, inBucket } satisfies WriterReport)
    // What is sealed leaves the disk once the bucket has it, which shows where it is.
    if (appended % 10 === 0) orders.evict({ to: "tier2" }).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await manager.close()
})
