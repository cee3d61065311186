/** Payloads: random bytes from a seed, so that every runtime and every run appends the same, and a hash of what was done. */
import { crc32 } from "node:zlib"

/** Bytes of all payloads of a pool together: enough that they differ, little enough to stay in a processor's cache. */
const poolBytes = 256 * 1024

/** A generator of unsigned 32-bit numbers (xorshift32); the same seed gives the same numbers. */
export const makeRandom32 = (seed: number): (() => number) => {
  let state = seed >>> 0 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>>= 0)
  }
}

/** Payloads of `payloadBytes` random bytes each, a power of two of them; record `i` gets number `i % length`. */
export const makePayloads = (payloadBytes: number): Array<Uint8Array> => {
  const random32 = makeRandom32(payloadBytes)
  const count = 2 ** Math.max(2, Math.floor(Math.log2(poolBytes / payloadBytes)))
  return Array.from({ length: count }, () => Uint8Array.from({ length: payloadBytes }, () => random32() & 0xff))
}

/** What a walk over records adds up to: cheap enough for every record, and different when one is missing or wrong. */
export const mixRecord = (hash: number, length: number, firstByte: number): number =>
  (Math.imul(hash, 31) + length + firstByte) | 0

/** The hash that a walk over `records` records of `payloads` must come to. */
export const expectedHash = (payloads: ReadonlyArray<Uint8Array>, records: number): number => {
  let hash = 0
  for (let i = 0; i < records; i++) {
    const payload = payloads[i & (payloads.length - 1)]!
    hash = mixRecord(hash, payload.length, payload[0]!)
  }
  return hash
}

/** A hash of numbers, as hexadecimal text. */
export const hashText = (...values: ReadonlyArray<number>): string =>
  (crc32(new Uint8Array(Float64Array.from(values).buffer)) >>> 0).toString(16).padStart(8, "0")
