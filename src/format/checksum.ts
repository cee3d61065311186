/**
 * The two checksums of the formats. CRC-32 (IEEE, of `node:zlib`) guards what is written often: frames, headers, slots.
 * CRC-64/NVME (of `hash-wasm`, loaded when a writable store opens) guards what is written once: sealed segments and the manifest.
 */
import { crc32 as zlibCrc32 } from "node:zlib"
import { assert } from "../model/assert.ts"
import { shiftCrc64 } from "./crc64_shift.ts"

/** CRC-32 of `bytes`, continued from `seed`; an unsigned 32-bit number. */
export const crc32: (bytes: Uint8Array, seed: number) => number = zlibCrc32

/** A running CRC-64/NVME. `digest` does not end it: more bytes may follow. */
export interface Crc64 {
  /** Takes `bytes` in; they are not kept. */
  readonly update: (bytes: Uint8Array) => void
  /** Takes `bytes`, below 2^32, into this one and into another one, for hardly more than the cost of one. */
  readonly updateBoth: (other: Crc64, bytes: Uint8Array) => void
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

/** What hash-wasm has saved of a running checksum, which is the state between two updates. */
class RunningCrc64 implements Crc64 {
  readonly #shared: Hasher
  #state: Uint8Array

  constructor(shared: Hasher, before: bigint) {
    this.#shared = shared
    shared.init()
    this.#state = shared.save()
    if (before !== 0n) viewOf(this.#state).setBigUint64(savedChecksumAt, before, true)
  }

  update(bytes: Uint8Array): void {
    this.#shared.load(this.#state)
    this.#shared.update(bytes)
    this.#state = this.#shared.save()
  }

  updateBoth(other: Crc64, bytes: Uint8Array): void {
    assert(other instanceof RunningCrc64 && other !== this, "the other checksum is one of another run")
    // What two checksums differ by depends on the number of bytes that follow, not on the bytes.
    const [own, others] = [viewOf(this.#state), viewOf(other.#state)]
    xorChecksum(others, own)
    this.update(bytes)
    shiftCrc64([others, savedChecksumAt], bytes.length, [viewOf(this.#state), savedChecksumAt])
  }

  digest(): bigint {
    this.#shared.load(this.#state)
    return BigInt(`0x${this.#shared.digest()}`)
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const xorChecksum = (to: DataView, from: DataView): void => {
  for (const at of [savedChecksumAt, savedChecksumAt + 4])
    to.setInt32(at, to.getInt32(at, true) ^ from.getInt32(at, true), true)
}

/**
 * Starts a running CRC-64/NVME; any number may run side by side, as each keeps its state outside of the one wasm instance. With
 * `before` it goes on from there: the checksum of bytes that were taken elsewhere, 0 for none.
 */
export const crc64Start = (before: bigint = 0n): Crc64 => {
  assert(hasher !== undefined, "loadCrc64 was awaited")
  return new RunningCrc64(hasher, before)
}
