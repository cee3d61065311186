/** Throws where the program itself is wrong. What a caller or a disk can get wrong is a typed error instead. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
