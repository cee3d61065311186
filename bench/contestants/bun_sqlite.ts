/** SQLite as it is built into Bun. */
import { join } from "node:path"
import type { Contestant } from "../contestant.ts"
import { openSqliteStore, sqliteSettings } from "../sqlite_store.ts"

export const contestant: Contestant = {
  name: "bun:sqlite",
  runtimes: ["bun"],
  settings: sqliteSettings,
  workloads: ["W1", "W2", "W3", "W4", "W5", "W6", "W7"],
  scale: 0.25,
  open: async ({ directory, workload }) => {
    const { Database } = await import("bun:sqlite" as string)
    return openSqliteStore(new Database(join(directory, "log.db")), workload)
  },
}
