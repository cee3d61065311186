/** What lies on disk, and what the system remembers of it. */
import * as fs from "node:fs"
import { join } from "node:path"

/** Bytes that the files below a directory take on disk. */
export const diskBytesBelow = (directory: string): number => {
  let sum = 0
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) sum += diskBytesBelow(path)
    else if (entry.isFile()) sum += fs.statSync(path).blocks * 512
  }
  return sum
}

/** Forgets the clean pages of all files; false where that is not permitted. */
export const dropPageCache = (): boolean => {
  try {
    // The kernel forgets clean pages only; this flush of one file leaves the others to the second, harmless, miss.
    fs.writeFileSync("/proc/sys/vm/drop_caches", "3")
    return true
  } catch {
    return false
  }
}
