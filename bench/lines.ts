/** Payloads that shrink. */
import { makeRandom32 } from "./payload.ts"

const encoder = new TextEncoder()

/** Makes lines like those of a log, different each: they shrink to about a fifth. */
export const makeLineSource = (): (() => Uint8Array) => {
  const random32 = makeRandom32(7)
  let at = 1_700_000_000_000
  return () => {
    const words = Array.from({ length: 12 }, () => (random32() % 5000).toString(36))
    at += 13
    return encoder.encode(JSON.stringify({ at, level: "info", user: random32(), words }))
  }
}

/** Some of them, to be used over and over. */
export const makeLines = (): Array<Uint8Array> => {
  const next = makeLineSource()
  return Array.from({ length: 4096 }, next)
}
