/** SQLite as a log, the same for each of its bindings: one table, write-ahead log, batches as transactions. */
import type { Store, Workload } from "./contestant.ts"
import { makeGroupCommit } from "./group_commit.ts"
import { mixRecord } from "./payload.ts"

interface Statement {
  readonly run: (...values: ReadonlyArray<any>) => unknown
  readonly get: (...values: ReadonlyArray<any>) => any
  readonly iterate: (...values: ReadonlyArray<any>) => Iterable<any>
}

/** What the bindings have in common. */
export interface SqliteDatabase {
  readonly exec: (sql: string) => unknown
  readonly prepare: (sql: string) => Statement
  readonly close: () => unknown
}

export const sqliteSettings: string =
  "journal_mode=WAL; W1: transactions of 10,000 rows at synchronous=NORMAL, the last one at FULL; W2, W3: synchronous=FULL, " +
  "all that wait in one transaction; no checksums"

const batchRecords = 10_000

/** Opens the log in a database that was just opened. */
export const openSqliteStore = (database: SqliteDatabase, workload: Workload): Store => {
  database.exec("PRAGMA journal_mode=WAL")
  database.exec(`PRAGMA synchronous=${workload === "W1" ? "NORMAL" : "FULL"}`)
  database.exec("CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
  const insert = database.prepare("INSERT INTO log (payload) VALUES (?)")
  const select = database.prepare("SELECT payload FROM log WHERE id = ?")
  const insertAll = (payloads: ReadonlyArray<Uint8Array>): void => {
    database.exec("BEGIN")
    for (const payload of payloads) insert.run(payload)
    database.exec("COMMIT")
  }
  return {
    appendAll: async (payloads, records) => {
      for (let at = 0; at < records; at += batchRecords) {
        const end = Math.min(records, at + batchRecords)
        if (end === records) database.exec("PRAGMA synchronous=FULL")
        database.exec("BEGIN")
        for (let i = at; i < end; i++) insert.run(payloads[i & (payloads.length - 1)])
        database.exec("COMMIT")
      }
    },
    append: makeGroupCommit(insertAll),
    appendAlone: (payload) => insert.run(payload),
    scan: async () => {
      let [records, hash] = [0, 0]
      for (const { payload } of database.prepare("SELECT payload FROM log ORDER BY id").iterate()) {
        hash = mixRecord(hash, payload.length, payload[0])
        records++
      }
      return { records, hash }
    },
    openPoint: async () => ({
      records: Number(database.prepare("SELECT count(*) AS count FROM log").get().count),
      get: (index) => select.get(index + 1).payload,
    }),
    first: async () => select.get(1).payload,
    close: async () => void database.close(),
  }
}
