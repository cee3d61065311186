// The shim behaves as `bun:test` does: this file runs on all three runtimes.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test"

const events: string[] = []

describe("hooks", () => {
  beforeAll(() => void events.push("all"))
  beforeEach(() => void events.push("outer"))
  afterEach(() => void events.push("after outer"))
  describe("inner", () => {
    beforeEach(async () => void events.push("inner"))
    afterEach(() => void events.push("after inner"))
    afterAll(() => void events.push("after all"))
    test("run from outside in", () => {
      expect(events).toEqual(["all", "outer", "inner"])
    })
    test("run from inside out after a test", () => {
      expect(events.slice(3)).toEqual(["after inner", "after outer", "outer", "inner"])
    })
  })
  test("close an inner suite after its last test", () => {
    expect(events.slice(7)).toEqual(["after inner", "after outer", "after all", "outer"])
  })
})

test.each([
  [1, 2, 3],
  [2, 3, 5],
])("each() spreads the row %d + %d = %d", (a: number, b: number, sum: number) => {
  expect(a + b).toBe(sum)
})

test("expect() checks rejections and error classes", async () => {
  await expect(Promise.reject(new RangeError("out of range"))).rejects.toThrow("out of range")
  await expect(Promise.resolve(1)).resolves.toBe(1)
  expect(() => {
    throw new RangeError("x")
  }).toThrow(RangeError)
  expect(new Uint8Array([1, 2])).toEqual(new Uint8Array([1, 2]))
})

test("a test may take its own time limit", async () => {
  await Promise.resolve()
}, 5_000)
