// Runs something with an S3 server: that of the environment, if it names one, else one that is made for this run and removed after.

import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { isListening } from "./s3_ceph.mjs"
import { startServer, wipeServer } from "./s3_server.mjs"

const serverProgram = fileURLToPath(new URL("s3_server.mjs", import.meta.url))
const portFirst = 19_400
/** A server takes 30 ports from its own on. */
const portStep = 40
const portTries = 50

/** Gives what `run` gives. The server is gone after it, also when `run` throws or a signal ends this process. */
export async function runWithServer(run) {
  if (process.env.AOF2_TIER2_ENDPOINT !== undefined) return run()
  const parent = existsSync("/dev/shm") ? "/dev/shm" : tmpdir()
  const directory = join(parent, `bop-aof-s3-run-${process.pid}`)
  const say = (text) => console.error(`s3: ${text}`)
  const end = () => process.exit(130)
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"]
  for (const signal of signals) process.on(signal, end)
  // Whoever ends this process, also in the middle: nothing may wait any more then.
  const wipeNow = () => spawnSync(process.execPath, [serverProgram, "wipe", "--directory", directory])
  process.on("exit", wipeNow)
  try {
    Object.assign(process.env, await startServer({ directory, port: await freePort(), say }))
    return await run()
  } finally {
    await wipeServer({ directory })
    process.off("exit", wipeNow)
    for (const signal of signals) process.off(signal, end)
  }
}

async function freePort() {
  for (let port = portFirst; port < portFirst + portTries * portStep; port += portStep) {
    if (!(await isListening(port)) && !(await isListening(port + 1))) return port
  }
  throw new Error(`no free ports for the S3 server from ${portFirst} on`)
}
