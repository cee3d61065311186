// A writer that has run out of file descriptors: appends, makes streams, seals, reads and trims while there are `left` of them, then again when
// there are enough. Tells in a file of JSON: what was acknowledged, and the errors by kind.

import { closeSync, openSync, writeFileSync } from "node:fs"
import process from "node:process"
import { type Aof, AofManager } from "bop-aof"

const [root, left, told] = [process.argv[2]!, Number(process.argv[3]), process.argv[4]!]
const streamCount = 12
const acknowledged: Record<string, Array<[number, string]>> = {}
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
  tier0: { bytesMax: 512 * 1024 },
  tier1: { residencyMsMin: 0, level: 1, retryBackoffMs: 5 },
})

let counter = 0
const work = async (): Promise<void> => {
  const one = async (name: string): Promise<void> => {
    const stream: Aof | undefined = await attempt(() => manager.stream(name))
    if (stream === undefined) return
    for (let i = 0; i < 6; i++) {
      const text = `${name} ${counter++} `.padEnd(1500, "x")
      const ack = await attempt(() => stream.append(text))
      if (ack !== undefined) (acknowledged[name] ??= []).push([ack.recordId, text.trimEnd()])
    }
    await attempt(() => stream.seal())
    await attempt(async () => {
      for await (const _ of stream.read({ limit: 20 }));
    })
  }
  await Promise.all(Array.from({ length: streamCount }, (_, index) => one(`s${index}`)))
}

await work()
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
writeFileSync(told, JSON.stringify({ acknowledged, starved, errors }))
