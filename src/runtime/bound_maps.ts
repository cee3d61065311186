/**
 * Bounds how many mappings a process has. The runtimes unmap when the collector has found that no view is left, and say so between turns of the
 * event loop only: a loop that reads at random and never lets go would go on mapping until the system refuses memory for anything else.
 */
import { type MapFile, mapNothing } from "./posix_file.ts"

/** Linux allows 65,530 mappings, and those of the runtime itself and of other libraries are among them. */
const mappingsMax = 16_384

/** The same, but undefined while so many of its mappings live. */
export const boundMaps = (map: MapFile, countMax: number = mappingsMax): MapFile => {
  if (map === mapNothing) return map
  let count = 0
  const registry = new FinalizationRegistry<undefined>(() => {
    count--
  })
  return (descriptor, path, length) => {
    if (count >= countMax) return undefined
    const bytes = map(descriptor, path, length)
    if (bytes === undefined) return undefined
    count++
    registry.register(bytes.buffer, undefined)
    return bytes
  }
}
