/**
 * Tier 1 beside the `zstd` program: a sealed segment is compressed by the program, one thread and the same level, and by the store, which also decodes and compares
 * what it has made, syncs it, and notes it in the manifest. Then random records are read out of the warm files, one at a time.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { constants, zstdCompressSync } from "node:zlib"
import { AofManager } from "../mod.ts"
import { makeLineSource } from "./lines.ts"
import { hashText, makeRandom32 } from "./payload.ts"
import { quantileOf } from "./statistics.ts"

export interface WarmParameters {
  readonly root: string
  /** Log lines as JSON, or random bytes. */
  readonly kind: "lines" | "noise"
  readonly segmentBytes: number
  readonly segments: number
  readonly level: number
  readonly reads: number
}

export interface WarmResult {
  /** Bytes of the segments. */
  readonly bytes: number
  readonly storeSeconds: number
  readonly programSeconds: number
  readonly warmBytes: number
  /** What the program makes of them as one frame. */
  readonly programBytes: number
  /** The same bytes in zstd frames of the same size, with a checksum and an entry in the table each. */
  readonly framedBytes: number
  readonly readP50Us: number
  readonly readP99Us: number
  readonly hash: string
}

/** A segment with so much payload has no room for much more. */
const fullPart = 0.9
const frameBytes = 64 * 1024
/** Of the seekable format: an entry of its table with a checksum, and what is around the table. */
const [tableEntryBytes, tableBytes] = [12, 17]
const noisePayloadBytes = 4096

export const benchWarm = async (parameters: WarmParameters): Promise<WarmResult> => {
  const { root, kind, segmentBytes, segments, level, reads } = parameters
  // Never the same twice: the program would find it again, however far back it is.
  const next = kind === "lines" ? makeLineSource() : makeNoiseSource()
  const manager = await AofManager.open({
    root: join(root, "store"),
    // Nothing moves before it is asked to.
    tier1: { compress: "pressure", residencyMsMin: 0, level },
    tier2: false,
  })
  const stream = await manager.stream("warm", { segmentBytes })
  const ids: Array<number> = []
  const sums = { bytes: 0, storeSeconds: 0, programSeconds: 0, programBytes: 0, framedBytes: 0 }
  for (let i = 0, done = 0, segmentUsedBytes = 0; done < segments; i++) {
    const payload = next()
    segmentUsedBytes += payload.length
    let id = stream.tryAppend(payload)
    for (; id < 0; id = stream.tryAppend(payload)) await stream.ready()
    ids.push(id)
    if ((i & 255) === 255) await new Promise((resolve) => setImmediate(resolve))
    if (segmentUsedBytes < segmentBytes * fullPart) continue
    done++
    segmentUsedBytes = 0
    await stream.seal()
    const copy = join(root, "copy.seg")
    const folder = join(root, "store", "streams", "warm", "segments")
    const first = fs
      .readdirSync(folder)
      .filter((name) => /^\d+\.seg$/.test(name))
      .sort()[0]!
    fs.copyFileSync(join(folder, first), copy)
    sums.bytes += fs.statSync(copy).size
    sums.framedBytes += framedBytesOf(copy, level)
    const programStarted = performance.now()
    runZstd(copy, `${copy}.zst`, level)
    sums.programSeconds += (performance.now() - programStarted) / 1000
    sums.programBytes += fs.statSync(`${copy}.zst`).size
    const storeStarted = performance.now()
    await stream.evict({ to: "tier1" })
    sums.storeSeconds += (performance.now() - storeStarted) / 1000
  }
  const warmBytes = stream.segments().reduce((sum, one) => sum + one.warmBytes, 0)
  const random32 = makeRandom32(11)
  const latenciesMs = new Float64Array(reads)
  let length = 0
  for (let i = 0; i < reads; i++) {
    const id = ids[random32() % ids.length]!
    const started = performance.now()
    length += (await stream.get(id)).bytes.length
    latenciesMs[i] = performance.now() - started
  }
  await manager.close()
  fs.rmSync(root, { recursive: true })
  return {
    ...sums,
    warmBytes,
    readP50Us: quantileOf(latenciesMs, 0.5) * 1000,
    readP99Us: quantileOf(latenciesMs, 0.99) * 1000,
    hash: hashText(ids.length, length),
  }
}

const makeNoiseSource = (): (() => Uint8Array) => {
  const random32 = makeRandom32(5)
  const words = new Uint32Array(noisePayloadBytes / 4)
  const bytes = new Uint8Array(words.buffer)
  return () => {
    for (let at = 0; at < words.length; at++) words[at] = random32()
    return bytes
  }
}

const runZstd = (from: string, to: string, level: number): void => {
  const { status, error, stderr } = spawnSync("zstd", [`-${level}`, "--single-thread", "-q", "-f", from, "-o", to])
  if (status !== 0) throw error ?? new Error(`zstd ended with ${status}: ${stderr}`)
}

const framedBytesOf = (path: string, level: number): number => {
  const bytes = fs.readFileSync(path)
  let sum = tableBytes
  for (let at = 0; at < bytes.length; at += frameBytes) {
    const frame = bytes.subarray(at, at + frameBytes)
    const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 }
    sum += zstdCompressSync(frame, { params, pledgedSrcSize: frame.length } as object).length + tableEntryBytes
  }
  return sum
}
