// Numbers for people.

const unitNames = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const

/** 1234567 as `1 234 567`. */
export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(?:\d{3})+$)/g, " ")
}

/** `1 record`, `2 records`. */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`
}

/** Bytes in the largest unit that keeps them above 1. */
export function size(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), unitNames.length - 1)
  return power === 0
    ? plural(bytes, "byte")
    : `${(bytes / 1024 ** power).toFixed(power > 2 ? 2 : 1)} ${unitNames[power]}`
}

/** What was done in a time, for lines and for bytes. */
export function rate(records: number, bytes: number, ms: number): string {
  if (records === 0) return "nothing to do"
  const seconds = Math.max(ms, 0.001) / 1000
  return `${count(records / seconds)} records/s, ${size(bytes / seconds)}/s`
}

export function duration(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`
}
