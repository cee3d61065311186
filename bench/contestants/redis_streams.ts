/** A stream of a Redis server with an append-only file, by a socket of this machine and the package `redis`. */
import { spawn } from "node:child_process"
import { existsSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import type { Contestant } from "../contestant.ts"
import { mixRecord } from "../payload.ts"

const batchRecords = 1000
const pageRecords = 1000
const startMsMax = 60_000

export const contestant: Contestant = {
  name: "redis-streams",
  runtimes: ["node"],
  packages: { redis: "6.3.1" },
  programs: [{ name: "redis-server", packages: ["redis-server", "redis-tools", "libjemalloc2", "liblzf1"] }],
  settings:
    "appendonly, no snapshots, unix socket, XADD pipelined; W1: 1,000 at once with appendfsync no, the last with always; W2, W3: appendfsync always; a server is not killed, so no W6",
  workloads: ["W1", "W2", "W3", "W4", "W5", "W7"],
  scale: 0.03,
  open: async ({ directory, workload, load, program }) => {
    // Longer paths than about a hundred bytes are none for a socket.
    const socket = join(tmpdir(), `bop-aof-redis-${process.pid}.sock`)
    const lines = [
      `dir ${directory}`,
      `unixsocket ${socket}`,
      "port 0",
      'save ""',
      "appendonly yes",
      "auto-aof-rewrite-percentage 0",
      `appendfsync ${workload === "W1" ? "no" : "always"}`,
    ]
    const file = join(directory, "redis.conf")
    writeFileSync(file, `${lines.join("\n")}\n`)
    const server = spawn(program("redis-server"), [file], { stdio: "ignore" })
    process.once("exit", () => server.kill("SIGKILL"))
    const started = performance.now()
    while (!existsSync(socket)) {
      if (performance.now() - started > startMsMax || server.exitCode !== null) throw new Error("redis did not start")
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const { createClient, RESP_TYPES } = await load("redis")
    const client = createClient({ socket: { path: socket } })
    await client.connect()
    while (!/loading:0/.test(await client.info("persistence"))) await new Promise((resolve) => setTimeout(resolve, 20))
    const raw = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
    const add = (payload: Uint8Array): Promise<unknown> =>
      client.sendCommand(["XADD", "log", "*", "p", Buffer.from(payload.buffer, payload.byteOffset, payload.length)])
    const pages = async (visit: (payload: Uint8Array, id: string) => void): Promise<void> => {
      for (let from = "-"; ; ) {
        const page = await raw.sendCommand(["XRANGE", "log", from, "+", "COUNT", String(pageRecords)])
        for (const [id, fields] of page) visit(fields[1], String(id))
        if (page.length < pageRecords) return
        from = `(${page.at(-1)[0]}`
      }
    }
    return {
      appendAll: async (payloads, records) => {
        for (let at = 0; at < records; at += batchRecords) {
          const count = Math.min(batchRecords, records - at)
          if (at + count === records) await client.sendCommand(["CONFIG", "SET", "appendfsync", "always"])
          await Promise.all(Array.from({ length: count }, (_, i) => add(payloads[(at + i) & (payloads.length - 1)]!)))
        }
      },
      append: add,
      scan: async () => {
        let [records, hash] = [0, 0]
        await pages((payload) => {
          hash = mixRecord(hash, payload.length, payload[0]!)
          records++
        })
        return { records, hash }
      },
      openPoint: async () => {
        const ids: Array<string> = []
        await pages((_, id) => ids.push(id))
        const get = async (index: number): Promise<Uint8Array> =>
          (await raw.sendCommand(["XRANGE", "log", ids[index]!, ids[index]!]))[0][1][1]
        return { records: ids.length, get }
      },
      close: async () => {
        const ended = new Promise((resolve) => server.once("close", resolve))
        client.destroy()
        server.kill("SIGTERM")
        await ended
      },
    }
  },
}
