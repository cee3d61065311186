// Numbers from a seed.

/** Numbers below `n` from a seed, the same on every runtime. */
export const makeRandom = (seed: number): ((n: number) => number) => {
  let state = seed >>> 0
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 4294967296) * n)
  }
}
