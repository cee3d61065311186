/** Sizes that files of the commit journal always have: what has others was cut. */

/** Zeroed in one go: no sync of these may keep another waiting for long. The first stretch is all that a new file needs to be used. */
export const zeroStepBytes: number = 4 * 1024 * 1024
/** The largest group. */
export const groupBytesMost: number = 1024 * 1024
/** The smallest file, but for one of which only the header is left. */
export const journalFileBytesMin: number = 32 * 1024
