/**
 * The end of a writer whose root somebody else has taken, or was moved away from under it: nothing more is appended or changed in the bucket, what
 * is there can be read.
 */
import { Fenced, type Unavailable } from "../../model/errors.ts"

/** Says whether the writer has lost its root. One for each manager. */
export class Fence {
  /** Defined once the root was lost, for good. */
  error: Fenced | Unavailable | undefined = undefined
  /** Called once. */
  onRaise: (error: Fenced | Unavailable) => void = () => {}

  /** Looks now whether the root is where it was opened; throws, and the root is lost, when it is not. */
  look: () => void = () => {}

  /** The root is lost. */
  raise(error: Fenced | Unavailable): void {
    if (this.error !== undefined) return
    this.error = error
    this.onRaise(error)
  }

  /** Throws once the root is lost. */
  check(): void {
    if (this.error !== undefined) throw this.error
  }
}

/** Another writer has the root. */
export const fencedBy = (
  other: { readonly epoch: number; readonly writtenMs: number },
  own: { readonly place: string; readonly epoch: number },
): Fenced => {
  const since = new Date(other.writtenMs).toISOString()
  const way =
    "open the root again with tier2.takeOver to take it back: what this root has and the other one has not is moved to its quarantine"
  return new Fenced({
    message: `another writer has the root in ${own.place} with epoch ${other.epoch} (its last sign ${since}), this one had epoch ${own.epoch}; ${way}`,
    what: `epoch of the root in ${own.place}`,
    value: own.epoch,
    limit: other.epoch,
  })
}

/** The root goes on in another bucket. */
export const fencedByMove = (place: string, epoch: number, movedTo: string | undefined): Fenced => {
  const to = movedTo ?? "another bucket"
  return new Fenced({
    message: `the root in ${place} has moved to ${to}: open it there; with tier2.takeOver a writer goes on here, with what the bucket had at the move`,
    what: `root in ${place}, left with epoch`,
    value: epoch,
    limit: to,
  })
}

/** What to do where the bucket holds another root: neither is put aside for the other. */
export const otherRootWay: string =
  "to go on with the root of the bucket move the local directory away and open an empty one; to keep this root give it another bucket, or a prefix of its own"

/** The bucket is not that of this root. */
export const fencedByRoot = (place: string, own: string, other: string): Fenced =>
  new Fenced({
    message: `the bucket ${place} belongs to root ${other}, not to ${own}: ${otherRootWay}`,
    what: `root id in ${place}`,
    value: own,
    limit: other,
  })

/** A root id as text. */
export const rootIdText = (rootId: Uint8Array): string =>
  [...rootId].map((byte) => byte.toString(16).padStart(2, "0")).join("")
