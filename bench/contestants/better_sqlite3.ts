/** SQLite by the package `better-sqlite3`. */
import { join } from "node:path"
import type { Contestant } from "../contestant.ts"
import { openSqliteStore, sqliteSettings } from "../sqlite_store.ts"

export const contestant: Contestant = {
  name: "better-sqlite3",
  runtimes: ["node"],
  packages: { "better-sqlite3": "12.11.1" },
  isBuilt: true,
  settings: sqliteSettings,
  workloads: ["W1", "W2", "W3", "W4", "W5", "W6", "W7"],
  scale: 0.25,
  open: async ({ directory, workload, load }) => {
    const { default: Database } = await load("better-sqlite3")
    return openSqliteStore(new Database(join(directory, "log.db")), workload)
  },
}
