// A thread for batches that says that it is there, takes a batch, and dies a moment later.

import { parentPort } from "node:worker_threads"

parentPort?.on("message", () => {
  // Not before the main thread has heard that it is there.
  setTimeout(() => process.exit(3), 200)
})
parentPort?.postMessage({ type: "ready" })
