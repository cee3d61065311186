/**
 * The async iterator of `read` and `follow`: one record a step, at the pace of the consumer. What is at hand is answered with a settled
 * promise; only at the watermark does it wait. Leaving the loop closes the source.
 */

import * as Effect from "effect/Effect"
import type { RecordSource } from "../core/read.ts"
import type { AofRecord } from "../core/record.ts"
import type { AofError } from "../model/errors.ts"
import { runPromise } from "./promise.ts"

export class RecordIterator<T> implements AsyncIterableIterator<AofRecord<T>> {
  #source: RecordSource<T> | undefined = undefined
  #isDone = false
  #opening: Promise<void> | undefined
  readonly #signal: AbortSignal | undefined

  /** `open` opens the source; what it fails with, the first step rejects with. */
  constructor(open: Effect.Effect<RecordSource<T>, AofError>, signal: AbortSignal | undefined) {
    this.#signal = signal
    this.#opening = runPromise(
      Effect.map(open, (source) => {
        this.#source = source
      }),
      signal,
    )
    // The first step reports it.
    this.#opening.catch(() => {})
  }

  next(): Promise<IteratorResult<AofRecord<T>, undefined>> {
    if (this.#signal?.aborted) return this.#end(Promise.reject(this.#signal.reason))
    if (this.#isDone) return Promise.resolve({ done: true, value: undefined })
    const source = this.#source
    if (source === undefined) return this.#openAndStep()
    try {
      const record = source.pull()
      if (record !== undefined) return Promise.resolve({ done: false, value: record })
      if (source.isDone()) return this.return()
    } catch (error) {
      return this.#end(Promise.reject(error))
    }
    return runPromise(source.ready, this.#signal).then(
      () => this.next(),
      (error) => this.#end(Promise.reject(error)),
    )
  }

  return(): Promise<IteratorResult<AofRecord<T>, undefined>> {
    return this.#end(Promise.resolve({ done: true, value: undefined }))
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #openAndStep(): Promise<IteratorResult<AofRecord<T>, undefined>> {
    try {
      await this.#opening
    } catch (error) {
      return this.#end(Promise.reject(error))
    }
    this.#opening = undefined
    return this.next()
  }

  #end<A>(result: Promise<A>): Promise<A> {
    this.#isDone = true
    this.#source?.close()
    return result
  }
}
