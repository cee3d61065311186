/**
 * A codec whose frames are shaped like those of zstd (RFC 8878) and are the same on every runtime, which those of a library are not. It
 * knows runs of one byte and nothing else. Its checksum is a CRC-32, so that no other decoder takes its frames.
 */
import type { FrameCodec } from "../../compressor/checked_codec.ts"
import { checkedCodec } from "../../compressor/checked_codec.ts"
import { crc32 } from "../../format/checksum.ts"

const magic = 0xfd2fb528
/** A content size of 4 bytes, one segment, a checksum. */
const descriptor = 0xa4
const headerBytes = 9
const runBytesMin = 16
const blockBytesMax = 64 * 1024

/** The codec of simulated worlds. */
export const simCodec: FrameCodec = checkedCodec({
  name: "simulated",
  compress: (bytes) => {
    const parts: Array<Uint8Array> = [headerOf(bytes)]
    for (let at = 0; at < bytes.length; ) {
      const run = runLength(bytes, at)
      const end = run >= runBytesMin ? at + run : nextRun(bytes, at)
      const isLast = end === bytes.length
      if (run >= runBytesMin) parts.push(blockHeader(isLast, 1, run), bytes.slice(at, at + 1))
      else parts.push(blockHeader(isLast, 0, end - at), bytes.slice(at, end))
      at = end
    }
    const checksum = new Uint8Array(4)
    new DataView(checksum.buffer).setUint32(0, crc32(bytes, 0), true)
    return joined([...parts, checksum])
  },
  decompress: (frame, lengthBytes) => {
    const content = new Uint8Array(lengthBytes)
    let [at, to] = [headerBytes, 0]
    for (let isLast = false; !isLast; ) {
      const block = (frame[at] as number) | ((frame[at + 1] as number) << 8) | ((frame[at + 2] as number) << 16)
      isLast = (block & 1) === 1
      const isRun = ((block >>> 1) & 3) === 1
      const size = block >>> 3
      if (to + size > lengthBytes) throw new Error("more content than the header says")
      if (isRun) content.fill(frame[at + 3] as number, to, to + size)
      else content.set(frame.subarray(at + 3, at + 3 + size), to)
      at += 3 + (isRun ? 1 : size)
      to += size
    }
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
    if (view.getUint32(at, true) !== crc32(content, 0)) throw new Error("the checksum does not match")
    return content.subarray(0, to)
  },
})

const headerOf = (bytes: Uint8Array): Uint8Array => {
  const header = new Uint8Array(headerBytes)
  const view = new DataView(header.buffer)
  view.setUint32(0, magic, true)
  view.setUint8(4, descriptor)
  view.setUint32(5, bytes.length, true)
  return header
}

const blockHeader = (isLast: boolean, type: 0 | 1, size: number): Uint8Array => {
  const block = (isLast ? 1 : 0) | (type << 1) | (size << 3)
  return Uint8Array.of(block & 255, (block >>> 8) & 255, (block >>> 16) & 255)
}

const runLength = (bytes: Uint8Array, at: number): number => {
  let end = at + 1
  while (end < bytes.length && end - at < blockBytesMax && bytes[end] === bytes[at]) end++
  return end - at
}

/** Where the next run starts that is worth a block, or the block is full. */
const nextRun = (bytes: Uint8Array, from: number): number => {
  const limit = Math.min(bytes.length, from + blockBytesMax)
  let start = from
  for (let at = from + 1; at < limit; at++) {
    if (bytes[at] !== bytes[at - 1]) start = at
    else if (at - start + 1 >= runBytesMin && start > from) return start
  }
  return limit
}

const joined = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
