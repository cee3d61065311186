/** From what the manifest knows of a stream, and the options of whoever asks for it, to the running state. */
import * as Effect from "effect/Effect"
import { checkBound, checkRetention, type Retention } from "../../model/config.ts"
import { checkNames } from "../../model/config_check.ts"
import { type AofError, invalidArgument } from "../../model/errors.ts"
import { checkTier0Bytes } from "../../model/tier_config.ts"
import type { ManifestStream } from "../../state/manifest_state.ts"
import { fenceStream } from "../bucket/head_fence_stream.ts"
import { segmentsPath } from "../files/paths.ts"
import { openView } from "../read/read_only.ts"
import { recoverStream } from "../recovery/recovery.ts"
import type { RecoveryReport } from "../recovery/recovery_report.ts"
import { StreamOwner } from "../tiers/stream_tiers.ts"
import { makeStreamState, type StreamServices, type StreamState, setSizes } from "./stream_state.ts"
import { applyRetention, watchAge } from "./trim.ts"

/** Options of a stream that the core looks at. */
export interface StreamOptions {
  /** Makes the stream when it is not there; default true. */
  readonly create?: boolean | undefined
  /** `false` is none; the manager's when it is left out. */
  readonly retention?: Retention | false | undefined
  readonly segmentBytes?: number | undefined
  /** A budget of its own in Tier 0, in bytes. */
  readonly tier0BytesMax?: number | undefined
}

const streamOptionNames = ["create", "retention", "segmentBytes", "tier0BytesMax", "codec"]

/** Makes the state of a stream and recovers it; what was out of order is added to `report`. */
export const openKnownStream: (
  services: StreamServices,
  known: ManifestStream,
  options: StreamOptions,
  report: RecoveryReport,
) => Effect.Effect<StreamState, AofError> = Effect.fnUntraced(function* (services, known, options, report) {
  const stream = makeStream(services, known, options)
  yield* services.config.readOnly ? openView(stream, report) : recoverStream(stream, known, report)
  const { error } = services.fence
  if (error !== undefined) fenceStream(stream, error)
  return stream
})

/** Makes the state of a stream that was made just now and of which nothing is on disk. */
export const openNewStream = (services: StreamServices, known: ManifestStream, options: StreamOptions): StreamState => {
  const stream = makeStream(services, known, options)
  stream.folder = "missing"
  const { error } = services.fence
  if (error !== undefined) fenceStream(stream, error)
  return stream
}

const makeStream = (services: StreamServices, known: ManifestStream, options: StreamOptions): StreamState => {
  const { config } = services
  const owner = new StreamOwner(known)
  const stream: StreamState = makeStreamState({
    name: known.name,
    streamId: known.streamId,
    path: segmentsPath(config.root, known.name),
    services,
    segmentBytes: options.segmentBytes ?? config.segmentBytes,
    retention: options.retention === undefined ? config.retention : checkRetention(options.retention),
    tier0BytesMax: options.tier0BytesMax,
    owner,
  })
  owner.attach(stream)
  services.tiers.addStream(owner)
  if (!config.readOnly) {
    stream.onSealed = retainSoon
    if (stream.retention.ageMs !== undefined) services.run(watchAge(stream))
  }
  return stream
}

const retainSoon = (stream: StreamState): void => stream.services.run(Effect.ignore(applyRetention(stream)))

/** Throws `InvalidArgument` for an option that is not known or out of range. */
export const checkStreamOptions = (options: StreamOptions): void => {
  checkNames("stream option", options, streamOptionNames)
  checkBound("segmentBytes", options.segmentBytes)
  checkTier0Bytes(options.tier0BytesMax)
  checkRetention(options.retention)
  if (options.create !== undefined && typeof options.create !== "boolean") {
    throw invalidArgument("create", options.create, "true or false")
  }
}

/** Options given for a stream that is open already: the retention changes, the rest holds from the first open. */
export const applyOptions = (stream: StreamState, options: StreamOptions): StreamState => {
  if (options.retention !== undefined) {
    const isWatched = stream.retention.ageMs !== undefined
    stream.retention = checkRetention(options.retention)
    if (!stream.services.config.readOnly) {
      stream.services.run(
        Effect.andThen(Effect.ignore(applyRetention(stream)), isWatched ? Effect.void : watchAge(stream)),
      )
    }
  }
  setSizes(stream, options)
  return stream
}
