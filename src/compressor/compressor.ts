/**
 * The `Compressor` of a process: two lanes, one for compressions, which take long, and one for what somebody waits for and is short
 * against them, each with a worker where there are files and workers, else on the main thread through the ports.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Compressor } from "../port/compressor.ts"
import { Directory } from "../port/directory.ts"
import { EventLoop } from "../port/event_loop.ts"
import type { RuntimeServices } from "../runtime/layer.ts"
import { decodeFrameUnsafe, decodeRunUnsafe, loadCodec, zlibCodec } from "./frame_codec.ts"
import { type InlineServices, runInline } from "./inline_runner.ts"
import type { JobRequest, JobResult } from "./job.ts"
import { type JobEffect, Lane } from "./lane.ts"
import { type StartWorker, startJobWorker, WorkerRunner } from "./worker_runner.ts"

/** Adds the compressor with workers to the services of a runtime; the end of the layer's scope ends the workers. */
export const withCompressor = (services: Layer.Layer<RuntimeServices>): Layer.Layer<RuntimeServices | Compressor> =>
  Layer.provideMerge(layer, services)

/** The compressor with workers, which read and write the files of the runtime by themselves. */
export const layer: Layer.Layer<Compressor, never, Directory | EventLoop> = Layer.effect(
  Compressor,
  Effect.gen(function* () {
    // Point reads cannot wait for WebAssembly. Where it cannot be had they fail, and nothing else does.
    if (zlibCodec() === undefined) yield* Effect.ignore(Effect.tryPromise(loadCodec))
    const services: InlineServices = { directory: yield* Directory, eventLoop: yield* EventLoop, loadCodec }
    return yield* Effect.acquireRelease(
      Effect.sync(() => makeWorkerCompressor(services, startJobWorker)),
      (compressor) => compressor.close,
    )
  }),
)

/** Makes a compressor whose jobs run in workers, where `start` can start them. */
export const makeWorkerCompressor = (services: InlineServices, start: StartWorker): Compressor => {
  const makeLane = (): RunningLane => {
    const lane = new Lane()
    const runner = new WorkerRunner(start)
    lane.onCancel = () => runner.cancel()
    return {
      run: (request) =>
        lane.run(request, (isCanceled) => runner.run(request, runInline(services, request, isCanceled))),
      warmUp: runner.warmUp,
      close: lane.cancelAll(runner.close),
    }
  }
  return makeCompressor(makeLane(), makeLane())
}

/** Makes a compressor whose jobs run on the main thread, one zstd frame a turn, through the ports. */
export const makeInlineCompressor = (services: InlineServices): Compressor => {
  const makeLane = (): RunningLane => {
    const lane = new Lane()
    return {
      run: (request) => lane.run(request, (isCanceled) => runInline(services, request, isCanceled)),
      warmUp: Effect.void,
      close: lane.cancelAll(Effect.void),
    }
  }
  return makeCompressor(makeLane(), makeLane())
}

/** Adds the compressor on the main thread to services that are no files of a runtime. */
export const addInlineCompressor = <Services>(
  services: Context.Context<Services | Directory | EventLoop>,
): Context.Context<Services | Directory | EventLoop | Compressor> =>
  Context.add(
    services,
    Compressor,
    makeInlineCompressor({
      directory: Context.get(services as Context.Context<Directory>, Directory),
      eventLoop: Context.get(services as Context.Context<EventLoop>, EventLoop),
      loadCodec,
    }),
  )

interface RunningLane {
  readonly run: (request: JobRequest) => JobEffect
  readonly warmUp: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

/** The kind of a request decides what its job comes to. */
const makeCompressor = (room: RunningLane, short: RunningLane): Compressor => ({
  compress: (job) => resultAs(room.run({ kind: "compress", job })),
  decompress: (job) => Effect.asVoid(short.run({ kind: "decompress", job })),
  checksum: (job) => resultAs(short.run({ kind: "checksum", job })),
  decodeFrameUnsafe,
  decodeRunUnsafe,
  warmUp: Effect.andThen(room.warmUp, short.warmUp),
  close: Effect.andThen(room.close, short.close),
})

const resultAs = <A extends JobResult>(
  job: JobEffect,
): Effect.Effect<A, JobEffect extends Effect.Effect<JobResult, infer E> ? E : never> =>
  job as Effect.Effect<A, JobEffect extends Effect.Effect<JobResult, infer E> ? E : never>
