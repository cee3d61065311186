// When a failed request is tried again, and the options that say so.

import { describe, expect, test } from "bun:test"
import { InvalidArgument } from "../../src/model/errors.ts"
import { makeTier2Config } from "../../src/model/tier2_config.ts"
import { nextDelayMs, retryDelayMs } from "../../src/state/retry_policy.ts"

const policy = { maxAttempts: 5, baseDelayMs: 100, jitter: 0 }

describe("the pause between two tries", () => {
  test("doubles up to ten seconds", () => {
    const delays = [1, 2, 3, 7, 8, 9, 50, 2000].map((attempt) => retryDelayMs(policy, attempt, 0))
    expect(delays).toEqual([100, 200, 400, 6400, 10_000, 10_000, 10_000, 10_000])
  })

  test("loses up to its share of jitter, and no more", () => {
    const half = { ...policy, jitter: 0.5 }
    expect(retryDelayMs(half, 2, 0)).toBe(200)
    expect(retryDelayMs(half, 2, 2 ** 31)).toBe(150)
    expect(retryDelayMs(half, 2, 2 ** 32 - 1)).toBe(100)
    expect(retryDelayMs({ ...policy, jitter: 1 }, 2, 2 ** 32 - 1)).toBe(0)
    expect(retryDelayMs(half, 2, -1)).toBe(100)
  })

  test("is not there behind the last try, nor when trying again does not help", () => {
    expect(nextDelayMs(policy, { attempt: 4, retryable: true, random32: 0 })).toBe(800)
    expect(nextDelayMs(policy, { attempt: 5, retryable: true, random32: 0 })).toBe(undefined)
    expect(nextDelayMs(policy, { attempt: 1, retryable: false, random32: 0 })).toBe(undefined)
  })
})

describe("the options of tier 2", () => {
  test("have defaults", () => {
    const retry = { maxAttempts: 5, baseDelayMs: 100, jitter: 0.5 }
    const breaker = { failuresMax: 10, openMs: 1000, openMsMax: 15_000 }
    const rest = { breaker, bytesPerSecondMax: undefined, scanBytesPerSecondMax: 64 * 1024 * 1024 }
    expect(makeTier2Config()).toEqual({ retry, concurrency: 4, requestTimeoutMs: 30_000, ...rest })
    expect(makeTier2Config({ retry: { jitter: 0 }, concurrency: 64 })).toEqual({
      retry: { ...retry, jitter: 0 },
      concurrency: 64,
      requestTimeoutMs: 30_000,
      ...rest,
    })
  })

  test.each([
    [{ concurrency: 0 }, "tier2.concurrency"],
    [{ concurrency: 65 }, "tier2.concurrency"],
    [{ concurrency: 1.5 }, "tier2.concurrency"],
    [{ requestTimeoutMs: 0 }, "tier2.requestTimeoutMs"],
    [{ scanBytesPerSecondMax: 1000 }, "tier2.scanBytesPerSecondMax"],
    [{ requestTimeoutMs: Number.POSITIVE_INFINITY }, "tier2.requestTimeoutMs"],
    [{ retry: { maxAttempts: 0 } }, "tier2.retry.maxAttempts"],
    [{ retry: { maxAttempts: 101 } }, "tier2.retry.maxAttempts"],
    [{ retry: { baseDelayMs: 10_001 } }, "tier2.retry.baseDelayMs"],
    [{ retry: { jitter: 1.1 } }, "tier2.retry.jitter"],
    [{ retry: { jitter: Number.NaN } }, "tier2.retry.jitter"],
    [{ retry: { attempts: 1 } }, "tier2.retry option"],
    [{ retries: 1 }, "tier2 option"],
    [[], "tier2 options"],
  ])("refuse %p", (options: unknown, what: string) => {
    let error: unknown
    try {
      makeTier2Config(options as never)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(InvalidArgument)
    expect((error as InvalidArgument).what).toBe(what)
  })
})
