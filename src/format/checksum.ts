/**
 * The two checksums of the formats. CRC-32 (IEEE, of `node:zlib`) guards what is written often: frames, headers, slots.
 * CRC-64/NVME (of WebAssembly, made with the first use) guards what is written once: sealed segments and the manifest.
 */
import { crc32 as zlibCrc32 } from "node:zlib"
import { assert } from "../model/assert.ts"
import { joinCrc64 } from "./crc64_join.ts"
import { Crc64Kernel } from "./crc64_kernel.ts"

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

let kernel: Crc64Kernel | undefined

const kernelOf = (): Crc64Kernel => {
  kernel ??= new Crc64Kernel()
  return kernel
}

/** Makes the CRC-64 code ahead of its first use, a millisecond or two. Nobody has to wait for it. */
export const loadCrc64 = (): Promise<void> =>
  new Promise((resolve) => {
    kernelOf()
    resolve()
  })

/** CRC-64/NVME of `bytes` at once. */
export const crc64 = (...parts: ReadonlyArray<Uint8Array>): bigint => {
  let checksum = 0n
  for (const part of parts) checksum = kernelOf().update(checksum, part)
  return checksum
}

class RunningCrc64 implements Crc64 {
  #checksum: bigint

  constructor(before: bigint) {
    this.#checksum = before
  }

  update(bytes: Uint8Array): void {
    this.#checksum = kernelOf().update(this.#checksum, bytes)
  }

  updateBoth(other: Crc64, bytes: Uint8Array): void {
    assert(other instanceof RunningCrc64 && other !== this, "the other checksum is one of another run")
    // What two checksums differ by depends on the number of bytes that follow, not on the bytes.
    const difference = this.#checksum ^ other.#checksum
    this.update(bytes)
    other.#checksum = joinCrc64(difference, this.#checksum, bytes.length)
  }

  digest(): bigint {
    return this.#checksum
  }
}

/**
 * Starts a running CRC-64/NVME; any number may run side by side. With `before` it goes on from there: the checksum of bytes that were taken
 * elsewhere, 0 for none.
 */
export const crc64Start = (before: bigint = 0n): Crc64 => new RunningCrc64(before)
