// What every `Compressor` does, whatever it runs on: files are read and written through the directory of the same layer.

import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { crc64 } from "../../src/format/checksum.ts"
import { decodeSeekTable } from "../../src/format/seekable_zstd.ts"
import { type Compressed, Compressor, type DecompressJob } from "../../src/port/compressor.ts"
import { Directory } from "../../src/port/directory.ts"
import { compressJobOf, makeSegment, type SampleSegment, sealBytes } from "./compressor_segment.ts"

/** A compressor, its files, and a directory that is there and empty. */
export interface CompressorSubject {
  readonly layer: Layer.Layer<Compressor | Directory>
  readonly root: string
}

/** Adds the tests of all compressors, for this one. */
export function describeCompressor(
  name: string,
  makeSubject: () => CompressorSubject | Promise<CompressorSubject>,
): void {
  describe(name, () => {
    const scope = Scope.makeUnsafe()
    let root: string
    let directory: Directory
    let compressor: Compressor
    beforeAll(async () => {
      const subject = await makeSubject()
      root = subject.root
      const context = await Effect.runPromise(Layer.buildWithScope(subject.layer, scope))
      directory = Context.get(context, Directory)
      compressor = Context.get(context, Compressor)
    })
    afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

    const read = async (file: string): Promise<Uint8Array> =>
      (await Effect.runPromise(directory.readFile(`${root}/${file}`))) ?? new Uint8Array(0)
    const isThere = async (file: string): Promise<boolean> =>
      (await Effect.runPromise(directory.kind(`${root}/${file}`))) === "file"
    const write = async (file: string, bytes: Uint8Array): Promise<void> => {
      await Effect.runPromise(directory.remove(`${root}/${file}`))
      const made = directory.openUnsafe(`${root}/${file}`, "create")
      made.writeUnsafe(bytes, 0, bytes.length, 0)
      made.closeUnsafe()
    }
    const jobOf = (segment: SampleSegment, options = {}) =>
      compressJobOf(segment, `${root}/a.seg`, `${root}/a.zst`, options)
    const compress = async (segment: SampleSegment, options = {}): Promise<Compressed> => {
      await write("a.seg", segment.bytes)
      return Effect.runPromise(compressor.compress(jobOf(segment, options)))
    }
    const decompressJobOf = (segment: SampleSegment, made: Compressed): DecompressJob => ({
      source: `${root}/a.zst`,
      target: `${root}/b.seg`,
      sourceBytes: made.fileBytes,
      sourceChecksum64: made.checksum64,
      targetBytes: segment.bytes.length,
      targetChecksum64: segment.checksum64,
    })

    test.each([
      ["no log frame", makeLengths(0)],
      ["one short log frame", [100]],
      ["many short log frames", makeLengths(3000)],
      ["log frames of the wished size", [65480, 65480, 65536, 65480]],
      ["a log frame of some megabytes", [300, 5_000_001, 300]],
    ])("a segment with %s comes back byte for byte", async (_: string, lengths: number[]) => {
      const segment = makeSegment(lengths)
      const made = await compress(segment)
      const file = await read("a.zst")
      expect([file.length, crc64(file)]).toEqual([made.fileBytes, made.checksum64])
      const table = decodeSeekTable(file, { fileBytes: file.length, contentBytes: segment.bytes.length })!
      expect(table.frameCount).toBe(made.frameCount)
      const tail = table.frameAt(segment.framesEnd)!
      expect([tail.contentOffset, tail.compressedOffset]).toEqual([segment.framesEnd, made.tailOffset])
      for (let index = 0; index < table.frameCount; index++) {
        const frame = table.frame(index)!
        const packed = file.subarray(frame.compressedOffset, frame.compressedOffset + frame.compressedBytes)
        const content = compressor.decodeFrameUnsafe(packed, frame.contentBytes)
        const expected = segment.bytes.subarray(frame.contentOffset, frame.contentOffset + frame.contentBytes)
        expect(Buffer.compare(content, expected)).toBe(0)
        expect(content.buffer.byteLength).toBe(content.length)
      }
      await write("b.seg", new Uint8Array(100_000_0).fill(1))
      await Effect.runPromise(compressor.decompress(decompressJobOf(segment, made)))
      expect(Buffer.compare(await read("b.seg"), segment.bytes)).toBe(0)
    })

    test("bytes that are no log frames, and such without a tail, come back too", async () => {
      const bytes = makeSegment(makeLengths(100)).bytes.slice()
      bytes[1536 + 9] = 0xff
      const damaged = { bytes, frameOffsets: [], framesEnd: bytes.length, checksum64: sealBytes(bytes) }
      const made = await compress(damaged, { frameBytes: 1024 })
      // The header's frame ends where the damage begins.
      expect(made.frameCount).toBe(1 + Math.ceil((bytes.length - 1536) / 1024))
      await Effect.runPromise(compressor.decompress(decompressJobOf(damaged, made)))
      expect(Buffer.compare(await read("b.seg"), bytes)).toBe(0)
    })

    test("a source that does not check is Corrupt, and no target is left", async () => {
      const segment = makeSegment(makeLengths(50))
      await write("a.seg", segment.bytes)
      const cases = [
        { checksum64: segment.checksum64 ^ 1n },
        { sourceBytes: segment.bytes.length - 8 },
        { sourceBytes: segment.bytes.length + 8 },
        { sourceBytes: 8, framesEnd: 0 },
        { sourceBytes: 2 ** 40 },
        { framesEnd: segment.bytes.length + 1 },
        { framesEnd: -1 },
        { framesEnd: Number.NaN },
      ]
      for (const options of cases) {
        await write("a.zst", new Uint8Array(1))
        expect([options, await tagOf(compressor.compress(jobOf(segment, options)))]).toEqual([options, "Corrupt"])
        expect(await isThere("a.zst")).toBe(false)
      }
      const changed = segment.bytes.slice()
      changed[5000]! ^= 1
      await write("a.seg", changed)
      expect(await tagOf(compressor.compress(jobOf(segment)))).toBe("Corrupt")
      await write("a.seg", segment.bytes.slice(0, -1))
      expect(await tagOf(compressor.compress(jobOf(segment)))).toBe("Corrupt")
      expect(await isThere("a.zst")).toBe(false)
    })

    test("a level or frame size that there is none of is a mistake of the program", async () => {
      const segment = makeSegment([100])
      await write("a.seg", segment.bytes)
      for (const options of [
        { level: 0 },
        { level: 20 },
        { level: 1.5 },
        { frameBytes: 100 },
        { frameBytes: 2 ** 30 },
      ]) {
        expect([options, await tagOf(compressor.compress(jobOf(segment, options)))]).toEqual([options, "defect"])
      }
    })

    test("a source that is missing is Unavailable, and what is at the target stays", async () => {
      await write("a.zst", new Uint8Array(3))
      const segment = makeSegment([100])
      const job = { ...jobOf(segment), source: `${root}/none.seg` }
      expect(await tagOf(compressor.compress(job))).toBe("Unavailable ENOENT")
      expect((await read("a.zst")).length).toBe(3)
      const made = { fileBytes: 3, frameCount: 0, tailOffset: 0, checksum64: 0n }
      const back = { ...decompressJobOf(segment, made), source: `${root}/none.zst` }
      expect(await tagOf(compressor.decompress(back))).toBe("Unavailable ENOENT")
      expect(await tagOf(compressor.checksum({ path: `${root}/none`, lengthBytes: 0 }))).toBe("Unavailable ENOENT")
    })

    test("a target in a missing directory is Unavailable", async () => {
      const segment = makeSegment([100])
      await write("a.seg", segment.bytes)
      const job = { ...jobOf(segment), target: `${root}/none/a.zst` }
      expect(await tagOf(compressor.compress(job))).toBe("Unavailable ENOENT")
    })

    test("a warm file with any byte changed or cut off is Corrupt, and no segment is left", async () => {
      const segment = makeSegment(makeLengths(4), 30)
      const made = await compress(segment, { frameBytes: 1024 })
      const file = await read("a.zst")
      const job = decompressJobOf(segment, made)
      const step = Math.max(1, file.length >> 7)
      for (let at = file.length - 1; at >= 0; at -= at > file.length - 40 || at < 40 ? 1 : step) {
        const changed = file.slice()
        changed[at]! ^= 0x11
        await write("a.zst", changed)
        expect([at, await tagOf(compressor.decompress(job))]).toEqual([at, "Corrupt"])
        await write("a.zst", file.slice(0, at))
        expect([at, await tagOf(compressor.decompress(job))]).toEqual([at, "Corrupt"])
        // As long as it says, so that only its table can tell.
        expect([at, await tagOf(compressor.decompress({ ...job, sourceBytes: at }))]).toEqual([at, "Corrupt"])
      }
      expect(await isThere("b.seg")).toBe(false)
    })

    test("a warm file of another segment is Corrupt", async () => {
      const segment = makeSegment(makeLengths(4))
      const job = decompressJobOf(segment, await compress(segment))
      const others = [
        { sourceChecksum64: job.sourceChecksum64 ^ 1n },
        { targetChecksum64: job.targetChecksum64 ^ 1n },
        { targetBytes: job.targetBytes - 1 },
        { targetBytes: job.targetBytes + 1 },
        { targetBytes: 2 ** 33 },
        { targetBytes: 0 },
      ]
      for (const other of others) {
        expect([other, await tagOf(compressor.decompress({ ...job, ...other }))]).toEqual([other, "Corrupt"])
      }
      expect(await isThere("b.seg")).toBe(false)
    })

    test("checksum() covers the beginning that was asked for, and a file that is shorter is Corrupt", async () => {
      const { bytes } = makeSegment([2_000_000])
      await write("a.seg", bytes)
      const checksum = (lengthBytes: number) => compressor.checksum({ path: `${root}/a.seg`, lengthBytes })
      for (const length of [0, 1, 524_288, 1_000_000, bytes.length]) {
        expect(await Effect.runPromise(checksum(length))).toBe(crc64(bytes.subarray(0, length)))
      }
      expect(await tagOf(checksum(bytes.length + 1))).toBe("Corrupt")
      expect(await tagOf(checksum(2 ** 50))).toBe("Corrupt")
    })

    test("jobs that are interrupted leave no target, and the next ones go on", async () => {
      const segment = makeSegment([10_000_000])
      await write("a.seg", segment.bytes)
      const made = await Effect.runPromise(compressor.compress(jobOf(segment)))
      for (const delays of [0, 1, 5]) {
        const controller = new AbortController()
        const job = jobOf(segment, { level: 19, target: `${root}/c.zst` })
        const compressing = Effect.runPromiseExit(compressor.compress(job), controller)
        const back = Effect.runPromiseExit(compressor.decompress(decompressJobOf(segment, made)), controller)
        for (let turn = 0; turn < delays; turn++) await new Promise((resolve) => setImmediate(resolve))
        controller.abort()
        expect(Exit.isSuccess(await compressing)).toBe(false)
        await back
        expect(await isThere("c.zst")).toBe(false)
        await Effect.runPromise(compressor.decompress(decompressJobOf(segment, made)))
      }
    }, 60_000)

    test("close ends what runs and what waits with ECANCELED; a later job starts anew", async () => {
      const segment = makeSegment([6_000_000])
      await write("a.seg", segment.bytes)
      const jobs = [1, 2, 3].map(() => tagOf(compressor.compress(jobOf(segment, { level: 19 }))))
      await new Promise((resolve) => setImmediate(resolve))
      await Effect.runPromise(compressor.close)
      expect(await isThere("a.zst")).toBe(false)
      expect(await Promise.all(jobs)).toEqual(jobs.map(() => "Unavailable ECANCELED"))
      await Effect.runPromise(compressor.compress(jobOf(segment)))
      await Effect.runPromise(Effect.andThen(compressor.close, compressor.close))
    }, 60_000)
  })
}

/** Ends an effect and says how: `success`, `defect`, or the tag of its error with its code. */
export async function tagOf(effect: Effect.Effect<unknown, { readonly _tag: string }>): Promise<string> {
  const exit = await Effect.runPromiseExit(effect)
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.hasDies(exit.cause)) return "defect"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  const error = Cause.squash(exit.cause) as { readonly _tag: string; readonly code?: string }
  return error.code === undefined ? error._tag : `${error._tag} ${error.code}`
}

/** Lengths of small log frames, each another one. */
function makeLengths(count: number): number[] {
  return Array.from({ length: count }, (_, index) => 64 + ((index * 37) % 500))
}
