// A consumer that is killed: `coordinator_writer.ts ROOT`. Takes ten jobs from where the one before has stopped, notes in the stream how
// far it has come, says so, waits as a consumer does that has nothing to do, and says `quiet`.

import { AofManager } from "../../src/api/manager.ts"

const [root] = process.argv.slice(2) as [string]
const manager = await AofManager.open({ root })
const jobs = await manager.stream("jobs")
if (jobs.info().count === 0) {
  for (let job = 0; job < 100; job++) jobs.tryAppend(`job ${job}`)
  await jobs.flush()
}
const from = Number(jobs.coordinatorWatermark)
for await (const { recordNumber } of jobs.read({ number: from, limit: 10 })) {
  jobs.setCoordinatorWatermark(recordNumber + 1)
}
console.log(`${from} ${jobs.coordinatorWatermark}`)
await new Promise((resolve) => setTimeout(resolve, 1000))
console.log("quiet")
await new Promise((resolve) => setTimeout(resolve, 3_600_000))
