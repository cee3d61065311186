/**
 * The registration of a replica in the bucket: one small object, replaced each time that the replica renews it. It holds as long as it says
 * from when somebody saw it change, by that one's own clock: clocks of different machines are never compared.
 */
import { crc32 } from "./checksum.ts"
import { field, type Layout, layout } from "./field_table.ts"

/** "AOFR" */
export const replicaLeaseMagic = 0x52464f41

/** What a replica says of itself. */
export interface ReplicaLease {
  /** How long it holds after a change. */
  readonly leaseMs: number
  /** How often it was renewed: what is the same is not a change. */
  readonly renewals: number
  /** Sequence of the last record of the manifest that the replica has taken in. */
  readonly lastSequence: number
}

/** Shortest and longest lease in milliseconds. */
export const replicaLeaseMs: { readonly lowest: number; readonly highest: number } = {
  lowest: 3000,
  highest: 86_400_000,
}

/** A registration as it lies in the bucket. */
export interface ReplicaLeaseBytes extends ReplicaLease {
  /** `replicaLeaseMagic`. */
  readonly magic: number
  /** Version of this layout. */
  readonly version: number
  /** CRC-32 of the bytes before. */
  readonly checksum: number
}

/** The layout of a registration. */
export const replicaLeaseBytes: Layout<ReplicaLeaseBytes> = layout(
  "Replica registration",
  "all of an object `<root id>/replicas/<16 hex digits>`",
  [
    field("magic", "u32", "`AOFR`"),
    field("version", "u32", "now 1"),
    field("leaseMs", "u32", "how long it holds from when it was seen to change, 3 000 to 86 400 000 ms"),
    field("renewals", "u32", "rises with each renewal"),
    field("lastSequence", "safe", "last record of the manifest that the replica knows"),
    field("spare", "reserved", "zero", 4),
    field("checksum", "u32", "CRC-32 of the bytes before"),
  ],
)

/** Where the registrations of a root lie, behind the prefix of the store. */
export const replicaLeasePrefix = (rootId: string): string => `${rootId}/replicas/`

/** The bytes of a registration. */
export const encodeReplicaLease = (lease: ReplicaLease): Uint8Array => {
  const bytes = new Uint8Array(replicaLeaseBytes.sizeBytes)
  const value = { ...lease, magic: replicaLeaseMagic, version: 1 }
  replicaLeaseBytes.encode(bytes, 0, { ...value, checksum: 0 })
  const checksum = crc32(bytes.subarray(0, replicaLeaseBytes.at.checksum), 0)
  replicaLeaseBytes.encode(bytes, 0, { ...value, checksum })
  return bytes
}

/** Reads a registration; undefined when it is none. */
export const decodeReplicaLease = (bytes: Uint8Array): ReplicaLease | undefined => {
  if (bytes.length !== replicaLeaseBytes.sizeBytes) return undefined
  const value = replicaLeaseBytes.decode(bytes, 0)
  if (value?.magic !== replicaLeaseMagic || value.version !== 1) return undefined
  if (value.checksum !== crc32(bytes.subarray(0, replicaLeaseBytes.at.checksum), 0)) return undefined
  const { leaseMs, renewals, lastSequence } = value
  if (leaseMs < replicaLeaseMs.lowest || leaseMs > replicaLeaseMs.highest) return undefined
  return { leaseMs, renewals, lastSequence }
}
