// A worker that says that it is there, begins its job's target, and dies.

import { writeFileSync } from "node:fs"
import { parentPort } from "node:worker_threads"

parentPort?.on("message", (request: { readonly job: { readonly target: string } }) => {
  writeFileSync(request.job.target, "begun")
  // In the next turn, as some runtimes do not end a worker while it is given a message.
  setImmediate(() => process.exit(3))
})
parentPort?.postMessage({ type: "ready" })
