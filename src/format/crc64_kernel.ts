/** CRC-64/NVME of bytes, by WebAssembly: at four to five gigabytes a second where one step at a time makes two. */

import { joinCrc64, polynomialHigh, polynomialLow } from "./crc64_join.ts"
import { crc64Module, inputAt, joinTablesAt, laneBytes, lanes, stepTablesAt } from "./crc64_module.ts"

const inputBytes = lanes * laneBytes

interface ModuleExports {
  readonly memory: { readonly buffer: ArrayBuffer }
  readonly row: (crc: bigint, at: number, wordsEnd: number, end: number) => bigint
  readonly lanes: (crc: bigint, at: number) => bigint
}

/** What is used of it, which not every set of types knows. */
interface Wasm {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object
  readonly Instance: new (module: object) => { readonly exports: object }
}

/** The one instance. It keeps nothing between calls but its tables. */
export class Crc64Kernel {
  readonly #exports: ModuleExports
  readonly #memory: Uint8Array
  #hasJoinTables = false

  constructor() {
    const { Module, Instance } = (globalThis as unknown as { readonly WebAssembly: Wasm }).WebAssembly
    this.#exports = new Instance(new Module(crc64Module())).exports as ModuleExports
    const { buffer } = this.#exports.memory
    this.#memory = new Uint8Array(buffer)
    fillStepTables(new Int32Array(buffer, stepTablesAt, 8 * 512))
  }

  /** The checksum of what has the checksum `before`, 0 for nothing, and `bytes` behind it. */
  update(before: bigint, bytes: Uint8Array): bigint {
    // Between the ends the register holds the complement.
    let crc = ~before
    let from = 0
    if (bytes.length >= inputBytes) this.#makeJoinTables()
    for (; from + inputBytes <= bytes.length; from += inputBytes) {
      this.#memory.set(bytes.subarray(from, from + inputBytes), inputAt)
      crc = this.#exports.lanes(crc, inputAt)
    }
    if (from < bytes.length) {
      const length = bytes.length - from
      this.#memory.set(from === 0 ? bytes : bytes.subarray(from), inputAt)
      crc = this.#exports.row(crc, inputAt, inputAt + (length & ~7), inputAt + length)
    }
    return BigInt.asUintN(64, ~crc)
  }

  /** Not for small inputs, which are all that most openings have. */
  #makeJoinTables(): void {
    if (this.#hasJoinTables) return
    this.#hasJoinTables = true
    fillJoinTables(new Int32Array(this.#exports.memory.buffer, joinTablesAt, 8 * 512))
  }
}

/** Entries are two halves, the lower one first, as WebAssembly reads them: for speed, as all of it is made when the first store opens. */
const fillStepTables = (tables: Int32Array): void => {
  for (let byte = 0; byte < 256; byte++) {
    let [low, high] = [byte, 0]
    for (let bit = 0; bit < 8; bit++) {
      const carried = -(low & 1)
      low = ((low >>> 1) | (high << 31)) ^ (polynomialLow & carried)
      high = (high >>> 1) ^ (polynomialHigh & carried)
    }
    tables[2 * byte] = low
    tables[2 * byte + 1] = high
  }
  for (let at = 512; at < tables.length; at += 2) {
    const [low, high] = [tables[at - 512]!, tables[at - 511]!]
    const entry = 2 * (low & 255)
    tables[at] = ((low >>> 8) | (high << 24)) ^ tables[entry]!
    tables[at + 1] = (high >>> 8) ^ tables[entry + 1]!
  }
}

const fillJoinTables = (tables: Int32Array): void => {
  for (let index = 0; index < 64; index++) {
    const joined = joinCrc64(1n << BigInt(index), 0n, laneBytes)
    const [low, high] = [Number(joined & 0xffffffffn) | 0, Number(joined >> 32n) | 0]
    const table = 512 * (index >> 3)
    const entries = 2 << (index & 7)
    // Of two bytes without a bit in common.
    for (let other = 0; other < entries; other += 2) {
      tables[table + entries + other] = tables[table + other]! ^ low
      tables[table + entries + other + 1] = tables[table + other + 1]! ^ high
    }
  }
}
