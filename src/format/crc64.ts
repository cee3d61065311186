/**
 * CRC-64/NVME in WebAssembly, put together here instruction by instruction, because JavaScript has no 64-bit integers that are fast and
 * one table at a time is bound by the latency of its lookups. Four lanes of a stripe are computed side by side, eight bytes at a time
 * (slicing by 8: Kounavis and Berry, "A Systematic Approach to Building High Performance, Software-based, CRC Generators", 2005),
 * and joined by the linear map "a lane of zeros later" (zlib's crc32_combine). Made at the first use, in about a millisecond.
 */

/** The reflected polynomial, high and low half. */
const polynomial: readonly [number, number] = [0x9a6c9329, 0xac4bc9b5]
const lanes = 4
/** Bytes of a lane; a power of two, at least 8. */
const laneBytes = 4096
const stripeBytes = lanes * laneBytes
/** Eight tables of 256 entries of 8 bytes: what a byte becomes seven to no bytes later. */
const tableBytes = 2048
/** Eight tables more: what a byte of the state becomes a lane later. */
const laneTables = 8 * tableBytes
const stateAt = 16 * tableBytes
const dataAt = 65536
const dataBytes = 4 * 65536

/** As much of WebAssembly as is used here: the libraries of TypeScript name it only together with a browser's. */
declare const WebAssembly: {
  readonly Module: new (code: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: Machine }
}

interface Machine {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** Moves the state at `stateAt` over the bytes of the memory. */
  readonly run: (from: number, to: number) => void
}

/** The running state, from which `update` goes on and which it returns; all ones at the start, complemented at the end. */
export interface Crc64Machine {
  readonly update: (state: bigint, bytes: Uint8Array) => bigint
}

/** Makes the machine; it keeps nothing between calls. */
export const makeCrc64 = (): Crc64Machine => {
  const { memory, run } = new WebAssembly.Instance(new WebAssembly.Module(assemble())).exports
  const { buffer } = memory
  fillTables(new Int32Array(buffer, 0, stateAt / 4))
  const data = new Uint8Array(buffer, dataAt, dataBytes)
  const shared = new DataView(buffer, stateAt, 8)
  return {
    update: (state, bytes) => {
      shared.setBigUint64(0, state, true)
      for (let from = 0; from < bytes.length; from += dataBytes) {
        const to = Math.min(from + dataBytes, bytes.length)
        data.set(to - from === bytes.length ? bytes : bytes.subarray(from, to))
        run(dataAt, dataAt + to - from)
      }
      return shared.getBigUint64(0, true)
    },
  }
}

/** Fills both sets of tables; an entry is two numbers, the low half first. */
const fillTables = (tables: Int32Array): void => {
  const words = tableBytes / 4
  // The last table is the plain one, each before it the same one byte later.
  for (let byte = 0; byte < 256; byte++) {
    let [low, high] = [byte, 0]
    for (let bit = 0; bit < 8; bit++) {
      const isOdd = (low & 1) !== 0
      low = ((low >>> 1) | (high << 31)) ^ (isOdd ? polynomial[1] : 0)
      high = (high >>> 1) ^ (isOdd ? polynomial[0] : 0)
    }
    tables[7 * words + byte * 2] = low
    tables[7 * words + byte * 2 + 1] = high
  }
  for (let at = 7 * words - 2; at >= 0; at -= 2) {
    const [low, high] = [tables[at + words]!, tables[at + words + 1]!]
    const entry = 7 * words + (low & 255) * 2
    tables[at] = ((low >>> 8) | (high << 24)) ^ tables[entry]!
    tables[at + 1] = (high >>> 8) ^ tables[entry + 1]!
  }
  // Where each bit of the state goes in 8 bytes of zeros, then in twice as many, up to a lane.
  let map = new Int32Array(128)
  for (let bit = 0; bit < 64; bit++) {
    const entry = (bit >> 3) * words + (1 << (bit & 7)) * 2
    map.set(tables.subarray(entry, entry + 2), bit * 2)
  }
  for (let bytes = 8; bytes < laneBytes; bytes *= 2) map = applyTwice(map)
  for (let position = 0; position < 8; position++) {
    for (let byte = 1; byte < 256; byte++) {
      const lowest = 31 - Math.clz32(byte & -byte)
      const at = laneTables / 4 + position * words
      const [rest, bit] = [at + (byte & (byte - 1)) * 2, (position * 8 + lowest) * 2]
      tables[at + byte * 2] = tables[rest]! ^ map[bit]!
      tables[at + byte * 2 + 1] = tables[rest + 1]! ^ map[bit + 1]!
    }
  }
}

