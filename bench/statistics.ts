/** Medians and quantiles of what was measured. */

/** The value below which `quantile` (0 to 1) of all lie. */
export const quantileOf = (values: ArrayLike<number>, quantile: number): number => {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? Number.NaN
}

/** The middle one. */
export const medianOf = (values: ArrayLike<number>): number => quantileOf(values, 0.5)
