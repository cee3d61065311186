// What every codec is put through: each byte flipped, each length cut.

import { expect } from "bun:test"

/** `accepts` must be false for `bytes` with any one bit pattern of any one byte in `[from, to)` changed. */
export function expectFlipsRejected(
  bytes: Uint8Array,
  accepts: (bytes: Uint8Array) => boolean,
  from = 0,
  to: number = bytes.length,
): void {
  const accepted: Array<string> = []
  for (let at = from; at < to; at++) {
    for (const mask of [0x01, 0x80, 0xff]) {
      const changed = bytes.slice()
      changed[at] = changed[at]! ^ mask
      if (accepts(changed)) accepted.push(`byte ${at} ^ ${mask}`)
    }
  }
  expect(accepted).toEqual([])
}

/** `accepts` must be false for each beginning of `bytes` that is shorter than `bytes`. */
export function expectCutsRejected(bytes: Uint8Array, accepts: (bytes: Uint8Array) => boolean): void {
  const accepted: Array<number> = []
  for (let length = 0; length < bytes.length; length++) if (accepts(bytes.slice(0, length))) accepted.push(length)
  expect(accepted).toEqual([])
}

/** Bytes from a hexadecimal text. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}
