/** Values as JSON holds them, without loss: bigints as decimal text, bytes as hexadecimal text, maps as objects. */

/** What `JSON.stringify` writes as it is. */
export type PlainJson =
  | null
  | boolean
  | number
  | string
  | ReadonlyArray<PlainJson>
  | { readonly [key: string]: PlainJson }

/** A copy of a value of plain data; what is undefined becomes null. */
export const plainJson = (value: unknown): PlainJson => {
  if (value === undefined || value === null) return null
  if (typeof value === "bigint") return String(value)
  if (typeof value !== "object") return value as boolean | number | string
  if (value instanceof Uint8Array) return hexOf(value)
  if (Array.isArray(value)) return value.map(plainJson)
  const entries: Iterable<readonly [unknown, unknown]> = value instanceof Map ? value : Object.entries(value)
  return Object.fromEntries([...entries].map(([key, one]) => [String(key), plainJson(one)]))
}

const hexOf = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0")
  return text
}
