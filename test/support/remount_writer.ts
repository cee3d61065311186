// Appends to some streams until its file system is made read-only, goes on for a while, and tells in one line of JSON what it has seen.
// remount_writer <mount point> <root> <streams>

import { spawnSync } from "node:child_process"
import { AofManager } from "bop-aof"
import { failureOf, type RemountReport, readPrefix, remountOptions, remountText } from "./remount.ts"

const [mountPoint = "", root = "", streams = "1"] = process.argv.slice(2)
const manager = await AofManager.open({ ...remountOptions, root })
const acked: Record<string, Array<number>> = {}
for (let at = 0; at < Number(streams); at++) acked[`s${at}`] = []

/** One append to each stream, all at once. */
const round = (): Promise<ReadonlyArray<string>> =>
  Promise.all(
    Object.entries(acked).map(async ([name, ids]) => {
      const stream = await manager.stream(name)
      const appended = stream.append(remountText(name, ids.length), { signal: AbortSignal.timeout(10_000) })
      return await failureOf(appended.then(({ recordId }) => ids.push(recordId)))
    }),
  )

const before: Array<string> = []
for (let rounds = 0; rounds < 400 / Number(streams); rounds++) before.push(...(await round()))
const isRemounted = spawnSync("mount", ["-o", "remount,abort", mountPoint]).status === 0
const appends = [...(await round()), ...(await round()), ...(await round())]
const newStream = await failureOf(manager.stream("another"))
const read = await readPrefix(manager, acked)
const close = await failureOf(manager.close())
const opening = await failureOf(AofManager.open({ ...remountOptions, root }))
const reader = await AofManager.open({ ...remountOptions, root, readOnly: true })
const readOnly = await readPrefix(reader, acked)
await reader.close()
const report: RemountReport = { acked, before, isRemounted, appends, newStream, read, close, opening, readOnly }
console.log(JSON.stringify(report))
