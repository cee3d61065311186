/**
 * The main thread's side of one worker: started by the first job, ended when it has been idle for a while.
 *
 * Invariants: a job ends, by interruption too, only when the worker does not touch its files any more; a worker that died fails
 * its job and is replaced for the next one. A worker keeps the process alive while somebody waits for its job, and no longer.
 */
import { rmSync } from "node:fs"
import { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers"
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import { corrupt, unavailable } from "../model/errors.ts"
import { systemError } from "../runtime/system_error.ts"
import { workerSource } from "../runtime/worker_source.ts"
import { type JobRequest, operationOf, sourceOf, targetOf } from "./job.ts"
import { canceled, type JobEffect } from "./lane.ts"
import { flag, makeFlags, type WorkerData, type WorkerMessage } from "./messages.ts"

/** What is used of a worker. */
export type JobWorker = Pick<Worker, "on" | "postMessage" | "ref" | "unref" | "terminate">

/** Starts a worker; may throw. `undefined` is a worker that cannot be started now, and perhaps later. */
export type StartWorker = (data: WorkerData) => JobWorker | undefined

/** Starts `job_worker.ts`. The literal in the call is what bundlers look for; the build makes `.js` of it. */
export const startJobWorker: StartWorker = (workerData) => {
  const file = new URL("./job_worker.ts", import.meta.url)
  const source = workerSource(file)
  if (source === undefined) return undefined
  if (source !== file) return new Worker(source, { workerData })
  return new Worker(new URL("./job_worker.ts", import.meta.url), { workerData })
}

/** A worker without a job ends after so long. */
const idleMs = 60_000
/** How often a worker is told whether others want the disk. */
const lookMs = 5

/** What ends the job that runs. */
type Outcome = WorkerMessage | { readonly type: "died" } | { readonly type: "refused" }

/** One worker at most, one job at a time. */
export class WorkerRunner {
  readonly #start: StartWorker
  /** In a process that may not start workers the first try says so, and later jobs need not ask again. */
  #isRefused = false
  #worker: JobWorker | undefined
  #flags: Int32Array<SharedArrayBuffer> = makeFlags()
  #settle: ((outcome: Outcome) => void) | undefined
  #idle: ReturnType<typeof setTimeout> | undefined

  /** Starts workers with `start`, when there are jobs. */
  constructor(start: StartWorker) {
    this.#start = start
  }

  /** Runs one job in the worker, or by `inline` where none can be started. Only when the job before has ended. */
  run(request: JobRequest, inline: JobEffect): JobEffect {
    if (this.#isRefused) return inline
    return Effect.callback((resume) => {
      let ended: (() => void) | undefined
      let look: ReturnType<typeof setInterval> | undefined
      const settle = (outcome: Outcome): void => {
        this.#settle = undefined
        clearInterval(look)
        this.#rest()
        if (outcome.type === "died") removeTarget(request)
        resume(outcome.type === "refused" ? inline : effectOf(request, outcome))
        ended?.()
      }
      this.#settle = settle
      look = setInterval(() => this.#tell(request), lookMs)
      look.unref()
      this.#post(request)
      return Effect.callback<void>((done) => {
        if (this.#settle !== settle) return done(Effect.void)
        ended = () => done(Effect.void)
        this.cancel()
      })
    })
  }

  /** Starts the worker ahead of its first job. */
  get warmUp(): Effect.Effect<void> {
    return Effect.sync(() => {
      if (this.#isRefused || this.#worker !== undefined) return
      try {
        this.#worker = this.#begin()
      } catch {
        this.#refuse()
        return
      }
      this.#rest()
    })
  }

  /** Makes the job that runs end soon, if there is one. */
  cancel(): void {
    Atomics.store(this.#flags, flag.canceled, 1)
    // It may rest behind a sync.
    Atomics.notify(this.#flags, flag.canceled)
  }

  /** Ends the worker, which has no job. A later job starts another. */
  get close(): Effect.Effect<void> {
    return Effect.promise(() => this.#end())
  }

  #post(request: JobRequest): void {
    clearTimeout(this.#idle)
    Atomics.store(this.#flags, flag.canceled, 0)
    try {
      this.#worker ??= this.#begin()
    } catch {
      this.#refuse()
      return
    }
    if (this.#worker === undefined) {
      this.#settle?.({ type: "refused" })
      return
    }
    this.#worker.ref()
    this.#tell(request)
    this.#worker.postMessage(messageOf(request))
  }

  /** Tells the worker whether others want the disk of its target. */
  #tell({ kind, job }: JobRequest): void {
    const isWanted = kind === "checksum" || job.isDiskWanted === undefined || job.isDiskWanted()
    Atomics.store(this.#flags, flag.isDiskWanted, isWanted ? 1 : 0)
  }

  #begin(): JobWorker | undefined {
    this.#flags = makeFlags()
    const worker = this.#start({ flags: this.#flags.buffer })
    if (worker === undefined) return undefined
    let isReady = false
    const die = (): void => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      void worker.terminate()
      if (isReady) this.#settle?.({ type: "died" })
      else this.#refuse()
    }
    worker.on("message", (message: WorkerMessage) => {
      if (message.type === "ready") isReady = true
      else if (this.#worker === worker) this.#settle?.(message)
    })
    worker.on("error", die)
    worker.on("messageerror", die)
    worker.on("exit", die)
    return worker
  }

  /** A worker that cannot be started is one that is not allowed, or whose file is not there. */
  #refuse(): void {
    this.#isRefused = true
    this.#settle?.({ type: "refused" })
  }

  #rest(): void {
    this.#worker?.unref()
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => void this.#end(), idleMs)
    this.#idle.unref()
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle)
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }
}

/** Functions do not cross threads. */
const messageOf = ({ kind, job }: JobRequest): JobRequest =>
  kind === "checksum" ? { kind, job } : ({ kind, job: { ...job, isDiskWanted: undefined } } as JobRequest)

const effectOf = (request: JobRequest, outcome: Exclude<Outcome, { readonly type: "refused" }>): JobEffect => {
  const operation = operationOf(request)
  switch (outcome.type) {
    case "done":
      return Effect.succeed(outcome.result)
    case "canceled":
      return Effect.fail(canceled(request))
    case "corrupt":
      return Effect.fail(corrupt(outcome.what, outcome.detail))
    case "unavailable":
      return Effect.fail(unavailable(outcome.what, outcome.code, outcome.value))
    case "failed": {
      const error = Object.assign(new Error(outcome.message), { name: outcome.name, code: outcome.code })
      if (outcome.message.startsWith("assertion failed")) return Effect.die(error)
      return Effect.fail(systemError(operation, sourceOf(request), error))
    }
    default:
      return Effect.fail(unavailable(`${operation} in a worker, which ended,`, "EPIPE", sourceOf(request)))
  }
}

/** A worker that died left what it had written. */
const removeTarget = (request: JobRequest): void => {
  const target = targetOf(request)
  if (target === undefined) return
  try {
    rmSync(target, { force: true })
  } catch {
    // Nobody uses it, and the next job replaces it.
  }
}
