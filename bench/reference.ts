/**
 * The plain loops that every figure is compared with, as machines and their load differ: what JavaScript and the disk do without a
 * store. Frames of 64 KiB with 8-byte record headers and one CRC-32 a frame, written 256 KiB at a time, one fdatasync at the end.
 */
import * as fs from "node:fs"
import { crc32 } from "node:zlib"
import { mixRecord } from "./payload.ts"

const frameBytesMax = 65536
const writeBytes = 256 * 1024
const headerBytes = 8
const readBytes = 1024 * 1024
const preallocateBytes = 8 * 1024 * 1024

/** Appends `records` records to a new file and returns the seconds that took, fdatasync included. */
export const appendPlainly = (path: string, payloads: ReadonlyArray<Uint8Array>, records: number): number => {
  const payloadBytes = payloads[0]!.length
  const buffer = new Uint8Array(writeBytes + frameBytesMax + payloadBytes)
  const view = new DataView(buffer.buffer)
  const mask = payloads.length - 1
  const file = fs.openSync(path, "w")
  const started = performance.now()
  let frameStart = 0
  let position = headerBytes
  let written = 0
  const close = (): void => {
    view.setUint32(frameStart + 4, position - frameStart, true)
    view.setUint32(frameStart, crc32(buffer.subarray(frameStart + 4, position)), true)
    frameStart = position
    position += headerBytes
  }
  for (let i = 0; i < records; i++) {
    if (position - frameStart + headerBytes + payloadBytes > frameBytesMax && position > frameStart + headerBytes) {
      close()
      if (frameStart >= writeBytes) {
        written += fs.writeSync(file, buffer, 0, frameStart, written)
        frameStart = 0
        position = headerBytes
      }
    }
    view.setUint32(position, payloadBytes, true)
    view.setUint32(position + 4, i, true)
    buffer.set(payloads[i & mask]!, position + headerBytes)
    position += headerBytes + payloadBytes
  }
  close()
  fs.writeSync(file, buffer, 0, frameStart, written)
  fs.fdatasyncSync(file)
  const seconds = (performance.now() - started) / 1000
  fs.closeSync(file)
  return seconds
}

/** Scans such a file by offsets, checksums verified; returns the seconds, the records and the hash of a walk over them. */
export const scanPlainly = (
  path: string,
): { readonly seconds: number; readonly records: number; readonly hash: number } => {
  const started = performance.now()
  const file = fs.openSync(path, "r")
  const sizeBytes = fs.fstatSync(file).size
  const buffer = new Uint8Array(readBytes)
  const view = new DataView(buffer.buffer)
  let records = 0
  let hash = 0
  for (let offset = 0; offset < sizeBytes; ) {
    const count = fs.readSync(file, buffer, 0, readBytes, offset)
    let at = 0
    while (at + headerBytes < count) {
      const end = at + view.getUint32(at + 4, true)
      if (end > count) break
      if (crc32(buffer.subarray(at + 4, end)) !== view.getUint32(at, true))
        throw new Error(`a frame at ${offset + at} does not check`)
      let position = at + headerBytes
      while (position < end) {
        const length = view.getUint32(position, true)
        hash = mixRecord(hash, length, buffer[position + headerBytes]!)
        position += headerBytes + length
        records++
      }
      at = end
    }
    offset += at
  }
  fs.closeSync(file)
  return { seconds: (performance.now() - started) / 1000, records, hash }
}

/** Writes a file of zeros, synced, in which a sync neither grows nor allocates. */
export const preallocatePlainly = (path: string): void => {
  const file = fs.openSync(path, "w")
  fs.writeSync(file, new Uint8Array(preallocateBytes), 0, preallocateBytes, 0)
  fs.fsyncSync(file)
  fs.closeSync(file)
}

/** One record after another into such a file, an fdatasync each: the seconds of `records` of them. */
export const syncPlainly = (path: string, payload: Uint8Array, records: number): number => {
  const file = fs.openSync(path, "r+")
  const started = performance.now()
  let position = 0
  for (let i = 0; i < records; i++) {
    if (position + payload.length > preallocateBytes) position = 0
    fs.writeSync(file, payload, 0, payload.length, position)
    fs.fdatasyncSync(file)
    position += payload.length
  }
  const seconds = (performance.now() - started) / 1000
  fs.closeSync(file)
  return seconds
}

/** The same as a store has to do it, whose fdatasync runs in the thread pool while the event loop turns. */
export const syncInPool = async (path: string, payload: Uint8Array, records: number): Promise<number> => {
  const file = fs.openSync(path, "r+")
  const started = performance.now()
  let position = 0
  for (let i = 0; i < records; i++) {
    if (position + payload.length > preallocateBytes) position = 0
    fs.writeSync(file, payload, 0, payload.length, position)
    await new Promise<void>((resolve, reject) => {
      fs.fdatasync(file, (error) => (error ? reject(error) : resolve()))
    })
    position += payload.length
  }
  const seconds = (performance.now() - started) / 1000
  fs.closeSync(file)
  return seconds
}
