/**
 * The two checksums of the formats. CRC-32 (IEEE, of `node:zlib`) guards what is written often: frames, headers, slots.
 * CRC-64/NVME (of `hash-wasm`, loaded when a writable store opens) guards what is written once: sealed segments and the manifest.
 */
import { crc32 as zlibCrc32 } from "node:zlib"
import { assert } from "../model/assert.ts"

/** CRC-32 of `bytes`, continued from `seed`; an unsigned 32-bit number. */
export const crc32: (bytes: Uint8Array, seed: number) => number = zlibCrc32

/** A running CRC-64/NVME. `digest` does not end it: more bytes may follow. */
export interface Crc64 {
  /** Takes `bytes` in; they are not kept. */
  readonly update: (bytes: Uint8Array) => void
  /** The checksum of everything taken so far, as an unsigned 64-bit number. */
  readonly digest: () => bigint
}

/** The reflected polynomial of CRC-64/NVME, as hash-wasm takes it; the check value of "123456789" is ae8b14860a799888. */
const polynomial = "9a6c9329ac4bc9b5"

interface Hasher {
  init(): unknown
  update(bytes: Uint8Array): unknown
  digest(): string
  save(): Uint8Array
  load(state: Uint8Array): unknown
}

let hasher: Hasher | undefined
let loading: Promise<void> | undefined

/** Loads the CRC-64 code; the first call costs a few milliseconds, later ones nothing. */
export const loadCrc64 = (): Promise<void> => {
  loading ??= import("hash-wasm")
    .then(({ createCRC64 }) => createCRC64(polynomial))
    .then((made) => {
      hasher = made as Hasher
    })
    .catch((error) => {
      // The next call tries again.
      loading = undefined
      throw error
    })
  return loading
}

/** True once `loadCrc64` is done: who asks first needs not wait for a promise. */
export const isCrc64Loaded = (): boolean => hasher !== undefined

/** CRC-64/NVME of `bytes` at once. Needs `loadCrc64`. */
export const crc64 = (...parts: ReadonlyArray<Uint8Array>): bigint => {
  assert(hasher !== undefined, "loadCrc64 was awaited")
  hasher.init()
  for (const part of parts) hasher.update(part)
  return BigInt(`0x${hasher.digest()}`)
}

/** In what hash-wasm saves, the checksum so far lies behind four bytes that name the algorithm. */
const savedChecksumAt = 4

/**
 * Starts a running CRC-64/NVME; any number may run side by side, as each keeps its state outside of the one wasm instance. With
 * `before` it goes on from there: the checksum of bytes that were taken elsewhere, 0 for none.
 */
export const crc64Start = (before: bigint = 0n): Crc64 => {
  assert(hasher !== undefined, "loadCrc64 was awaited")
  const shared = hasher
  shared.init()
  let state = shared.save()
  if (before !== 0n) new DataView(state.buffer, state.byteOffset).setBigUint64(savedChecksumAt, before, true)
  return {
    update: (bytes) => {
      shared.load(state)
      shared.update(bytes)
      state = shared.save()
    },
    digest: () => {
      shared.load(state)
      return BigInt(`0x${shared.digest()}`)
    },
  }
}
