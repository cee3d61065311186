/**
 * The async iterator of `read` and `follow`: one record a step, at the pace of the consumer. What is at hand is answered with a settled
 * promise; only at the watermark does it wait. Leaving the loop closes the source and ends a step that waits.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { RecordSource } from "../core/read/read.ts"
import { recordCostBytes, turnBytes, wokenBytes } from "../core/read/reading_turns.ts"
import type { AofRecord } from "../core/read/record.ts"
import type { AofError } from "../model/errors.ts"
import { runPromise } from "./promise.ts"

type Step<T> = IteratorResult<AofRecord<T>, undefined>

export class RecordIterator<T> implements AsyncIterableIterator<AofRecord<T>> {
  #source: RecordSource<T> | undefined = undefined
  #isDone = false
  #opening: Promise<void> | undefined
  readonly #signal: AbortSignal | undefined
  /** What may be handed out before others have a turn. */
  #left = turnBytes
  /** Steps that wait at the watermark; more than one only when the caller asks ahead. */
  readonly #waiting: Set<Fiber.Fiber<void, AofError>> = new Set()

  /** `open` opens the source; what it fails with, the first step rejects with. */
  constructor(open: Effect.Effect<RecordSource<T>, AofError>, signal: AbortSignal | undefined) {
    this.#signal = signal
    this.#opening = runPromise(
      Effect.map(open, (source) => {
        this.#source = source
        if (this.#isDone) source.close()
      }),
      signal,
    )
    // The first step reports it.
    this.#opening.catch(() => {})
  }

  next(): Promise<Step<T>> {
    if (this.#isDone) return Promise.resolve({ done: true, value: undefined })
    if (this.#signal?.aborted) return this.#end(Promise.reject(this.#signal.reason))
    const source = this.#source
    if (source === undefined) return this.#openAndStep()
    try {
      const record = source.pull()
      if (record !== undefined) {
        const step: Step<T> = { done: false, value: record }
        // A loop over what is at hand would let nobody else run.
        this.#left -= recordCostBytes + record.bytes.length
        return this.#left > 0 ? Promise.resolve(step) : this.#inOwnTurn(source, step)
      }
      if (source.isDone()) return this.return()
    } catch (error) {
      return this.#end(Promise.reject(error))
    }
    return this.#wait(source)
  }

  return(): Promise<Step<T>> {
    return this.#end(Promise.resolve({ done: true, value: undefined }))
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #openAndStep(): Promise<Step<T>> {
    try {
      await this.#opening
    } catch (error) {
      return this.#isDone ? { done: true, value: undefined } : this.#end(Promise.reject(error))
    }
    this.#opening = undefined
    return this.next()
  }

  async #wait(source: RecordSource<T>): Promise<Step<T>> {
    const fiber = Effect.runFork(source.ready)
    this.#waiting.add(fiber)
    try {
      await runPromise(Fiber.join(fiber), this.#signal)
    } catch (error) {
      // Leaving interrupts the wait: that is an end and no failure.
      return this.#isDone ? { done: true, value: undefined } : this.#end(Promise.reject(error))
    } finally {
      this.#waiting.delete(fiber)
    }
    this.#left = wokenBytes
    return this.next()
  }

  #inOwnTurn(source: RecordSource<T>, step: Step<T>): Promise<Step<T>> {
    return new Promise((resolve) =>
      source.inOwnTurn((bytes) => {
        this.#left = bytes
        resolve(step)
      }),
    )
  }

  #end<A>(result: Promise<A>): Promise<A> {
    this.#isDone = true
    this.#source?.close()
    for (const fiber of this.#waiting) fiber.interruptUnsafe()
    return result
  }
}
