// A small store in each tier, closed in order, with a byte of a file flipped, or a file cut to a length: it opens, nothing is lost beyond the
// frame or batch that was touched, what is lost is named, everything else is read with its bytes, and the next open finds the same. Each
// run takes some bytes and lengths of every file; with BOP_AOF_ALL_BYTES=1 all of them. The counts are printed.

import { expect, test } from "bun:test"
import { type BaseStore, checkDamage, type Damage, makeBase, type Outcome, type Place } from "../support/corruption.ts"

const takesAll = process.env["BOP_AOF_ALL_BYTES"] === "1"
const stride = takesAll ? 1 : 241
const timeoutMs = takesAll ? 86_400_000 : 300_000

/** The bytes or lengths of a file that are tried: all, or some spread over it, and more where its first and last fields lie. */
const placesOf = (length: number, file: number): ReadonlyArray<number> => {
  const places = new Set<number>()
  for (let at = takesAll ? 0 : (file * 53) % stride; at < length; at += stride) places.add(at)
  for (let at = file % 13; at < Math.min(64, length); at += takesAll ? 1 : 31) places.add(at)
  for (let at = Math.max(0, length - 9 * (1 + (file % 3))); at < length; at += takesAll ? 1 : 17) places.add(at)
  return [...places]
}

/** Kind of file, for the table. */
const kindOf = (path: string): string => {
  if (path.startsWith("/store/tier2/")) return "object"
  if (path.endsWith(".zst")) return "warm file"
  if (path.endsWith(".seg")) return "segment file"
  if (path.startsWith("/store/manifest/")) return "manifest"
  return path.slice(path.lastIndexOf("/") + 1)
}

const damagesOf = (base: BaseStore): ReadonlyArray<Damage> =>
  [...base.files].flatMap(([path, bytes], file): ReadonlyArray<Damage> => {
    const places = placesOf(bytes.length, file)
    return [
      ...places.map((at): Damage => ({ kind: "flip", path, at })),
      ...places.map((length): Damage => ({ kind: "cut", path, length })),
    ]
  })

test.each(["hot", "warm", "cold"])(
  "a store whose sealed segments are %s loses no more than what is touched, and says so",
  async (place: Place) => {
    const base = await makeBase(place)
    const counts = new Map<string, Record<Outcome, number>>()
    for (const damage of damagesOf(base)) {
      const outcome = await checkDamage(base, damage)
      const kind = `${kindOf(damage.path)}, ${damage.kind}`
      const row = counts.get(kind) ?? { harmless: 0, healed: 0, detected: 0, refused: 0 }
      row[outcome]++
      counts.set(kind, row)
    }
    for (const [kind, row] of counts) {
      const words = Object.entries(row).map(([outcome, count]) => `${count} ${outcome}`)
      console.log(`${place}: ${kind}: ${words.join(", ")}`)
      // The one file whose damage may keep a store from opening, and only when it is more than a byte.
      expect([kind, kind === "ROOT, cut" ? 0 : row.refused]).toEqual([kind, 0])
    }
    // What nobody needs, or what is somewhere else too, costs nothing.
    for (const kind of ["manifest", "current.sealed"]) {
      for (const how of ["flip", "cut"]) expect(counts.get(`${kind}, ${how}`)?.detected).toBe(0)
    }
    expect(counts.get("ROOT, flip")).toMatchObject({ refused: 0, detected: 0 })
  },
  timeoutMs,
)
