// What fuzz tests share: how often they run, inputs that are random, or valid and then changed, and a limit for what may be allocated.

import fc from "fast-check"

const given = Number(process.env["BOP_AOF_FUZZ_RUNS"] ?? Number.NaN)

/** Settings of a property: a fixed seed, so that a run can be repeated; more runs, with BOP_AOF_FUZZ_RUNS, begin anywhere. */
export const fuzzOptions = (runs: number): fc.Parameters<unknown> =>
  given > 0 ? { numRuns: Math.floor(given) } : { numRuns: runs, seed: 20_260_101 }

/** Changes to bytes, one after the other. */
type Change =
  | { readonly kind: "flip"; readonly at: number; readonly mask: number }
  | { readonly kind: "set"; readonly at: number; readonly bytes: ReadonlyArray<number> }
  | { readonly kind: "cut"; readonly to: number }
  | { readonly kind: "drop"; readonly at: number; readonly count: number }
  | { readonly kind: "insert"; readonly at: number; readonly bytes: ReadonlyArray<number> }
  | { readonly kind: "copy"; readonly from: number; readonly at: number; readonly count: number }

const place = fc.double({ min: 0, max: 1, noNaN: true })
/** Runs of bytes in which lengths and counts that are too large are common. */
const run = fc.oneof(
  fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 8 }),
  fc.constantFrom([255, 255, 255, 255], [0, 0, 0, 0], [255, 255, 255, 127], [0, 0, 0, 128], [1, 0, 0, 0, 0, 0, 32, 0]),
)
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant("flip" as const), at: place, mask: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant("set" as const), at: place, bytes: run }),
  fc.record({ kind: fc.constant("cut" as const), to: place }),
  fc.record({ kind: fc.constant("drop" as const), at: place, count: fc.integer({ min: 1, max: 64 }) }),
  fc.record({ kind: fc.constant("insert" as const), at: place, bytes: run }),
  fc.record({ kind: fc.constant("copy" as const), from: place, at: place, count: fc.integer({ min: 1, max: 128 }) }),
)

const changed = (bytes: Uint8Array, one: Change): Uint8Array => {
  const offset = (share: number): number => Math.min(Math.floor(share * bytes.length), Math.max(0, bytes.length - 1))
  const copy = bytes.slice()
  switch (one.kind) {
    case "flip":
      if (copy.length > 0) copy[offset(one.at)]! ^= one.mask
      return copy
    case "set":
      one.bytes.forEach((byte, at) => {
        const to = offset(one.at) + at
        if (to < copy.length) copy[to] = byte
      })
      return copy
    case "cut":
      return copy.slice(0, offset(one.to))
    case "drop":
      return Uint8Array.from([...copy.slice(0, offset(one.at)), ...copy.slice(offset(one.at) + one.count)])
    case "insert":
      return Uint8Array.from([...copy.slice(0, offset(one.at)), ...one.bytes, ...copy.slice(offset(one.at))])
    case "copy": {
      const from = offset(one.from)
      copy.set(copy.slice(from, from + Math.min(one.count, copy.length - offset(one.at))), offset(one.at))
      return copy
    }
  }
}

/** Bytes at random, and those of `valid` with one to six changes. */
export const hostile = (...valid: ReadonlyArray<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 4096 }) },
    {
      weight: 4,
      arbitrary: fc
        .tuple(fc.constantFrom(...valid), fc.array(change, { minLength: 1, maxLength: 6 }))
        .map(([bytes, changes]) => changes.reduce(changed, bytes)),
    },
  )

/** Runs something that may allocate no typed array of more than `bytesMax` at once; what is beyond throws. */
export const withAllocationLimit = <A>(bytesMax: number, work: () => A): A => {
  const types = ["Uint8Array", "Uint32Array", "ArrayBuffer"] as const
  const before = types.map((name) => globalThis[name])
  const limited: ReadonlyArray<object> = before.map((type, index) => {
    const proxy: object = new Proxy(type as unknown as new (...args: Array<unknown>) => object, {
      construct: (target, args: Array<unknown>, newTarget): object => {
        const count = typeof args[0] === "number" ? args[0] : 0
        const bytes = count * (index === 1 ? 4 : 1)
        if (bytes > bytesMax) throw new Error(`${bytes} bytes were to be allocated, ${bytesMax} at most`)
        return Reflect.construct(target, args, newTarget === proxy ? target : newTarget) as object
      },
    })
    return proxy
  })
  const assign = (values: ReadonlyArray<unknown>): void => {
    types.forEach((name, index) => {
      ;(globalThis as Record<string, unknown>)[name] = values[index]
    })
  }
  assign(limited)
  try {
    return work()
  } finally {
    assign(before)
  }
}
