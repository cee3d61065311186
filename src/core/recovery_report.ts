/** What opening a root found out of order, in words and numbers. */

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
  /** True when the root was closed in order. */
  readonly isClean: boolean
  /** Bytes that were cut or put aside: never acknowledged as durable. */
  readonly trimmedBytes: number
  /** What was cut or put aside, and why. */
  readonly trimmed: ReadonlyArray<RecoveryEntry>
  /** Durable data that does not check or is missing: reading it is `Corrupt` or `NotFound`. */
  readonly quarantined: ReadonlyArray<RecoveryEntry>
  /** Damage of the manifest, in words. */
  readonly manifestDamage: ReadonlyArray<string>
  /** How long opening took, from the lock to the last stream. */
  readonly durationMs: number
}

export class RecoveryReport {
  isClean = true
  readonly trimmed: Array<RecoveryEntry> = []
  readonly quarantined: Array<RecoveryEntry> = []

  /** Damage of durable data. */
  add(stream: string, damage: StreamDamage): void {
    this.isClean = false
    this.quarantined.push({ stream, ...damage })
  }

  /** Data that was never acknowledged as durable and is not kept. */
  cut(stream: string, damage: StreamDamage): void {
    this.trimmed.push({ stream, ...damage })
  }

  finish(durationMs: number, manifestDamage: ReadonlyArray<string>): Recovery {
    const trimmedBytes = this.trimmed.reduce((sum, one) => sum + one.bytes, 0)
    const isClean = this.isClean && manifestDamage.length === 0
    return { isClean, trimmedBytes, trimmed: this.trimmed, quarantined: this.quarantined, manifestDamage, durationMs }
  }
}
