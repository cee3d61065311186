// What the two sides of the test of a file system that becomes read-only have in common.

import type { AofManager, AofManagerOptions } from "bop-aof"

/** What a writer on such a file system has seen. Failures are `_tag code`, or `none`. */
export interface RemountReport {
  readonly acked: Readonly<Record<string, ReadonlyArray<number>>>
  readonly before: ReadonlyArray<string>
  readonly isRemounted: boolean
  readonly appends: ReadonlyArray<string>
  readonly newStream: string
  /** Acknowledged records that are there, in order from the first, by stream. */
  readonly read: Readonly<Record<string, number>>
  readonly close: string
  readonly opening: string
  readonly readOnly: Readonly<Record<string, number>>
}

export const remountOptions: Omit<AofManagerOptions, "root"> = {
  segmentBytes: 65_536,
  stagingBytes: 8192,
  closeTimeoutMs: 5000,
}

/** What went wrong, in two words. */
export const failureOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    ({ _tag, code }: { readonly _tag?: string; readonly code?: string }) => `${_tag} ${code}`,
  )

/** The record that is appended to a stream at a place. */
export const remountText = (name: string, at: number): string => `${name} ${at} `.padEnd(1500, "x")

/** How many of the acknowledged records are there, in order from the first and with their bytes. */
export const readPrefix = async (
  manager: AofManager,
  acked: RemountReport["acked"],
): Promise<Readonly<Record<string, number>>> => {
  const counts: Record<string, number> = {}
  for (const [name, ids] of Object.entries(acked)) {
    let count = 0
    for await (const record of (await manager.stream(name)).read()) {
      if (record.recordId === ids[count] && record.text() === remountText(name, count)) count++
    }
    counts[name] = count
  }
  return counts
}
