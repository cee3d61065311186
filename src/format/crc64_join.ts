/**
 * What a CRC-64/NVME becomes when bytes follow, without those bytes: `crc(a then b)` is `shifted(crc(a), length of b) ^ crc(b)`, as in
 * `crc32_combine` of zlib (crc32.c, `multmodp` and `x2nmodp`). Numbers are two halves of 32 bits, for speed; the highest bit is x^0.
 */

/** The reflected polynomial of CRC-64/NVME in two halves; the check value of "123456789" is ae8b14860a799888. */
export const polynomialHigh: number = 0x9a6c9329 | 0
/** The lower half. */
export const polynomialLow: number = 0xac4bc9b5 | 0
/** The result of `multiply`: nothing is allocated for it. */
let [productHigh, productLow] = [0, 0]

/** The product of two polynomials modulo that of the checksum. */
const multiply = (aHigh: number, aLow: number, bHigh: number, bLow: number): void => {
  productHigh = 0
  productLow = 0
  for (let half = 0; half < 2; half++) {
    const bits = half === 0 ? aHigh : aLow
    for (let bit = 31; bit >= 0; bit--) {
      // All ones where the bit is set, else zero.
      const taken = -((bits >>> bit) & 1)
      productHigh ^= bHigh & taken
      productLow ^= bLow & taken
      const carried = -(bLow & 1)
      bLow = ((bLow >>> 1) | (bHigh << 31)) ^ (polynomialLow & carried)
      bHigh = (bHigh >>> 1) ^ (polynomialHigh & carried)
    }
  }
}

/** x to the power of 8 · 2^index, in pairs: what 2^index bytes multiply by. Lengths are below 2^32. */
const powers = new Int32Array(64)

const fillPowers = (): void => {
  // x^1 is the bit below the highest.
  let [high, low] = [1 << 30, 0]
  for (let power = 0; power < 3 + 32; power++) {
    if (power >= 3) powers.set([high, low], 2 * (power - 3))
    multiply(high, low, high, low)
    high = productHigh
    low = productLow
  }
}

const view = new DataView(new ArrayBuffer(8))

/** The CRC-64/NVME of bytes with the checksum `first` and, behind them, `secondBytes` more, below 2^32, with the checksum `second`. */
export const joinCrc64 = (first: bigint, second: bigint, secondBytes: number): bigint => {
  if (powers[0] === 0 && powers[1] === 0) fillPowers()
  view.setBigUint64(0, first)
  let [high, low] = [view.getInt32(0), view.getInt32(4)]
  for (let index = 0, rest = secondBytes >>> 0; rest !== 0; index++, rest >>>= 1) {
    if ((rest & 1) === 0) continue
    multiply(powers[2 * index]!, powers[2 * index + 1]!, high, low)
    high = productHigh
    low = productLow
  }
  view.setInt32(0, high)
  view.setInt32(4, low)
  return view.getBigUint64(0) ^ second
}
