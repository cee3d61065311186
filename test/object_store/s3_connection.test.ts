// What stands between the S3 store and its server: clocks that are apart, and keys that cannot be read, with a server that answers as it is told.

import { afterAll, describe, expect, test } from "bun:test"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { type S3StoreOptions, s3Store } from "bop-aof/s3"
import * as Effect from "effect/Effect"

type Answer = (request: IncomingMessage, response: ServerResponse) => void

let answer: Answer = (_, response) => void response.end()
const asked: Array<string> = []
const server = createServer((request, response) => {
  asked.push(`${request.method} ${request.url}`)
  answer(request, response)
})
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
const { port } = server.address() as AddressInfo
afterAll(() => void server.close())

const keys = { accessKeyId: "KEY", secretAccessKey: "secret-of-this-test" }

const openStore = (options: S3StoreOptions = {}) =>
  s3Store({
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    pathStyle: true,
    bucket: "bucket",
    credentials: keys,
    ...options,
  })

const failureOf = async (effect: Effect.Effect<unknown, unknown>): Promise<any> =>
  Effect.runPromise(Effect.flip(effect as Effect.Effect<unknown, Error>))

describe("a clock that is hours off", () => {
  test("is put right by an answer without a body, and the request is sent again", async () => {
    const serverMs = Date.now() + 3 * 3_600_000
    answer = (request, response) => {
      const signed = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(String(request.headers["x-amz-date"]))!
      const [, year, month, day, hour, minute, second] = signed
      const signedMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
      response.statusCode = Math.abs(signedMs - serverMs) > 900_000 ? 403 : 200
      response.setHeader("date", new Date(serverMs).toUTCString())
      response.setHeader("etag", '"1"')
      response.setHeader("content-length", "5")
      response.end()
    }
    asked.length = 0
    const info = await Effect.runPromise(openStore().head("HEAD"))
    expect(info?.lengthBytes).toBe(5)
    expect(asked).toEqual(["HEAD /bucket/HEAD", "HEAD /bucket/HEAD"])
  })
})

describe("keys", () => {
  test("that the user's own client of the SDK was given are taken, with what it has added", async () => {
    answer = (_, response) => {
      response.statusCode = 404
      response.end()
    }
    const used = { ...keys, $source: { CREDENTIALS_CODE: "e" } } as typeof keys
    expect(await Effect.runPromise(openStore({ credentials: used }).head("a"))).toBe(undefined)
  })

  test("that cannot be read are Denied, with nothing of what was thrown; that hang once are asked for again", async () => {
    let isHanging = false
    let fails = true
    const store = openStore({
      connectTimeoutMs: 100,
      credentials: async () => {
        if (fails) throw Object.assign(new Error("TOP-SECRET"), { name: "TopSecret", code: "TOP_SECRET" })
        if (isHanging) return new Promise<never>(() => {})
        return keys
      },
    })
    const failed = await failureOf(store.head("a"))
    expect(failed).toMatchObject({ kind: "Denied", code: "CredentialsUnavailable" })
    expect(JSON.stringify(failed) + String(failed)).not.toMatch(/top.?secret/i)
    fails = false
    isHanging = true
    expect(await failureOf(store.head("a"))).toMatchObject({ kind: "Denied", code: "CredentialsTimeout" })
    isHanging = false
    expect(await Effect.runPromise(store.head("a"))).toBe(undefined)
  })
})
