/** The memory that a manager may hold, and who of those that hold some may have how much of it. */
import { invalidArgument } from "./errors.ts"

/** Shares of one budget, in bytes. */
export interface MemoryConfig {
  /** All of it. */
  readonly bytesMax: number
  /** What is appended and not durable yet, of all streams. */
  readonly stagingBytes: number
  /** What is read out of Tier 1 and Tier 2. */
  readonly frameCacheBytes: number
  /** Seek tables of segments that are not in Tier 0. */
  readonly tableBytes: number
  /** Objects that are on their way at once. */
  readonly transfers: number
}

/** What the shares depend on; undefined is what nobody has set. */
export interface MemoryWishes {
  readonly memoryBytesMax: number | undefined
  readonly unflushedBytesMax: number
  readonly frameCacheBytes: number | undefined
  /** Objects on their way at once by the options of Tier 2; 0 without a Tier 2. */
  readonly transfers: number
}

const MiB = 1024 * 1024
const [bytesMin, bytesMost] = [32 * MiB, 1024 * 1024 * MiB]
/** Without a wish. */
const bytesByDefault = 512 * MiB
const frameCacheByDefault = 32 * MiB
const tableBytesMost = 8 * MiB
/** What one object on its way takes at most: the largest that is sent with one request, or the answers that are written while the next come. */
const transferBytes = 16 * MiB

/** Divides the budget. Throws `InvalidArgument` for one that is out of range, or too small for what else was asked for. */
export const makeMemoryConfig = (wishes: MemoryWishes): MemoryConfig => {
  const { memoryBytesMax, frameCacheBytes, unflushedBytesMax } = wishes
  // What somebody has asked for by name fits the budget that nobody has.
  const asked = Math.max(2 * (unflushedBytesMax + (frameCacheBytes ?? 0)), 4 * transferBytes * wishes.transfers)
  const bytesMax = memoryBytesMax ?? Math.max(bytesByDefault, asked)
  if (!Number.isSafeInteger(bytesMax) || bytesMax < bytesMin || bytesMax > bytesMost)
    throw invalidArgument("memoryBytesMax", bytesMax, `an integer from ${bytesMin} to ${bytesMost}`)
  if (frameCacheBytes !== undefined && frameCacheBytes > bytesMax / 2)
    throw invalidArgument("tier0.frameCacheBytes", frameCacheBytes, `at most half of memoryBytesMax, ${bytesMax / 2}`)
  const cache = frameCacheBytes ?? Math.min(frameCacheByDefault, Math.floor(bytesMax / 8))
  const tableBytes = Math.min(tableBytesMost, Math.floor(bytesMax / 32))
  const transfers = Math.min(wishes.transfers, Math.max(1, Math.floor(bytesMax / 4 / transferBytes)))
  const shared = cache + tableBytes + Math.min(transfers * transferBytes, Math.floor(bytesMax / 4))
  // For garbage that the collector has not seen yet, compiled code, and the heap of the worker.
  const stagingBytes = bytesMax - shared - Math.floor(bytesMax / 4)
  return { bytesMax, stagingBytes, frameCacheBytes: cache, tableBytes, transfers }
}
