/** Whether a writer may go on with a HEAD that it finds. */
import type { Fenced } from "../../model/errors.ts"
import { fencedBy, fencedByMove, fencedByRoot, rootIdText } from "./head_fence.ts"
import type { OwnHeads } from "./head_owner.ts"
import type { FoundHead } from "./head_store.ts"

/** Who asks. */
export interface HeadAsker {
  readonly place: string
  readonly rootId: Uint8Array
  readonly own: OwnHeads
  /** Its epoch. */
  readonly epoch: number
  /** True when it goes on also where the root has moved to another bucket. */
  readonly mayBeMoved: boolean
}

/** Why it may not; undefined when the HEAD is its own. */
export const fenceOf = ({ head, movedTo }: FoundHead, asker: HeadAsker): Fenced | undefined => {
  const { place, rootId, own, epoch, mayBeMoved } = asker
  if (head.rootId.some((byte, at) => byte !== rootId[at]))
    return fencedByRoot(place, rootIdText(rootId), rootIdText(head.rootId))
  if (!own.has(head)) return fencedBy(head, { place, epoch })
  return head.isMoved === true && !mayBeMoved ? fencedByMove(place, head.epoch, movedTo) : undefined
}
