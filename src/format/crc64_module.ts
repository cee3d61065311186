/**
 * The module of WebAssembly that makes CRC-64 checksums, put together instruction by instruction (WebAssembly Core Specification, chapter 5). Eight bytes
 * are taken in at once by eight tables (Kounavis and Berry, "Novel Table Lookup-Based Algorithms for High-Performance CRC Generation", 2008). As
 * each such step needs the result of the one before, four stretches of the input are done side by side, and then joined by tables of what the zeros
 * of one stretch make of a checksum (Kadatch and Jenkins, "Everything we know about CRC but afraid to forget", 2010).
 */

/** Stretches that are done side by side, and the bytes of each. */
export const lanes = 4
/** Bytes of a stretch. */
export const laneBytes: number = 8 * 1024

/** Tables of 256 checksums: the one at `2048 * k` says what byte makes of a checksum when `k` more bytes of zeros follow. */
export const stepTablesAt = 0
/** Likewise by the byte of a checksum: what a stretch of zeros makes of it. */
export const joinTablesAt: number = 8 * 2048
/** Where the input is put. */
export const inputAt: number = 2 * joinTablesAt

const pageBytes = 65_536

type Code = ReadonlyArray<number>

/** An unsigned number in groups of seven bits, the lowest first. */
const unsigned = (value: number): Code => (value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)])

/** A signed number likewise; only numbers from 0 on are needed. */
const signed = (value: number): Code => (value < 64 ? [value] : [(value & 127) | 128, ...signed(value >>> 7)])

const get = (local: number): Code => [0x20, ...unsigned(local)]
const set = (local: number): Code => [0x21, ...unsigned(local)]
const int = (value: number): Code => [0x41, ...signed(value)]
const long = (value: number): Code => [0x42, ...signed(value)]
/** Eight bytes from the address on the stack and `offset`, and one byte. */
const load = (offset: number): Code => [0x29, 3, ...unsigned(offset)]
const loadByte: Code = [0x31, 0, 0]
const [intBelow, intAtLeast, intAdd, intAnd, intLeft] = [0x49, 0x4f, 0x6a, 0x71, 0x74]
const [xor, left, right, toInt] = [0x85, 0x86, 0x88, 0xa7]
const end = 0x0b

/** Runs `body`, and again while it leaves true; not at all unless `at` is below `to` at first. */
const whileBelow = (at: number, to: number, body: Code): Code => {
  const again = [...body, ...get(at), ...get(to), intBelow, 0x0d, 0]
  return [0x02, 0x40, ...get(at), ...get(to), intAtLeast, 0x0d, 0, 0x03, 0x40, ...again, end, end]
}

/** Leaves what the eight bytes in a local give by eight tables from `tablesAt` on, the lowest byte by the first or the last of them. */
const lookUp = (local: number, tablesAt: number, isLastFirst: boolean): Code =>
  Array.from({ length: 8 }, (_, byte): Code => {
    // The place in a table of entries of eight bytes.
    const scaled = byte === 0 ? [...long(3), left] : [...long(8 * byte - 3), right]
    const table = tablesAt + 2048 * (isLastFirst ? 7 - byte : byte)
    const entry = [...get(local), ...scaled, toInt, ...int(0x7f8), intAnd, ...load(table)]
    return byte === 0 ? entry : [...entry, xor]
  }).flat()

const advance = (at: number, bytes: number): Code => [...get(at), ...int(bytes), intAdd, ...set(at)]

/** `(crc, at, wordsEnd, end) => crc`, of bytes that lie in a row; up to `wordsEnd` they are whole words. */
const rowCode = (): Code => {
  const [crc, at, wordsEnd, bytesEnd, word] = [0, 1, 2, 3, 4]
  const takeWord = [...get(crc), ...get(at), ...load(0), xor, ...set(word), ...lookUp(word, stepTablesAt, true)]
  const entry = [...get(crc), ...get(at), ...loadByte, xor, toInt, ...int(255), intAnd, ...int(3), intLeft]
  const takeByte = [...entry, ...load(stepTablesAt), ...get(crc), ...long(8), right, xor]
  return [
    ...[1, 1, 0x7e],
    ...whileBelow(at, wordsEnd, [...takeWord, ...set(crc), ...advance(at, 8)]),
    ...whileBelow(at, bytesEnd, [...takeByte, ...set(crc), ...advance(at, 1)]),
    ...get(crc),
    end,
  ]
}

/** `(crc, at) => crc`, of as many bytes as all stretches have. */
const lanesCode = (): Code => {
  const [at, laneEnd] = [1, 2]
  const crcs = [0, 3, 4, 5]
  const words = [6, 7, 8, 9]
  const take = words.flatMap((word, lane) => [
    ...get(crcs[lane]!),
    ...get(at),
    ...load(lane * laneBytes),
    xor,
    ...set(word),
  ])
  const step = words.flatMap((word, lane) => [...lookUp(word, stepTablesAt, true), ...set(crcs[lane]!)])
  const join = crcs.slice(1).flatMap((crc) => [...lookUp(0, joinTablesAt, false), ...get(crc), xor, ...set(0)])
  return [
    ...[2, 1, 0x7f, crcs.length - 1 + words.length, 0x7e],
    ...[...get(at), ...int(laneBytes), intAdd, ...set(laneEnd)],
    ...whileBelow(at, laneEnd, [...take, ...step, ...advance(at, 8)]),
    ...join,
    ...get(0),
    end,
  ]
}

const section = (id: number, content: Code): Code => [id, ...unsigned(content.length), ...content]
const named = (name: string, kind: number, index: number): Code => [
  name.length,
  ...new TextEncoder().encode(name),
  kind,
  index,
]
const sized = (code: Code): Code => [...unsigned(code.length), ...code]

/** The module: a memory `memory`, and the functions `row` and `lanes`. */
export const crc64Module = (): Uint8Array<ArrayBuffer> => {
  const [i32, i64] = [0x7f, 0x7e]
  const types = [2, 0x60, 4, i64, i32, i32, i32, 1, i64, 0x60, 2, i64, i32, 1, i64]
  const memory = [1, 0, Math.ceil((inputAt + lanes * laneBytes) / pageBytes)]
  const exported = [3, ...named("memory", 2, 0), ...named("row", 0, 0), ...named("lanes", 0, 1)]
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, types),
    ...section(3, [2, 0, 1]),
    ...section(5, memory),
    ...section(7, exported),
    ...section(10, [2, ...sized(rowCode()), ...sized(lanesCode())]),
  ])
}
