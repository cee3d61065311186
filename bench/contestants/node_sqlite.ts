/** SQLite as it is built into Node. */
import { join } from "node:path"
import type { Contestant } from "../contestant.ts"
import { openSqliteStore, sqliteSettings } from "../sqlite_store.ts"

export const contestant: Contestant = {
  name: "node:sqlite",
  runtimes: ["node"],
  settings: sqliteSettings,
  workloads: ["W1", "W2", "W3", "W4", "W5", "W6", "W7"],
  scale: 0.25,
  open: async ({ directory, workload }) => {
    const { DatabaseSync } = await import("node:sqlite" as string)
    return openSqliteStore(new DatabaseSync(join(directory, "log.db")), workload)
  },
}
