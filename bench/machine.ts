/** What a figure depends on besides the code: processor, cores, memory, file system. */
import * as fs from "node:fs"
import * as os from "node:os"

export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryBytes: number
  readonly system: string
  readonly fileSystem: string
  /** Programs that wanted to run in the minute before, on average: what is above 0 was there before this one. */
  readonly load: number
}

/** Describes the machine and the file system of `directory`. */
export const describeMachine = (directory: string): Machine => ({
  processor: os.cpus()[0]?.model ?? "unknown",
  cores: os.availableParallelism(),
  memoryBytes: os.totalmem(),
  system: `${os.type()} ${os.release()}`,
  fileSystem: fileSystemOf(fs.realpathSync(directory)),
  load: os.loadavg()[0] ?? 0,
})

/** The machine in a few words. */
export const machineText = ({ processor, cores, memoryBytes, system, fileSystem, load }: Machine): string =>
  `${processor}, ${cores} cores, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, ${system}, ${fileSystem}, load ${load.toFixed(1)} at the start`

/** The type of the file system, as Linux names it; elsewhere unknown. */
const fileSystemOf = (directory: string): string => {
  let found = { point: "", type: "unknown" }
  for (const line of readLines("/proc/self/mountinfo")) {
    const [before = "", after = ""] = line.split(" - ")
    const point = before.split(" ")[4] ?? ""
    const isAbove = directory === point || directory.startsWith(point.endsWith("/") ? point : `${point}/`)
    // The later of two mounts on one point hides the earlier.
    if (isAbove && point.length >= found.point.length) found = { point, type: after.split(" ")[0] ?? "unknown" }
  }
  return found.type
}

const readLines = (path: string): ReadonlyArray<string> => {
  try {
    return fs.readFileSync(path, "utf8").trim().split("\n")
  } catch {
    return []
  }
}
