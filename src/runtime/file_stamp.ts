/** The stamp of an open file, out of what the file system keeps of it. */
import * as fs from "node:fs"
import type { FileStamp } from "../port/segment_file.ts"

const secondNs = 1_000_000_000n

/** Undefined where the runtime knows no parts of a second of it, as Deno does not. Throws the error of `node:fs`. */
export const stampOf = (descriptor: number): FileStamp | undefined => {
  const { dev, ino, size, mtimeNs, ctimeNs } = fs.fstatSync(descriptor, { bigint: true })
  if (ctimeNs % secondNs === 0n) return undefined
  return { written: `${dev}:${ino}:${size}:${mtimeNs}`, changed: String(ctimeNs) }
}
