// Ends its first thread, and only that, while those of the runtime go on: `end_first_thread.ts`, on Bun and Linux. The system then shows
// a zombie that still has all its files, as for a moment with a process that was killed in a write.

import { writeSync } from "node:fs"

interface ForeignFunctions {
  readonly dlopen: (
    library: string,
    symbols: { readonly syscall: { readonly args: ReadonlyArray<string>; readonly returns: string } },
  ) => { readonly symbols: { readonly syscall: (number: number, argument: number) => number } }
}

const library = `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`
const { dlopen } = process.getBuiltinModule("bun:ffi") as unknown as ForeignFunctions
const load = (name: string): ReturnType<typeof dlopen> =>
  dlopen(name, { syscall: { args: ["i64", "i64"], returns: "i64" } })
const { symbols } = (() => {
  try {
    return load("libc.so.6")
  } catch {
    return load(library)
  }
})()
writeSync(1, "ready\n")
// exit(2), which ends a thread, unlike exit_group(2).
symbols.syscall(process.arch === "arm64" ? 93 : 60, 0)
