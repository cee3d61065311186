// The workload of `npm run bench:s3` with small values: it counts what goes over the wire, and that is within its bounds.

import { describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { benchS3 } from "../../bench/s3.bench.ts"
import { accessKeyId, bucket, endpoint, hasServer, secretAccessKey, serverName } from "./settings.ts"

const KiB = 1024

describe.skipIf(!hasServer)(serverName, () => {
  test("a cold read takes two requests and 192 KiB at most, one with the index at hand, none with the frame", async () => {
    const root = mkdtempSync(join(tmpdir(), "bop-aof-bench-s3-"))
    const parameters = {
      root,
      endpoint,
      bucket,
      accessKeyId,
      secretAccessKey,
      segments: 2,
      rounds: 1,
      restoreSegments: 5,
    }
    const { costs, restore, ...scan } = await benchS3({ ...parameters, segmentBytes: 1024 * KiB })
    rmSync(root, { recursive: true })
    const costOf = (operation: string) => costs.find((one) => one.operation === operation)!
    const cold = costOf("get 256 bytes, cold")
    expect(cold.requests).toBe("GET 2")
    expect(cold.bytesUp + cold.bytesDown).toBeLessThanOrEqual(192 * KiB)
    expect(costOf("get 256 bytes, index cached").requests).toBe("GET 1")
    expect(costOf("get 256 bytes, frame cached").count).toBe(0)
    expect(costOf("append, nothing sealed").count).toBe(0)
    expect(costOf("trim a segment").requests).toContain("DELETE 1")
    expect(scan.objectBytes).toBeGreaterThan(2 * 900 * KiB)
    expect(scan.scanBytesPerSecond).toBeGreaterThan(0)
    expect(scan.plainBytesPerSecond).toBeGreaterThan(0)
    expect(restore.segments).toBe(5)
    expect(restore.firstRecordMs).toBeGreaterThan(0)
  }, 120_000)
})
