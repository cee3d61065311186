/**
 * What this store is to reach beside the limit of the machine and beside the best peer of the same run. Ratios, as absolute figures move
 * with the machine; only W6 (seconds) and W7 (bytes on disk a payload byte) are absolute.
 */
import type { Workload } from "./contestant.ts"

export interface Goal {
  /** At least this part of the limit. */
  readonly ofLimit?: number
  /** At least so many times the best peer. */
  readonly ofPeer?: number
  /** At most this value. */
  readonly most?: number
}

type Goals = Readonly<Record<number, Goal>>

const goals: Readonly<Record<string, Goals>> = {
  W1: { 100: { ofLimit: 0.6, ofPeer: 4 }, 1024: { ofLimit: 0.75, ofPeer: 2 }, 16384: { ofLimit: 0.9, ofPeer: 1.05 } },
  W2: { 100: { ofLimit: 0.48, ofPeer: 2 }, 1024: { ofLimit: 0.69, ofPeer: 2.9 }, 16384: { ofLimit: 0.8, ofPeer: 1.3 } },
  W3: { 100: { ofLimit: 0.75 }, 1024: { ofLimit: 0.75 }, 16384: { ofLimit: 0.75 } },
  "W4 cursor": {
    100: { ofLimit: 0.29, ofPeer: 4.8 },
    1024: { ofLimit: 0.45, ofPeer: 2.9 },
    16384: { ofLimit: 0.89, ofPeer: 1.02 },
  },
  "W4 cursor node": {
    100: { ofLimit: 0.19, ofPeer: 3.2 },
    1024: { ofLimit: 0.45, ofPeer: 2.9 },
    16384: { ofLimit: 0.89, ofPeer: 1.02 },
  },
  "W4 views": {
    100: { ofLimit: 0.12, ofPeer: 2 },
    1024: { ofLimit: 0.36, ofPeer: 2.3 },
    16384: { ofLimit: 0.89, ofPeer: 1.02 },
  },
  W5: {
    100: { ofLimit: 0.34, ofPeer: 2 },
    1024: { ofLimit: 0.43, ofPeer: 1.4 },
    16384: { ofLimit: 0.97, ofPeer: 1.01 },
  },
  W6: { 1024: { most: 0.01 } },
  W7: { 100: { most: 1.09 }, 1024: { most: 1.01 }, 16384: { most: 1.003 } },
}

/** The goal for a workload, a size, a scan mode and a runtime, where there is one. */
export const goalOf = (workload: Workload, payloadBytes: number, mode: string, runtime: string): Goal | undefined => {
  const name = mode === "" ? workload : `${workload} ${mode}`
  return (goals[`${name} ${runtime}`] ?? goals[name])?.[payloadBytes]
}
