/** What is said of a payload or batch that is too large: besides the limit, the option that sets it. */
import { type InvalidArgument, invalidArgument } from "../../model/errors.ts"
import { admissionBytesMax, type StreamState } from "../stream/stream_state.ts"
import { framesBytesMax } from "./segment_limits.ts"

/** Makes the error for a payload above `stream.payloadBytesMax`. */
export const payloadTooLarge = (stream: StreamState, payloadBytes: number): InvalidArgument => {
  const limit = stream.payloadBytesMax
  const { recordBytesMax } = stream.services.config
  const why = limit === recordBytesMax ? "as recordBytesMax says" : whatLimits(stream, limit)
  return invalidArgument("payload bytes", payloadBytes, limit, `${limit}, ${why}`)
}

/** The most that one batch may need in its segment. */
export const batchBytesLimit = (stream: StreamState): number =>
  Math.min(framesBytesMax(stream.segmentBytes), admissionBytesMax(stream.services.config, stream))

/** Makes the error for a batch above `batchBytesLimit`. */
export const batchTooLarge = (stream: StreamState, neededBytes: number): InvalidArgument => {
  const limit = batchBytesLimit(stream)
  return invalidArgument("batch bytes in one segment", neededBytes, limit, `${limit}, ${whatLimits(stream, limit)}`)
}

/** Whether `limit` is what Tier 0 or what a segment takes. */
const whatLimits = (stream: StreamState, limit: number): string => {
  const { segmentBytes, tier0BytesMax } = stream
  const { bytesMax } = stream.services.config.tier0
  if (limit === admissionBytesMax(stream.services.config, stream)) {
    const isOwn = tier0BytesMax !== undefined && tier0BytesMax < bytesMax
    return isOwn ? `half of tier0BytesMax, ${tier0BytesMax}` : `half of tier0.bytesMax, ${bytesMax}`
  }
  const byDefault = segmentBytes === Math.floor(bytesMax / 4) ? " (by default a quarter of tier0.bytesMax)" : ""
  return `what fits a segment of segmentBytes, ${segmentBytes}${byDefault}`
}
