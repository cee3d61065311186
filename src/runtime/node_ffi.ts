/** Node's own foreign functions, which call the C library. */

/** Undefined where Node has no FFI, or was told to have none (`--no-experimental-ffi`), and on the other runtimes. `Ffi` is what is used of it. */
export const loadNodeFfi = <Ffi>(): Ffi | undefined => {
  // Node tells the user of a program that FFI is experimental; that is for those to read who call it, and they read it in the documentation.
  const { emitWarning } = process
  process.emitWarning = () => undefined
  try {
    return process.getBuiltinModule("node:ffi") as unknown as Ffi | undefined
  } finally {
    process.emitWarning = emitWarning
  }
}
