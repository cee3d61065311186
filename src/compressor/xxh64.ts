/**
 * XXH64 with seed 0 (the xxHash specification, version 0.1.1, section XXH64), of which a zstd frame ends with the low half. With
 * bigint arithmetic, so slow: about 10 MB/s. Only the frames that WebAssembly makes need it.
 */

const prime1 = 0x9e3779b185ebca87n
const prime2 = 0xc2b2ae3d27d4eb4fn
const prime3 = 0x165667b19e3779f9n
const prime4 = 0x85ebca77c2b2ae63n
const prime5 = 0x27d4eb2f165667c5n

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value)
const rotate = (value: bigint, bits: bigint): bigint => wrap((value << bits) | (value >> (64n - bits)))
const round = (lane: bigint, input: bigint): bigint => wrap(rotate(wrap(lane + input * prime2), 31n) * prime1)

/** The low 32 bits of XXH64 of `bytes`, unsigned. */
export const xxh64Low = (bytes: Uint8Array): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  let hash = prime5
  if (bytes.length >= 32) {
    const lanes = [wrap(prime1 + prime2), prime2, 0n, wrap(-prime1)]
    for (; at + 32 <= bytes.length; at += 32) {
      for (let lane = 0; lane < 4; lane++) lanes[lane] = round(lanes[lane]!, view.getBigUint64(at + lane * 8, true))
    }
    hash = 0n
    for (let lane = 0; lane < 4; lane++) hash += rotate(lanes[lane]!, [1n, 7n, 12n, 18n][lane]!)
    hash = wrap(hash)
    for (const lane of lanes) hash = wrap((hash ^ round(0n, lane)) * prime1 + prime4)
  }
  hash = wrap(hash + BigInt(bytes.length))
  for (; at + 8 <= bytes.length; at += 8) {
    hash = wrap(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * prime1 + prime4)
  }
  if (at + 4 <= bytes.length) {
    hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint32(at, true)) * prime1), 23n) * prime2 + prime3)
    at += 4
  }
  for (; at < bytes.length; at++) hash = wrap(rotate(hash ^ wrap(BigInt(bytes[at]!) * prime5), 11n) * prime1)
  hash = wrap((hash ^ (hash >> 33n)) * prime2)
  hash = wrap((hash ^ (hash >> 29n)) * prime3)
  return Number(BigInt.asUintN(32, hash ^ (hash >> 32n)))
}
