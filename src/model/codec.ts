/** How values become payloads and payloads values. */
import { invalidArgument } from "./errors.ts"

/** Turns values into payloads and back. */
export interface Codec<T> {
  /** Names the codec in errors. */
  readonly name?: string | undefined
  /** The payload of a value; the store copies it before the append returns. */
  readonly encode: (value: T) => Uint8Array | string
  /** The value of a payload, which stays unchanged. */
  readonly decode: (bytes: Uint8Array) => T
}

const decoder: TextDecoder = new TextDecoder("utf-8", { fatal: true })

/** Runs a step of JSON, which answers a value that it cannot take by throwing: `InvalidArgument` then. */
const orInvalid = <A>(limit: string, run: () => A): A => {
  // tidy: allow try because JSON and the decoder of text throw errors of their own
  try {
    return run()
  } catch (error) {
    throw invalidArgument("json value", error instanceof Error ? error.message : typeof error, limit)
  }
}

/** JSON in UTF-8. A value that JSON cannot express, such as a circle or a bigint, and a payload that is no JSON are `InvalidArgument`. */
export const jsonCodec: Codec<unknown> = {
  name: "json",
  encode: (value) => {
    const text: string | undefined = orInvalid("a value that JSON can express", () => JSON.stringify(value))
    if (text === undefined) throw invalidArgument("json value", typeof value, "a value that JSON can express")
    return text
  },
  decode: (bytes) => orInvalid("JSON in UTF-8", () => JSON.parse(decoder.decode(bytes))),
}

/** Throws `InvalidArgument` when a stream that is open with `known` is asked for with another codec. */
export const checkSameCodec = (
  stream: string,
  asked: Codec<unknown> | undefined,
  known: Codec<unknown> | undefined,
): void => {
  if (asked === undefined || asked === known) return
  throw invalidArgument(`codec of the open stream ${stream}`, asked.name, known?.name ?? "none, as it was opened first")
}

/** The codec that a stream option names; throws `InvalidArgument`. */
export const checkCodec = (value: unknown): Codec<unknown> | undefined => {
  if (value === undefined) return undefined
  if (value === "json") return jsonCodec
  const codec = value as Partial<Codec<unknown>> | null
  if (typeof codec === "object" && typeof codec?.encode === "function" && typeof codec.decode === "function") {
    return codec as Codec<unknown>
  }
  throw invalidArgument("codec", value, "json, or an object with name, encode and decode")
}
