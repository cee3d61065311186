/**
 * Jobs on the main thread, one zstd frame a turn of the event loop: for disks that are no files, and where no worker can be
 * started. All that is read and written goes through the ports.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { backgroundSyncBytes } from "../model/background_sync.ts"
import { type Corrupt, isAofError, type Unavailable, unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import type { EventLoop } from "../port/event_loop.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import type { FrameCodec } from "./checked_codec.ts"
import { type JobRequest, type JobResult, sourceOf, targetOf } from "./job.ts"
import { canceled, type JobEffect } from "./lane.ts"
import { type JobFiles, startJob } from "./run_job.ts"

/** What jobs on the main thread need. */
export interface InlineServices {
  readonly directory: Directory
  readonly eventLoop: EventLoop
  /** Gives the codec; it is asked for each job. */
  readonly loadCodec: () => Promise<FrameCodec>
  /** Taken instead, without waiting, where it is given. */
  readonly codec?: FrameCodec | undefined
}

/** Runs one job; `isCanceled` is asked in each turn. */
export const runInline: (services: InlineServices, request: JobRequest, isCanceled: () => boolean) => JobEffect =
  Effect.fnUntraced(function* (services, request, isCanceled) {
    const load = Effect.tryPromise({
      try: () => services.loadCodec(),
      catch: (error) => unavailable("loading zstd", "ENOTSUP", String(error)),
    })
    const codec = services.codec ?? (yield* load)
    return yield* Effect.acquireUseRelease(
      openFiles(services.directory, request),
      (files) => runSteps(services, { request, files, codec, isCanceled }),
      (files, exit) => closeFiles(services.directory, files, Exit.isSuccess(exit)),
    )
  })

const runSteps = Effect.fnUntraced(function* (
  { eventLoop }: InlineServices,
  started: {
    readonly request: JobRequest
    readonly files: JobFiles<SegmentFile>
    readonly codec: FrameCodec
    readonly isCanceled: () => boolean
  },
): Effect.fn.Return<JobResult, Unavailable | Corrupt> {
  const { request, files, codec, isCanceled } = started
  const means = { codec, syncBytes: () => backgroundSyncBytes }
  const steps = yield* attempt(() => startJob(request, files, means))
  for (;;) {
    const step = yield* attempt(() => steps.next())
    if (step.done) return step.value
    if (step.value === "rest") continue
    if (step.value === "sync" && files.target !== undefined) yield* files.target.syncData
    yield* Effect.callback<void>((resume) => eventLoop.nextTurn(() => resume(Effect.void)))
    if (isCanceled()) return yield* Effect.fail(canceled(request))
  }
})

/** The source is opened first: a job that cannot begin leaves alone what is at its target. */
const openFiles = Effect.fnUntraced(function* (
  directory: Directory,
  request: JobRequest,
): Effect.fn.Return<JobFiles<SegmentFile>, Unavailable | Corrupt> {
  const source = yield* attempt(() => directory.openUnsafe(sourceOf(request), "read"))
  const path = targetOf(request)
  if (path === undefined) return { source, target: undefined }
  const opened = Effect.andThen(
    directory.remove(path),
    attempt(() => directory.openUnsafe(path, "create")),
  )
  const target = yield* Effect.onError(opened, () => Effect.sync(() => source.closeUnsafe()))
  return { source, target }
})

const closeFiles = (directory: Directory, files: JobFiles<SegmentFile>, isDone: boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    files.source.closeUnsafe()
    files.target?.closeUnsafe()
    // What cannot be removed either is found by recovery, as after a crash.
    return isDone || files.target === undefined ? Effect.void : Effect.ignore(directory.remove(files.target.path))
  })

const attempt = <A>(run: () => A): Effect.Effect<A, Unavailable | Corrupt> =>
  Effect.try({
    try: run,
    catch: (error) => {
      if (isAofError(error)) return error as Unavailable | Corrupt
      throw error
    },
  })
