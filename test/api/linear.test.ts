// Many fibers at once append, append batches, seal, trim, read and are interrupted; what each call began and ended with is written down, and the history has
// to be one that a list would allow: appends in the order of real time, batches in one piece, reads that see all that was acknowledged before they began.

import { describe, expect, test } from "bun:test"
import { type Aof, NotFound } from "bop-aof"
import { makeRandom, stores } from "../support/api.ts"

interface Call {
  /** When it began and ended, in steps of one counter for all fibers. */
  readonly began: number
  readonly ended: number
}

interface Appended extends Call {
  readonly firstNumber: number
  readonly firstId: number
  readonly texts: ReadonlyArray<string>
}

interface Read extends Call {
  /** Numbers and texts as they came. */
  readonly records: ReadonlyArray<readonly [number, string]>
}

/** What all fibers do, and what is known of it. */
class History {
  readonly appends: Array<Appended> = []
  readonly reads: Array<Read> = []
  /** Texts of calls that were interrupted: each may be there or not. */
  readonly unsure: Set<string> = new Set()
  readonly trims: Array<Call & { readonly before: number }> = []
  /** When a trim was under way last; `Infinity` while one is. */
  trimmedLast = 0
  trimsRunning = 0
  #step = 0
  #texts = 0

  step(): number {
    return ++this.#step
  }

  text(): string {
    return `${++this.#texts} `.padEnd(40 + (this.#texts % 300), "x")
  }
}

const appendSome = async (stream: Aof, history: History, random: (below: number) => number): Promise<void> => {
  const texts = Array.from({ length: random(3) === 0 ? 1 + random(12) : 1 }, () => history.text())
  const isInterrupted = random(8) === 0
  const controller = new AbortController()
  if (isInterrupted) setTimeout(() => controller.abort(), random(3))
  const options = { level: random(2) === 0 ? "durable" : "written", signal: controller.signal } as const
  const began = history.step()
  try {
    if (texts.length === 1) {
      const { recordId, recordNumber } = await stream.append(texts[0]!, options)
      history.appends.push({ began, ended: history.step(), firstNumber: recordNumber, firstId: recordId, texts })
    } else {
      const { first } = await stream.appendBatch(texts, options)
      const { recordNumber: firstNumber, recordId: firstId } = first
      history.appends.push({ began, ended: history.step(), firstNumber, firstId, texts })
    }
  } catch (error) {
    if (!controller.signal.aborted) throw error
    for (const text of texts) history.unsure.add(text)
  }
}

const readSome = async (stream: Aof, history: History, level: "durable" | "written"): Promise<void> => {
  const began = history.step()
  const records: Array<readonly [number, string]> = []
  try {
    for await (const record of stream.read({ level })) records.push([record.recordNumber, record.text()])
  } catch (error) {
    // A read that a trim overtakes is told so.
    if (!(error instanceof NotFound) || history.trimmedLast < began) throw error
    return
  }
  history.reads.push({ began, ended: history.step(), records })
}

const trimSome = async (stream: Aof, history: History, random: (below: number) => number): Promise<void> => {
  const one = history.appends[random(history.appends.length)]
  if (one === undefined) return
  const began = history.step()
  history.trimsRunning++
  history.trimmedLast = Number.POSITIVE_INFINITY
  await stream.trim({ before: one.firstId })
  if (--history.trimsRunning === 0) history.trimmedLast = history.step()
  history.trims.push({ began, ended: history.step(), before: one.firstNumber })
}

const checkAppends = ({ appends }: History): void => {
  const byNumber = [...appends].sort((a, b) => a.firstNumber - b.firstNumber)
  let [latestBegan, end] = [0, 0]
  for (const { began, ended, firstNumber, texts } of byNumber) {
    // One that ended before another began is in front of it.
    expect(ended).toBeGreaterThan(latestBegan)
    latestBegan = Math.max(latestBegan, began)
    expect(firstNumber).toBeGreaterThanOrEqual(end)
    end = firstNumber + texts.length
  }
}

const checkRead = ({ began, ended, records }: Read, history: History): void => {
  const texts = new Map<number, string>()
  for (const { firstNumber, texts: own } of history.appends) {
    for (const [at, text] of own.entries()) texts.set(firstNumber + at, text)
  }
  let before = -1
  for (const [number, text] of records) {
    if (before >= 0) expect(number).toBe(before + 1)
    before = number
    if (texts.has(number)) expect(text).toBe(texts.get(number)!)
    else expect(history.unsure.has(text)).toBe(true)
  }
  const first = records[0]?.[0] ?? Number.POSITIVE_INFINITY
  const last = records.at(-1)?.[0] ?? -1
  const trimmed = (isSure: (call: Call) => boolean): number =>
    Math.max(0, ...history.trims.filter(isSure).map((trim) => trim.before))
  // A trim that ended before hides its records, and one that had not begun hides none.
  if (records.length > 0) expect(first).toBeGreaterThanOrEqual(trimmed((trim) => trim.ended < began))
  for (const { ended: acknowledged, firstNumber, texts: own } of history.appends) {
    if (acknowledged > began || firstNumber < trimmed((trim) => trim.began < ended)) continue
    expect([firstNumber >= first, firstNumber + own.length - 1 <= last]).toEqual([true, true])
  }
  // Batches are there whole, or not at all.
  for (const { firstNumber, texts: own } of history.appends) {
    const end = firstNumber + own.length
    if (firstNumber >= first && firstNumber <= last) expect(end - 1).toBeLessThanOrEqual(last)
  }
}

describe.each(stores)("on %s", (_name, makeStore) => {
  test.each([1, 2, 3, 4])("a history of many fibers is one that a list allows (seed %i)", async (seed) => {
    const manager = await makeStore()({ segmentBytes: 32 * 1024, stagingBytes: 8192, journalStreamsMin: 2 })
    const streams = await Promise.all(["a", "b", "c"].map((name) => manager.stream(name)))
    for (const stream of streams) await stream.append("first")
    const histories = streams.map((stream) => ({ stream, history: new History() }))
    const fiber = async (number: number): Promise<void> => {
      const random = makeRandom(seed * 100 + number)
      for (let call = 0; call < 25; call++) {
        const { stream, history } = histories[random(histories.length)]!
        const what = random(20)
        if (what < 13) await appendSome(stream, history, random)
        else if (what < 17) await readSome(stream, history, "written")
        else if (what < 18) await stream.seal()
        else if (what < 19) await trimSome(stream, history, random)
        else await new Promise((resolve) => setTimeout(resolve, random(3)))
      }
    }
    await Promise.all(Array.from({ length: 12 }, (_, number) => fiber(number)))
    for (const { stream, history } of histories) {
      await stream.flush()
      await readSome(stream, history, "durable")
      history.unsure.add("first")
      checkAppends(history)
      for (const read of history.reads) checkRead(read, history)
      expect(history.appends.length).toBeGreaterThan(20)
    }
    await manager.close()
  })
})
