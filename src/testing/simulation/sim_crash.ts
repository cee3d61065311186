/** What a power cut keeps of that which no sync has covered. */
import type { CrashCandidate } from "../memory_disk.ts"
import type { SimKeep } from "./sim_plan.ts"
import type { SimRandom } from "./sim_random.ts"

/** The choice for one cut; of `count` candidates each is asked for once, in their order. */
export const crashChoice = (
  keep: SimKeep,
  random: SimRandom,
  count: number,
): ((candidate: CrashCandidate) => boolean) => {
  const isBytes = ({ kind }: CrashCandidate): boolean => kind === "write" || kind === "truncate"
  const one = random.below(Math.max(1, count))
  let at = 0
  switch (keep) {
    case "nothing":
      return () => false
    case "all":
      return () => true
    case "entries":
      return (candidate) => !isBytes(candidate)
    case "bytes":
      return isBytes
    case "half":
      return () => random.chance(0.5)
    case "most":
      return () => random.chance(0.9)
    case "oneLost":
      return () => at++ !== one
    case "oneKept":
      return () => at++ === one
  }
}
