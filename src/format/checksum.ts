/**
 * The two checksums of the formats. CRC-32 (IEEE, of `node:zlib`) guards what is written often: frames, headers, slots.
 * CRC-64/NVME (`crc64.ts`, made when a store opens) guards what is written once: sealed segments and the manifest.
 */
import { crc32 as zlibCrc32 } from "node:zlib"
import { assert } from "../model/assert.ts"
import { type Crc64Machine, makeCrc64 } from "./crc64.ts"

/** CRC-32 of `bytes`, continued from `seed`; an unsigned 32-bit number. */
export const crc32: (bytes: Uint8Array, seed: number) => number = zlibCrc32

/** A running CRC-64/NVME. `digest` does not end it: more bytes may follow. */
export interface Crc64 {
  /** Takes `bytes` in; they are not kept. */
  readonly update: (bytes: Uint8Array) => void
  /** The checksum of everything taken so far, as an unsigned 64-bit number. */
  readonly digest: () => bigint
}

const allOnes = 0xffffffffffffffffn
let machine: Crc64Machine | undefined

/** Makes the CRC-64 code; the first call costs a few milliseconds, later ones nothing. */
export const loadCrc64 = (): Promise<void> => {
  machine ??= makeCrc64()
  return Promise.resolve()
}

/** CRC-64/NVME of `parts`, one behind the other; that of "123456789" is ae8b14860a799888. Needs `loadCrc64`. */
export const crc64 = (...parts: ReadonlyArray<Uint8Array>): bigint => {
  const running = crc64Start()
  for (const part of parts) running.update(part)
  return running.digest()
}

/** Starts a running CRC-64/NVME; any number may run side by side. Needs `loadCrc64`. */
export const crc64Start = (): Crc64 => {
  assert(machine !== undefined, "loadCrc64 was awaited")
  const { update } = machine
  let state = allOnes
  return {
    update: (bytes) => {
      state = update(state, bytes)
    },
    digest: () => state ^ allOnes,
  }
}
