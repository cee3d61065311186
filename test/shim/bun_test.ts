// What tests use of `bun:test`, for Deno and Node, on `node:test` and jest's `expect`.
//
// Suites are flattened into names ("suite > test"), so that all runtimes count the same tests; hooks are therefore run
// here. A suite's `beforeAll` runs before its first test, its `afterAll` after its last. Inner `beforeEach` hooks run
// after outer ones, inner `afterEach` hooks before outer ones, also when the test has failed.

import * as nodeTest from "node:test"
import { expect } from "expect"

export { expect }

/** The body of a test or hook. */
export type Body = () => unknown

/** Milliseconds, or the options that hold them. */
export type Timeout = number | { readonly timeout?: number }

/** A table's row: spread over the parameters if it is an array. */
export type RowBody = (...row: any[]) => unknown

interface Suite {
  readonly name: string
  readonly parent: Suite | undefined
  readonly isSkipped: boolean
  readonly hooks: { readonly [K in HookName]: Hook[] }
  testsLeft: number
  started: Promise<void> | undefined
}

interface Hook {
  readonly body: Body
  readonly timeoutMs: number
}

type HookName = "beforeAll" | "afterAll" | "beforeEach" | "afterEach"

/** The signature of `test` and its variants. */
export interface TestFunction {
  (name: string, body: Body, timeout?: Timeout): void
  skip(name: string, body?: Body, timeout?: Timeout): void
  skipIf(condition: unknown): TestFunction
  if(condition: unknown): TestFunction
  todo(name: string, body?: Body): void
  each(rows: ReadonlyArray<unknown>): (name: string, body: RowBody, timeout?: Timeout) => void
}

/** The signature of `describe` and its variants. */
export interface DescribeFunction {
  (name: string, body: () => void): void
  skip(name: string, body: () => void): void
  skipIf(condition: unknown): DescribeFunction
  if(condition: unknown): DescribeFunction
  each(rows: ReadonlyArray<unknown>): (name: string, body: RowBody) => void
}

const timeoutMsDefault = 60_000
let current: Suite = makeSuite("", undefined, false)

export const test: TestFunction = makeTest(false)
export const it: TestFunction = test
export const describe: DescribeFunction = makeDescribe(false)

export const beforeAll = (body: Body, timeout?: Timeout): void => addHook("beforeAll", body, timeout)
export const afterAll = (body: Body, timeout?: Timeout): void => addHook("afterAll", body, timeout)
export const beforeEach = (body: Body, timeout?: Timeout): void => addHook("beforeEach", body, timeout)
export const afterEach = (body: Body, timeout?: Timeout): void => addHook("afterEach", body, timeout)

/** Accepted and of no effect: each test names its own limit, and the default is the same on all runtimes. */
export const setDefaultTimeout = (_timeoutMs: number): void => {}

function makeTest(isSkipped: boolean): TestFunction {
  const add = (name: string, body: Body, timeout?: Timeout): void => addTest(name, body, timeout, isSkipped)
  return Object.assign(add, {
    skip: (name: string, body: Body = nothing): void => addTest(name, body, undefined, true),
    skipIf: (condition: unknown): TestFunction => makeTest(isSkipped || Boolean(condition)),
    if: (condition: unknown): TestFunction => makeTest(isSkipped || !condition),
    todo: (name: string, body: Body = nothing): void => addTest(name, body, undefined, true),
    each:
      (rows: ReadonlyArray<unknown>) =>
      (name: string, body: RowBody, timeout?: Timeout): void => {
        rows.forEach((row, index) => {
          const values = Array.isArray(row) ? row : [row]
          add(formatName(name, values, index), () => body(...values), timeout)
        })
      },
  })
}

function makeDescribe(isSkipped: boolean): DescribeFunction {
  const add = (name: string, body: () => void): void => addSuite(name, body, isSkipped)
  return Object.assign(add, {
    skip: (name: string, body: () => void): void => addSuite(name, body, true),
    skipIf: (condition: unknown): DescribeFunction => makeDescribe(isSkipped || Boolean(condition)),
    if: (condition: unknown): DescribeFunction => makeDescribe(isSkipped || !condition),
    each:
      (rows: ReadonlyArray<unknown>) =>
      (name: string, body: RowBody): void => {
        rows.forEach((row, index) => {
          const values = Array.isArray(row) ? row : [row]
          add(formatName(name, values, index), () => void body(...values))
        })
      },
  })
}

