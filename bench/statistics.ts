/** Medians and quantiles of what was measured. */

/** The value below which `quantile` (0 to 1) of all lie. */
export const quantileOf = (values: ArrayLike<number>, quantile: number): number => {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? Number.NaN
}

/** The middle one, or the mean of the two in the middle. */
export const medianOf = (values: ArrayLike<number>): number => {
  const sorted = Float64Array.from(values).sort()
  const above = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[above]!
  return sorted.length === 0 ? Number.NaN : (sorted[above - 1]! + sorted[above]!) / 2
}
