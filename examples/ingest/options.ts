// The command line.

import { parseArgs } from "node:util"
import { unusable } from "./failure.ts"

export const help = `npm start [-- [--root DIR] [FILE... | -]]

Appends the lines of files to a store, one record a line, follows them while they are appended, kills the writing
process half-way, goes on from what was acknowledged, and reads all back to compare it with the input. Budgets are small,
so that segments move to zstd and to an object store (a directory) meanwhile; in the end all is evicted there and read back.

  FILE...      files to take, byte for byte; - is standard input
               without any: the source text that came with the installed packages
  --root DIR   keep the store in DIR; the next run with the same DIR appends to it and verifies every run in it;
               its objects are in DIR.tier2, and belong to it
               without it: a temporary directory, which is removed at the end
  --runtime R  bun, deno or node; default bun (taken by npm start itself)
  --help       this text

Ends with 0 when all is well, 1 when the verification or the store failed, 2 when arguments or input can't be taken,
130 when it was interrupted (Ctrl-C, or nobody reads its output any more), 143 by SIGTERM, 129 by SIGHUP; the store can be opened after each of
them.
`

export interface Options {
  readonly files: ReadonlyArray<string>
  readonly root: string | undefined
  readonly help: boolean
}

/** Throws a `Failure` for what it does not know. */
export function parseOptions(args: ReadonlyArray<string>): Options {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { root: { type: "string" }, help: { type: "boolean", short: "h" } },
      allowPositionals: true,
    })
    if (values.root === "") throw new Error("--root needs a directory")
    if (positionals.includes("")) throw new Error("the name of a file is empty")
    if (positionals.filter((name) => name === "-").length > 1) throw new Error("standard input can be taken once only")
    return { files: positionals, root: values.root, help: values.help ?? false }
  } catch (error) {
    const [message] = (error as Error).message.split(/\n|\. To specify/)
    throw unusable(`${message}; --help shows what there is`)
  }
}
