/** Where things lie below a root. */

export const rootFilePath = (root: string): string => `${root}/ROOT`
export const streamsPath = (root: string): string => `${root}/streams`
export const streamPath = (root: string, name: string): string => `${root}/streams/${name}`
export const segmentsPath = (root: string, name: string): string => `${root}/streams/${name}/segments`
/** Where a deleted stream waits for its removal; no stream name starts with a dot. */
export const deletedPath = (root: string, streamId: number): string => `${root}/streams/.deleted-${streamId}`
export const segmentPath = (segments: string, index: number): string =>
  `${segments}/${String(index).padStart(10, "0")}.seg`
/** Where the warm files of a stream lie. */
export const warmFolder = (root: string, name: string): string => `${root}/streams/${name}/warm`
/** A warm file is named so that `zstd -d` gives the name of its segment. */
export const warmPathOf = (root: string, name: string, index: number): string =>
  `${warmFolder(root, name)}/${String(index).padStart(10, "0")}.seg.zst`
export const spareName = "spare.seg"
export const sparePath = (segments: string): string => `${segments}/${spareName}`
export const pointerPath = (segments: string): string => `${segments}/current.sealed`
/** Where the commit journal lies. */
export const journalFolder = (root: string): string => `${root}/journal`
export const journalFilePath = (root: string, number: number): string => `${root}/journal/${number}.jnl`
/** Where files go that recovery could not use and does not delete. */
export const quarantinePath = (root: string): string => `${root}/quarantine`

/** The index in a segment file's name, or undefined. */
export const segmentIndexOfName = (name: string): number | undefined => {
  const match = /^(\d{10})\.seg$/.exec(name)
  return match === null ? undefined : Number(match[1])
}

/** The index in a warm file's name, or undefined. */
export const segmentIndexOfWarmName = (name: string): number | undefined =>
  name.endsWith(".zst") ? segmentIndexOfName(name.slice(0, -".zst".length)) : undefined
