// A writer that has run out of file descriptors: appends, makes streams, seals, reads and trims while there are `left` of them, then again when
// there are enough. Tells in a file, a line of JSON each: every record when it is acknowledged, and at the end the errors by kind.

import { closeSync, openSync, writeSync } from "node:fs"
import process from "node:process"
import { type Aof, AofManager } from "bop-aof"

const [root, left] = [process.argv[2]!, Number(process.argv[3])]
const told = openSync(process.argv[4]!, "w")
const tell = (line: unknown): void => void writeSync(told, `${JSON.stringify(line)}\n`)
const streamCount = 12
const errors: Record<string, number> = {}
const note = (error: unknown): void => {
  const { _tag, code } = error as { readonly _tag?: string; readonly code?: string }
  const kind = _tag === undefined ? `untyped ${String(error)}` : `${_tag} ${code ?? ""}`
  errors[kind] = (errors[kind] ?? 0) + 1
}
const attempt = async <A>(run: () => Promise<A>): Promise<A | undefined> => {
  try {
    return await run()
  } catch (error) {
    note(error)
    return undefined
  }
}

const manager = await AofManager.open({
  root,
  segmentBytes: 16 * 1024,
  stagingBytes: 4096,
  journalStreamsMin: 4,
  // Enough for everything: an append that waits for room could wait for as long as nothing can be opened.
  tier0: { bytesMax: 4 * 1024 * 1024 },
  tier1: { compress: "eager", residencyMsMin: 0, level: 1, retryBackoffMs: 5 },
})

let counter = 0
const work = async (): Promise<void> => {
  const one = async (name: string): Promise<void> => {
    const stream: Aof | undefined = await attempt(() => manager.stream(name))
    if (stream === undefined) return
    for (let i = 0; i < 6; i++) {
      const text = `${name} ${counter++} `.padEnd(1500, "x")
      const ack = await attempt(() => stream.append(text))
      if (ack !== undefined) tell([name, ack.recordId, text.trimEnd()])
    }
    await attempt(() => stream.seal())
    await attempt(async () => {
      for await (const _ of stream.read({ limit: 20 }));
    })
  }
  await Promise.all(Array.from({ length: streamCount }, (_, index) => one(`s${index}`)))
}

await work()
// One worker has compressed, the other one takes a checksum before a copy goes: then both are there. Bun and Deno end their own process when a worker that is
// still starting finds no descriptor.
await manager.settled()
await (await manager.stream("s0")).evict({ to: "tier1" })
const hogs: Array<number> = []
try {
  for (;;) hogs.push(openSync("/dev/null", "r"))
} catch (error) {
  if ((error as { code?: string }).code !== "EMFILE") throw error
}
for (let i = 0; i < left; i++) closeSync(hogs.pop()!)
for (let round = 0; round < 3; round++) await work()
await attempt(() => manager.stream("late"))
for (const hog of hogs) closeSync(hog)
const starved = { ...errors }
for (const kind of Object.keys(errors)) delete errors[kind]
// With descriptors again everything goes on without a restart. What had failed by then may be told once more.
await work()
await new Promise((resolve) => setTimeout(resolve, 200))
for (const kind of Object.keys(errors)) delete errors[kind]
await work()
await attempt(() => manager.close())
tell({ starved, errors })
