/**
 * What else a CRC-32 tells: where it started, and which byte has changed.
 *
 * The checksum of given bytes is a one-to-one function of where it
 * started, so it can be run backwards, byte by byte; so the seed of a segment, which stands in its header alone, can be found again in
 * any slot or frame. Polynomial and table: RFC 1952, section 8.
 */

const polynomial = 0xedb88320

interface Tables {
  readonly forward: Uint32Array
  /** The index of the entry that has this highest byte; no two have the same. */
  readonly byHighByte: Uint8Array
}

const makeTables = (): Tables => {
  const forward = new Uint32Array(256)
  const byHighByte = new Uint8Array(256)
  for (let index = 0; index < 256; index++) {
    let value = index
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ polynomial : value >>> 1
    forward[index] = value
    byHighByte[value >>> 24] = index
  }
  return { forward, byHighByte }
}

let tables: Tables | undefined

/** The seed with which `crc32(bytes, seed)` is `checksum`; there is exactly one. */
export const crc32Seed = (bytes: Uint8Array, checksum: number): number => {
  tables ??= makeTables()
  const { forward, byHighByte } = tables
  let register = ~checksum >>> 0
  for (let at = bytes.length - 1; at >= 0; at--) {
    const index = byHighByte[register >>> 24]!
    register = (((register ^ forward[index]!) << 8) | (index ^ bytes[at]!)) >>> 0
  }
  return ~register >>> 0
}

/** One byte of a run, and what was changed in it. */
export interface ChangedByte {
  /** Its place from the start of the run. */
  readonly at: number
  /** What to XOR it with. */
  readonly mask: number
}

/**
 * The byte of `length` bytes that has changed, when `difference` is their checksum XOR the one that they had. Undefined when no change of one
 * byte makes that difference. The effect of a change is the same whatever the bytes are, and can be followed back from the end.
 */
export const crc32ChangedByte = (length: number, difference: number): ChangedByte | undefined => {
  tables ??= makeTables()
  const { forward, byHighByte } = tables
  let register = difference >>> 0
  for (let at = length - 1; at >= 0 && register !== 0; at--) {
    const index = byHighByte[register >>> 24]!
    if (forward[index] === register) return { at, mask: index }
    register = (((register ^ forward[index]!) << 8) | index) >>> 0
  }
  return undefined
}
