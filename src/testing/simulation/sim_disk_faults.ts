/** When operations of a simulated disk fail: in stretches, as real ones do, with quiet times in between. */
import type { DiskOperationKind } from "../memory_disk.ts"
import type { SimDiskFaults } from "./sim_plan.ts"
import type { SimRandom } from "./sim_random.ts"

type Group = "read" | "write" | "sync" | "syncDirectory" | "entry"

const groups: Readonly<Record<DiskOperationKind, Group>> = {
  open: "entry",
  create: "entry",
  read: "read",
  write: "write",
  syncData: "sync",
  zeroFill: "write",
  truncate: "write",
  rename: "entry",
  link: "entry",
  sizeOf: "entry",
  list: "entry",
  readFile: "read",
  makeDirectory: "entry",
  remove: "entry",
  removeDirectory: "entry",
  syncDirectory: "syncDirectory",
  syncFileSystem: "sync",
}

const needRoom: ReadonlyArray<DiskOperationKind> = [
  "create",
  "write",
  "zeroFill",
  "truncate",
  "rename",
  "makeDirectory",
]

export class DiskFaults {
  readonly #faults: SimDiskFaults
  readonly #random: SimRandom
  #left = 0

  constructor(faults: SimDiskFaults, random: SimRandom) {
    this.#faults = faults
    this.#random = random
  }

  /** The code with which an operation fails; undefined lets it pass. */
  faultOf(kind: DiskOperationKind): "EIO" | "ENOSPC" | undefined {
    const { every, length, full } = this.#faults
    if (length === 0) return undefined
    if (this.#left === 0) {
      if (this.#random.below(every) !== 0) return undefined
      this.#left = length
    }
    this.#left--
    if (needRoom.includes(kind) && this.#random.chance(full)) return "ENOSPC"
    return this.#random.chance(this.#faults[groups[kind]]) ? "EIO" : undefined
  }
}
