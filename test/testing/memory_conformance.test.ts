// The memory disk behaves as a real file system does, with and without its account of syncs.

import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { describeDirectory } from "../support/directory_conformance.ts"

describeDirectory("the memory disk", () => ({
  name: "memory",
  layer: new MemoryDisk().layer,
  root: "/store",
  canMap: true,
}))

describeDirectory("the memory disk without crashes", () => ({
  name: "memory without crashes",
  layer: new MemoryDisk({ modelsCrashes: false, mapsFiles: false }).layer,
  root: "/store",
  canMap: false,
}))