/** A linear map of 64 bits, given as the images of the bits, after itself. */
const applyTwice = (map: Int32Array): Int32Array<ArrayBuffer> => {
  const twice = new Int32Array(128)
  for (let at = 0; at < 128; at++) {
    // Even places hold low halves, odd ones high halves; bit `j` of an image leads to image `j`.
    const [low, high, half] = [map[at & ~1]!, map[at | 1]!, at & 1]
    let sum = 0
    for (let j = 0; j < 32; j++) {
      if ((low >>> j) & 1) sum ^= map[j * 2 + half]!
      if ((high >>> j) & 1) sum ^= map[64 + j * 2 + half]!
    }
    twice[at] = sum
  }
  return twice
}

type Code = ReadonlyArray<number>

const unsigned = (value: number): Code => (value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)])
const signed = (value: number): Code => (value < 64 ? [value] : [(value & 127) | 128, ...signed(value >>> 7)])
const get = (local: number): Code => [0x20, local]
const set = (local: number): Code => [0x21, local]
const int32 = (value: number): Code => [0x41, ...signed(value)]
const int64 = (value: number): Code => [0x42, ...signed(value)]
/** Loads 64 bits from the address on the stack plus `offset`. */
const load = (offset: number): Code => [0x29, 0, ...unsigned(offset)]
const [and32, add32, shiftLeft32, shiftRight64, xor64, wrap, below, atOrAbove, above] = [
  0x71, 0x6a, 0x74, 0x88, 0x85, 0xa7, 0x49, 0x4f, 0x4b,
]
const [block, loop, end] = [[0x02, 0x40], [0x03, 0x40], 0x0b]
const branch = (depth: number): Code => [0x0c, depth]
const branchIf = (depth: number): Code => [0x0d, depth]
const repeat = (count: number, code: (at: number) => Code): Code =>
  Array.from({ length: count }, (_, at) => code(at)).flat()

const [fromLocal, toLocal, laneEndLocal, stateLocal, wordLocal] = [0, 1, 2, 3, 3 + lanes]

/** The sum of what the eight tables from `tables` on have for the bytes of a local. */
// biome-ignore format: a line of instructions does one thing
const fold = (local: number, tables: number): Code =>
  repeat(8, (byte) => [
    ...get(local), ...int64(byte * 8), shiftRight64, wrap, ...int32(255), and32, ...int32(3), shiftLeft32,
    ...load(tables + byte * tableBytes), ...(byte === 0 ? [] : [xor64]),
  ])

const advance = (bytes: number): Code => [...get(fromLocal), ...int32(bytes), add32, ...set(fromLocal)]

/** Whole stripes, as long as there are any. */
// biome-ignore format: a line of instructions does one thing
const stripes = (): Code => [
  ...block, ...loop,
  ...get(fromLocal), ...int32(stripeBytes), add32, ...get(toLocal), above, ...branchIf(1),
  ...repeat(lanes - 1, (lane) => [...int64(0), ...set(stateLocal + 1 + lane)]),
  ...get(fromLocal), ...int32(laneBytes), add32, ...set(laneEndLocal),
  ...loop,
  ...repeat(lanes, (lane) => [...get(fromLocal), ...load(lane * laneBytes), ...get(stateLocal + lane), xor64, ...set(wordLocal + lane)]),
  ...repeat(lanes, (lane) => [...fold(wordLocal + lane, 0), ...set(stateLocal + lane)]),
  ...advance(8), ...get(fromLocal), ...get(laneEndLocal), below, ...branchIf(0), end,
  ...repeat(lanes - 1, (lane) => [...fold(stateLocal, laneTables), ...get(stateLocal + 1 + lane), xor64, ...set(stateLocal)]),
  ...advance(stripeBytes - laneBytes), ...branch(0), end, end,
]

/** What is left, byte by byte. */
// biome-ignore format: a line of instructions does one thing
const rest = (): Code => [
  ...block, ...loop, ...get(fromLocal), ...get(toLocal), atOrAbove, ...branchIf(1),
  ...get(stateLocal), wrap, ...get(fromLocal), 0x2d, 0, 0, 0x73, ...int32(255), and32, ...int32(3), shiftLeft32, ...load(7 * tableBytes),
  ...get(stateLocal), ...int64(8), shiftRight64, xor64, ...set(stateLocal), ...advance(1), ...branch(0), end, end,
]

const section = (id: number, content: Code): Code => [id, ...unsigned(content.length), ...content]

/** The module. */
const assemble = (): Uint8Array => {
  const name = (text: string): Code => [text.length, ...Array.from(text, (unit) => unit.charCodeAt(0))]
  const locals = [2, 1, 0x7f, 2 * lanes, 0x7e]
  const start = [...int32(0), ...load(stateAt), ...set(stateLocal)]
  const finish = [...int32(0), ...get(stateLocal), 0x37, 0, ...unsigned(stateAt), end]
  const body = [...locals, ...start, ...stripes(), ...rest(), ...finish]
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 2, 0x7f, 0x7f, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, (dataAt + dataBytes) / 65536]),
    ...section(7, [2, ...name("memory"), 2, 0, ...name("run"), 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ])
}
