/**
 * Chance from a seed, the same on every runtime: sfc32 of Chris Doty-Humphrey (PractRand), which has no multiplication that could round.
 * Each part of a simulation draws from a generator of its own, so that one that draws more does not change what the others do.
 */

/** A number from 0 to 1 for each of several choices; what is not named does not happen. */
export type Weights<K extends string> = Readonly<Partial<Record<K, number>>>

export class SimRandom {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** Starts at `seed`; `part` tells the generators of one seed apart. */
  constructor(seed: number, part = 0) {
    this.#a = seed | 0
    this.#b = Math.floor(seed / 2 ** 32) | 0
    this.#c = part | 0
    for (let round = 0; round < 12; round++) this.next32()
  }

  /** An unsigned 32-bit number. */
  next32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** From 0 up to but not `limit`. */
  below(limit: number): number {
    return Math.floor((this.next32() / 2 ** 32) * limit)
  }

  /** From `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next32() / 2 ** 32 < probability
  }

  /** From 0 up to but not 1, with 53 bits. */
  double(): number {
    return ((this.next32() >>> 5) * 2 ** 26 + (this.next32() >>> 6)) / 2 ** 53
  }

  /** One of several, each as likely. */
  pick<A>(values: ReadonlyArray<A>): A {
    return values[this.below(values.length)] as A
  }

  /** One of several, as likely as its weight says. */
  weighted<K extends string>(weights: Weights<K>): K {
    const entries = Object.entries(weights) as unknown as ReadonlyArray<[K, number]>
    let left = (this.next32() / 2 ** 32) * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of entries) {
      if (left < weight) return name
      left -= weight
    }
    return (entries.at(-1) as [K, number])[0]
  }
}
