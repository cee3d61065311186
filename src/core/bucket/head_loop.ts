/**
 * The loop that keeps HEAD up to date: it works when there is something due, not more often than it should, and after a failure later and later.
 * One work runs at a time.
 */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import { Alarm } from "../flow/alarm.ts"
import type { BucketOptions } from "./bucket_options.ts"

/** Shortest pause of the loop. */
const lookMsMin = 5
const retryDelayMsMin = 250
const retryDelayMsMax = 15_000
/** Share of the time between two HEADs that is enough while somebody waits. */
const urgentShare = 0.1
/** Pause while somebody waits for the end of the present work. */
const aloneMs = 1

/** What the loop works for. */
export interface HeadLoopWork {
  /** True while there is something to do. */
  readonly isDue: () => boolean
  /** When the last HEAD was put; undefined when the next work is not to wait for its turn. */
  readonly lastHeadMs: () => number | undefined
  /** True while somebody waits for the next HEAD. */
  readonly isUrgent: () => boolean
  /** True when there is nothing to do any more, for good. */
  readonly isOver: () => boolean
  /** Does what is due. */
  readonly work: () => Effect.Effect<void, AofError>
  /** A work has ended. */
  readonly onEnd: () => void
}

export class HeadLoop {
  /** Works that failed. */
  failed = 0
  readonly #options: Pick<BucketOptions, "nowMs" | "headIntervalMs" | "storeAwayUntilMs" | "emit">
  readonly #work: HeadLoopWork
  readonly #alarm = new Alarm()
  #isWorking = false
  #isEnding = false
  /** Failures in a row. */
  #failures = 0
  #lastError: AofError | undefined = undefined

  constructor(
    options: Pick<BucketOptions, "nowMs" | "headIntervalMs" | "storeAwayUntilMs" | "emit">,
    work: HeadLoopWork,
  ) {
    this.#options = options
    this.#work = work
  }

  get isWorking(): boolean {
    return this.#isWorking
  }

  /** True while nothing is known that stands in the way of what is due. */
  get isOpen(): boolean {
    return !this.#isEnding && this.#failures === 0 && this.#options.storeAwayUntilMs() <= 0
  }

  get hasFailed(): boolean {
    return this.#failures > 0
  }

  /** What stands in the way after more than `retriesMax` further tries. */
  trouble(retriesMax: number): AofError | undefined {
    return this.#failures > retriesMax ? this.#lastError : undefined
  }

  /** Something may be due. */
  ring(): void {
    this.#alarm.ring()
  }

  /** Looks at once, also where failures have made it wait. */
  wake(): void {
    this.#failures = 0
    this.#alarm.ring()
  }

  /** Ends the loop behind the present work. */
  end(): void {
    this.#isEnding = true
    this.#alarm.ring()
  }

  /** Runs `work` when nothing else works, for which it waits `waitMsMax` at most. */
  alone<E>(work: Effect.Effect<void, E>, waitMsMax: number): Effect.Effect<void, E> {
    return Effect.gen({ self: this }, function* () {
      const startMs = this.#options.nowMs()
      while (this.#isWorking && this.#options.nowMs() - startMs < waitMsMax) yield* Effect.sleep(aloneMs)
      if (!this.#isWorking) yield* this.#noted(work)
    })
  }

  /** For as long as there is something to do. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => {
    const { nowMs, headIntervalMs, storeAwayUntilMs } = this.#options
    let lastMs = Number.NEGATIVE_INFINITY
    return Effect.gen({ self: this }, function* () {
      while (!this.#isEnding && !this.#work.isOver()) {
        if (!this.#work.isDue()) {
          yield* this.#alarm.sleep(undefined)
          continue
        }
        const dueMs = Math.max(this.#nextMs(lastMs), storeAwayUntilMs())
        if (dueMs > nowMs()) {
          // Somebody may come meanwhile who waits for it.
          yield* this.#alarm.sleep(Math.min(dueMs - nowMs(), Math.max(lookMsMin, headIntervalMs * urgentShare)))
          continue
        }
        // What came in this turn goes along.
        yield* Effect.yieldNow
        if (this.#isWorking || !this.#work.isDue()) continue
        const done = yield* Effect.result(this.#noted(this.#work.work()))
        lastMs = nowMs()
        if (done._tag === "Success") this.#failures = 0
        else this.#fail(done.failure)
        this.#work.onEnd()
      }
    })
  })

  /** When the next try is due; `lastMs` is when the last one ended. */
  #nextMs(lastMs: number): number {
    const { headIntervalMs } = this.#options
    if (this.#failures > 0) return lastMs + Math.min(retryDelayMsMax, retryDelayMsMin * 2 ** (this.#failures - 1))
    const lastHeadMs = this.#work.lastHeadMs()
    return lastHeadMs === undefined ? 0 : lastHeadMs + headIntervalMs * (this.#work.isUrgent() ? urgentShare : 1)
  }

  #noted<E>(work: Effect.Effect<void, E>): Effect.Effect<void, E> {
    return Effect.suspend(() => {
      this.#isWorking = true
      const end = Effect.sync(() => {
        this.#isWorking = false
      })
      return Effect.ensuring(work, end)
    })
  }

  #fail(error: AofError): void {
    this.#failures++
    this.#lastError = error
    this.failed++
    if (error._tag === "Closed" || error._tag === "Fenced") return
    this.#options.emit({ name: "head_failed", level: "warn", reason: error.message, attempt: this.#failures })
  }
}
