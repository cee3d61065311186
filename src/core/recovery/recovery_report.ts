/** What opening a root found out of order, in words and numbers. */
import type { AofError } from "../../model/errors.ts"

/** A stretch of a stream that was cut, put aside or found damaged. */
export interface StreamDamage {
  /** Id position at which the stretch starts. */
  readonly from: number
  /** Id position behind the stretch. */
  readonly to: number
  /** Bytes of the stretch. */
  readonly bytes: number
  /** What is wrong with it, in words. */
  readonly reason: string
}

/** A stretch with the stream it belongs to. */
export interface RecoveryEntry extends StreamDamage {
  /** Name of the stream. */
  readonly stream: string
}

/** `manager.recovery`: frozen once the root is open. */
export interface Recovery {
  /** True when the root was closed in order; false for one that is only read while its writer has it open. */
  readonly isClean: boolean
  /** Bytes that were cut or put aside: never acknowledged as durable. */
  readonly trimmedBytes: number
  /** What was cut or put aside, and why. */
  readonly trimmed: ReadonlyArray<RecoveryEntry>
  /** Durable data that does not check or is missing: reading it is `Corrupt` or `NotFound`. */
  readonly quarantined: ReadonlyArray<RecoveryEntry>
  /** What did not check or was forgotten, and was made good from what is left: nothing of it is missing. */
  readonly restored: ReadonlyArray<RecoveryEntry>
  /** What another machine had and its bucket never got, when the root was made from the bucket: it is not here. */
  readonly lost: ReadonlyArray<RecoveryEntry>
  /** Damage of the manifest, in words. */
  readonly manifestDamage: ReadonlyArray<string>
  /** How long opening took, from the lock to the last stream. */
  readonly durationMs: number
}

export class RecoveryReport {
  isClean = true
  readonly trimmed: Array<RecoveryEntry> = []
  readonly quarantined: Array<RecoveryEntry> = []
  readonly restored: Array<RecoveryEntry> = []
  readonly lost: Array<RecoveryEntry> = []
  /** True while the root is made from its bucket: what is missing was never there. */
  isFromBucket = false
  /** True when a stream was found that the manifest should know and does not: a part of it is missing, without a trace. */
  isManifestShort = false
  /** True when something of the commit journal found no place in the segments: its files have to be kept. */
  isJournalNeeded = false
  /** Set when Tier 2 could not be asked for what the manifest has lost. */
  tier2Failure: AofError | undefined = undefined

  /** Damage of durable data. */
  add(stream: string, damage: StreamDamage): void {
    this.isClean = false
    if (this.isFromBucket) this.lost.push({ stream, ...damage })
    else this.quarantined.push({ stream, ...damage })
  }

  /** What was made good. */
  restore(stream: string, what: StreamDamage): void {
    this.isClean = false
    this.restored.push({ stream, ...what })
  }

  /** Data that was never acknowledged as durable and is not kept. */
  cut(stream: string, damage: StreamDamage): void {
    if (this.isFromBucket) {
      this.isClean = false
      this.lost.push({ stream, ...damage })
    } else this.trimmed.push({ stream, ...damage })
  }

  /** What was cut, put aside or found damaged, each as text by which it is known again. */
  get places(): ReadonlySet<string> {
    return new Set([...this.trimmed, ...this.quarantined].map(({ from, to, reason }) => `${from} ${to} ${reason}`))
  }

  /** Adds what another report has found. */
  include(other: RecoveryReport): void {
    if (!other.isClean) this.isClean = false
    this.trimmed.push(...other.trimmed)
    this.quarantined.push(...other.quarantined)
    this.restored.push(...other.restored)
    this.lost.push(...other.lost)
  }

  finish(durationMs: number, manifestDamage: ReadonlyArray<string>): Recovery {
    const trimmedBytes = this.trimmed.reduce((sum, one) => sum + one.bytes, 0)
    const isClean = this.isClean && manifestDamage.length === 0
    const { trimmed, quarantined, restored, lost } = this
    return { isClean, trimmedBytes, trimmed, quarantined, restored, lost, manifestDamage, durationMs }
  }
}
