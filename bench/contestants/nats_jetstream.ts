/** A JetStream file stream of a NATS server, by the loopback interface and the package `nats`. */
import { spawn } from "node:child_process"
import { join } from "node:path"
import process from "node:process"
import type { Contestant } from "../contestant.ts"
import { mixRecord } from "../payload.ts"

const batchRecords = 1000
const connectTriesMax = 200

export const contestant: Contestant = {
  name: "nats-jetstream",
  runtimes: ["node"],
  packages: { nats: "2.29.3" },
  programs: [{ name: "nats-server", packages: ["nats-server"] }],
  settings:
    "file storage, publish 1,000 at once; this version syncs every 2 minutes, so W1 is not durable (its acknowledgements are counted) and it has no part in W2, W3 and W6",
  workloads: ["W1", "W4", "W5", "W7"],
  scale: 0.01,
  open: async ({ directory, load, program }) => {
    const port = 20_000 + (process.pid % 20_000)
    const args = ["--addr", "127.0.0.1", "--port", String(port), "--jetstream", "--store_dir", join(directory, "js")]
    const server = spawn(program("nats-server"), args, { stdio: "ignore" })
    process.once("exit", () => server.kill("SIGKILL"))
    const { connect, StorageType, AckPolicy } = await load("nats")
    const connection = await (async () => {
      for (let tries = 0; ; tries++) {
        try {
          return await connect({ servers: `127.0.0.1:${port}` })
        } catch (error) {
          if (tries === connectTriesMax || server.exitCode !== null) throw error
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
    })()
    const manager = await connection.jetstreamManager()
    const exists = await manager.streams.info("log").then(
      () => true,
      () => false,
    )
    if (!exists) await manager.streams.add({ name: "log", subjects: ["log"], storage: StorageType.File })
    const stream = connection.jetstream()
    return {
      appendAll: async (payloads, records) => {
        for (let at = 0; at < records; at += batchRecords) {
          const count = Math.min(batchRecords, records - at)
          const publish = (i: number): Promise<unknown> =>
            stream.publish("log", payloads[(at + i) & (payloads.length - 1)], { timeout: 60_000 })
          await Promise.all(Array.from({ length: count }, (_, i) => publish(i)))
        }
      },
      scan: async () => {
        const { state } = await manager.streams.info("log")
        await manager.consumers.add("log", { durable_name: "scan", ack_policy: AckPolicy.None })
        const consumer = await stream.consumers.get("log", "scan")
        let [records, hash] = [0, 0]
        for await (const { data } of await consumer.consume({ max_messages: 1000 })) {
          hash = mixRecord(hash, data.length, data[0])
          if (++records === state.messages) break
        }
        await manager.consumers.delete("log", "scan")
        return { records, hash }
      },
      openPoint: async () => {
        const { state } = await manager.streams.info("log")
        const get = async (index: number): Promise<Uint8Array> =>
          (await manager.streams.getMessage("log", { seq: index + 1 })).data
        return { records: state.messages, get }
      },
      close: async () => {
        await connection.close()
        const ended = new Promise((resolve) => server.once("close", resolve))
        server.kill("SIGTERM")
        await ended
      },
    }
  },
}