function makeSuite(name: string, parent: Suite | undefined, isSkipped: boolean): Suite {
  const hooks = { beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] }
  return { name, parent, isSkipped: isSkipped || (parent?.isSkipped ?? false), hooks, testsLeft: 0, started: undefined }
}

function addSuite(name: string, body: () => void, isSkipped: boolean): void {
  const outer = current
  current = makeSuite(outer.name === "" ? name : `${outer.name} > ${name}`, outer, isSkipped)
  try {
    const result: unknown = body()
    if (result instanceof Promise) throw new Error(`suite "${name}" is asynchronous: its tests would be lost`)
  } catch (error) {
    // Deno reports nothing when a module throws while its tests are being registered: a test says it instead.
    nodeTest.test(`${current.name} > could not be set up`, () => {
      throw error
    })
  } finally {
    current = outer
  }
}

function addHook(name: HookName, body: Body, timeout: Timeout | undefined): void {
  current.hooks[name].push({ body, timeoutMs: timeoutMsOf(timeout) })
}

function timeoutMsOf(timeout: Timeout | undefined): number {
  return (typeof timeout === "number" ? timeout : timeout?.timeout) ?? timeoutMsDefault
}

function addTest(name: string, body: Body, timeout: Timeout | undefined, isSkipped: boolean): void {
  const suite = current
  const fullName = suite.name === "" ? name : `${suite.name} > ${name}`
  if (isSkipped || suite.isSkipped) {
    nodeTest.test(fullName, { skip: true }, () => {})
    return
  }
  const chain = suiteChain(suite)
  for (const each of chain) each.testsLeft++
  nodeTest.test(fullName, () => runTest(chain, { body, timeoutMs: timeoutMsOf(timeout) }))
}

/** From the outermost suite inwards. */
function suiteChain(suite: Suite): ReadonlyArray<Suite> {
  return suite.parent === undefined ? [suite] : [...suiteChain(suite.parent), suite]
}

async function runTest(chain: ReadonlyArray<Suite>, test: Hook): Promise<void> {
  const failures: unknown[] = []
  const attempt = async (step: Promise<void>): Promise<void> => {
    try {
      await step
    } catch (error) {
      failures.push(error)
    }
  }
  const outwards = [...chain].reverse()
  for (const suite of chain) await attempt((suite.started ??= runAll(suite.hooks.beforeAll)))
  if (failures.length === 0) await attempt(runAll(chain.flatMap((suite) => suite.hooks.beforeEach)))
  if (failures.length === 0) await attempt(run(test))
  for (const hook of outwards.flatMap((suite) => suite.hooks.afterEach)) await attempt(run(hook))
  for (const suite of outwards) {
    if (--suite.testsLeft === 0) for (const hook of suite.hooks.afterAll) await attempt(run(hook))
  }
  if (failures.length > 0) throw failures[0]
}

async function runAll(hooks: ReadonlyArray<Hook>): Promise<void> {
  for (const hook of hooks) await run(hook)
}

async function run({ body, timeoutMs }: Hook): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    await Promise.race([body(), expired])
  } finally {
    clearTimeout(timer)
  }
}

/** printf-style names as in bun:test: `%s %d %i %f %j %o %p` take a value, `%#` the row's index, `%%` is a percent sign. */
function formatName(name: string, values: ReadonlyArray<unknown>, index: number): string {
  let next = 0
  return name.replace(/%([sdifjop#%])/g, (whole, kind: string) => {
    if (kind === "%") return "%"
    if (kind === "#") return String(index)
    if (next >= values.length) return whole
    const value = values[next++]
    return kind === "s" || typeof value !== "object" ? String(value) : JSON.stringify(value)
  })
}

function nothing(): void {}
