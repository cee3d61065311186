// Options of an S3 store: what is refused, what the environment fills in, and that no secret is ever shown. Needs no server.

import { afterAll, afterEach, describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { inspect } from "node:util"
import { type S3StoreOptions, s3Store } from "bop-aof/s3"
import * as Effect from "effect/Effect"
import { makeConfig } from "../../src/model/config.ts"
import { readCredentials } from "../../src/object_store/s3_credentials.ts"
import { failureOf, s3ErrorOf } from "../../src/object_store/s3_error.ts"
import { makeS3Config } from "../../src/object_store/s3_options.ts"

const secret = "verySecretSecretSecret/And+Long0"
const keys = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: secret }
const good: S3StoreOptions = { bucket: "my-bucket", endpoint: "http://127.0.0.1:1", credentials: keys }

const thrownBy = (run: () => unknown): any => {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error("nothing was thrown")
}

const variables = Object.keys(process.env).filter((name) => name.startsWith("AOF2_TIER2_"))
const kept = variables.map((name) => [name, process.env[name]] as const)
for (const name of variables) delete process.env[name]

afterAll(() => {
  for (const [name, value] of kept) process.env[name] = value
})
afterEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith("AOF2_TIER2_")) delete process.env[name]
})

test.each([
  ["s3.bucket", { bucket: "a" }],
  ["s3.bucket", { bucket: "a/b" }],
  ["s3.bucket", { bucket: 7 }],
  ["s3.prefix", { prefix: "/a" }],
  ["s3.prefix", { prefix: "a//b" }],
  ["s3.prefix", { prefix: ".." }],
  ["s3.prefix", { prefix: "x".repeat(600) }],
  ["s3.endpoint", { endpoint: "127.0.0.1" }],
  ["s3.endpoint", { endpoint: "ftp://host" }],
  ["s3.endpoint", { endpoint: `http://user:${secret}@host` }],
  ["s3.endpoint", { endpoint: `http://host/?token=${encodeURIComponent(secret)}` }],
  ["s3.endpoint", { endpoint: `not ${secret}` }],
  ["s3.region", { region: "us east" }],
  ["s3.pathStyle", { pathStyle: 1 }],
  ["s3.credentials", { credentials: secret }],
  ["s3.credentials.secretAccessKey", { credentials: { accessKeyId: "a", secretAccessKey: `${secret}\n` } }],
  ["s3.credentials.accessKeyId", { credentials: { accessKeyId: "", secretAccessKey: secret } }],
  ["s3.credentials.sessionToken", { credentials: { ...keys, sessionToken: ` ${secret}` } }],
  ["s3.credentials option", { credentials: { ...keys, other: secret } }],
  ["s3.credentials.file", { credentials: { file: "" } }],
  ["s3.sse", { sse: secret }],
  ["s3.sse.customerKey", { sse: { customerKey: secret } }],
  ["s3.sse.customerKey", { sse: { customerKey: new Uint8Array(31) } }],
  ["s3.sse.kmsKeyId", { sse: { kmsKeyId: "" } }],
  ["s3.metadata key", { metadata: { Team: "a" } }],
  ["s3.metadata.team", { metadata: { team: "\n" } }],
  ["s3.storageClass", { storageClass: "A B" }],
  ["s3.multipartThresholdBytes", { multipartThresholdBytes: 1024 }],
  ["s3.partBytes", { partBytes: 2 ** 40 }],
  ["s3.partConcurrency", { partConcurrency: 0 }],
  ["s3.connectTimeoutMs", { connectTimeoutMs: 0.5 }],
  ["s3.sendChecksum", { sendChecksum: "yes" }],
  ["s3.ca", { ca: secret }],
  ["s3 option", { buckets: "a" }],
] as ReadonlyArray<[string, object]>)("refuses a wrong %s", (what: string, wrong: object) => {
  const error = thrownBy(() => s3Store({ ...good, ...wrong } as S3StoreOptions))
  expect([error._tag, error.what, error.retryable]).toEqual(["InvalidArgument", what, false])
  expect(String(error.limit)).not.toBe("")
  expect(`${error.message}${String(error.value)}${inspect(error)}`).not.toContain(secret)
})

test("fills in defaults", () => {
  const { credentials: _, ...config } = makeS3Config(good)
  expect(config).toEqual({
    bucket: "my-bucket",
    prefix: "",
    endpoint: "http://127.0.0.1:1",
    region: "us-east-1",
    pathStyle: true,
    sse: "none",
    metadata: {},
    storageClass: undefined,
    multipartThresholdBytes: 16_777_216,
    partBytes: 8_388_608,
    partConcurrency: 2,
    sendChecksum: true,
    connectTimeoutMs: 5000,
    ca: undefined,
  })
  const aws = makeS3Config({ bucket: "my-bucket", prefix: "a/b/" })
  expect([aws.prefix, aws.region, aws.endpoint, aws.pathStyle, aws.credentials]).toEqual([
    "a/b/",
    undefined,
    undefined,
    false,
    "chain",
  ])
  expect(makeS3Config({ bucket: "my-bucket", endpoint: "https://s3.eu-west-1.amazonaws.com" }).pathStyle).toBe(false)
})

test("takes from the environment what is not given", async () => {
  Object.assign(process.env, {
    AOF2_TIER2_BUCKET: "other-bucket",
    AOF2_TIER2_ENDPOINT: "https://store.example",
    AOF2_TIER2_PREFIX: "team",
    AOF2_TIER2_REGION: "eu-central-1",
    AOF2_TIER2_PATH_STYLE: "false",
    AOF2_TIER2_ACCESS_KEY: "AKIDOTHER",
    AOF2_TIER2_SECRET_KEY: secret,
  })
  const config = makeS3Config()
  expect(config).toMatchObject({
    bucket: "other-bucket",
    endpoint: "https://store.example",
    prefix: "team/",
    region: "eu-central-1",
    pathStyle: false,
    credentials: "environment",
  })
  expect(await readCredentials(config.credentials)).toMatchObject({ accessKeyId: "AKIDOTHER" })
  process.env["AOF2_TIER2_ACCESS_KEY"] = "AKIDLATER"
  expect(await readCredentials(config.credentials)).toMatchObject({ accessKeyId: "AKIDLATER" })
  expect(makeS3Config({ bucket: "my-bucket", pathStyle: true })).toMatchObject({ bucket: "my-bucket", pathStyle: true })
  process.env["AOF2_TIER2_PATH_STYLE"] = "perhaps"
  expect(thrownBy(() => makeS3Config()).what).toBe("AOF2_TIER2_PATH_STYLE")
})

test("reads a profile of a file as it is now", async () => {
  const file = join(tmpdir(), `bop-aof-credentials-${process.pid}`)
  const write = (key: string): void =>
    writeFileSync(
      file,
      `[default]\naws_access_key_id = A\naws_secret_access_key = B\n\n[team]\n aws_access_key_id=${key}\naws_secret_access_key = ${secret}\naws_session_token = T\n`,
    )
  write("FIRST")
  const source = { file, profile: "team" }
  const first = { accessKeyId: "FIRST", secretAccessKey: secret, sessionToken: "T" }
  expect(await readCredentials(source)).toEqual(first)
  write("SECOND")
  expect(await readCredentials(source)).toEqual({ ...first, accessKeyId: "SECOND" })
  expect(await readCredentials({ file })).toMatchObject({ accessKeyId: "A", secretAccessKey: "B" })
  const missing = await readCredentials({ file, profile: "none" }).catch((error: unknown) => error)
  expect(missing).toMatchObject({ _tag: "InvalidArgument", what: "s3.credentials.profile" })
})

describe("a secret", () => {
  const customerKey = new Uint8Array(32).map((_, index) => 65 + index)
  const all: S3StoreOptions = {
    ...good,
    credentials: { ...keys, sessionToken: `${secret}-token` },
    sse: { customerKey },
  }

  test("is not in what is printed of a store, or of options that hold it", () => {
    const store = s3Store(all)
    const config = makeConfig({ root: "data", tier2: { store } })
    for (const held of [store, config, { store }, [store]]) {
      const printed = [JSON.stringify(held), inspect(held, { depth: 20, showHidden: true }), String(held)]
      if ("Bun" in globalThis) printed.push((globalThis as any).Bun.inspect(held))
      if ("Deno" in globalThis) printed.push((globalThis as any).Deno.inspect(held, { depth: 20, showHidden: true }))
      for (const text of printed) {
        expect(text).not.toContain(secret)
        expect(text).not.toContain("AKIDEXAMPLE")
        expect(text).not.toContain(Buffer.from(customerKey).toString("base64"))
        expect(text).not.toContain("65,")
      }
    }
    expect(JSON.stringify(store)).toBe('{"kind":"s3","place":"s3://my-bucket/ at http://127.0.0.1:1"}')
  })

  test("is not in an error of the store, whatever the SDK says", async () => {
    const error = await Effect.runPromise(Effect.flip(s3Store(all).get("a")))
    expect(error._tag).toBe("StoreError")
    expect(`${inspect(error, { depth: 20 })}${JSON.stringify(error)}`).not.toContain(secret)
    const thrown = Object.assign(new Error(`The key ${secret} is wrong`), {
      name: "InvalidAccessKeyId",
      AWSAccessKeyId: "AKIDEXAMPLE",
      $metadata: { httpStatusCode: 403 },
      $response: { headers: { authorization: secret } },
    })
    const mapped = s3ErrorOf(thrown, "put", "a")
    expect(mapped).toMatchObject({ kind: "Denied", code: "InvalidAccessKeyId" })
    const printed = `${mapped.message}${inspect(mapped, { depth: 20 })}${JSON.stringify(mapped)}`
    expect(printed).not.toContain(secret)
    expect(printed).not.toContain("AKIDEXAMPLE")
  })

  test("that a function gives and that is no good is not in the error", async () => {
    const credentials = () => ({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: `${secret}\n` })
    const error = await Effect.runPromise(Effect.flip(s3Store({ ...good, credentials }).get("a")))
    expect(error).toMatchObject({ _tag: "InvalidArgument", what: "s3.credentials.secretAccessKey" })
    expect(inspect(error, { depth: 20 })).not.toContain(secret)
    const failing = () => Promise.reject(new Error(`no ${secret}`))
    const other = await Effect.runPromise(Effect.flip(s3Store({ ...good, credentials: failing }).get("a")))
    expect(`${inspect(other, { depth: 20 })}`).not.toContain(secret)
  })
})

test.each([
  [{ $metadata: { httpStatusCode: 404 }, name: "NoSuchKey" }, "NotFound", "NoSuchKey"],
  [{ $metadata: { httpStatusCode: 404 }, name: "NotFound" }, "NotFound", "NotFound"],
  [{ $metadata: { httpStatusCode: 404 }, name: "NoSuchBucket" }, "Invalid", "NoSuchBucket"],
  [
    { $metadata: { httpStatusCode: 403 }, name: "403", Code: "SignatureDoesNotMatch" },
    "Denied",
    "SignatureDoesNotMatch",
  ],
  [{ $metadata: { httpStatusCode: 403 }, name: "UnknownError" }, "Denied", "403"],
  [{ $metadata: { httpStatusCode: 400 }, name: "ExpiredToken" }, "Denied", "ExpiredToken"],
  [{ $metadata: { httpStatusCode: 400 }, name: "InvalidRequest" }, "Invalid", "InvalidRequest"],
  [{ $metadata: { httpStatusCode: 400 }, name: "XAmzContentSHA256Mismatch" }, "Network", "XAmzContentSHA256Mismatch"],
  [{ $metadata: { httpStatusCode: 400 }, name: "RequestTimeout" }, "Timeout", "RequestTimeout"],
  [
    { $metadata: { httpStatusCode: 409 }, name: "ConditionalRequestConflict" },
    "Internal",
    "ConditionalRequestConflict",
  ],
  [{ $metadata: { httpStatusCode: 412 }, name: "PreconditionFailed" }, "PreconditionFailed", "PreconditionFailed"],
  [{ $metadata: { httpStatusCode: 429 }, name: "Error" }, "Throttled", "429"],
  [{ $metadata: { httpStatusCode: 301 }, name: "PermanentRedirect" }, "Invalid", "PermanentRedirect"],
  [{ $metadata: { httpStatusCode: 500 }, name: "InternalError" }, "Internal", "InternalError"],
  [{ $metadata: { httpStatusCode: 503 }, name: "SlowDown" }, "Throttled", "SlowDown"],
  [{ $metadata: {}, $response: { statusCode: 502 }, name: "SyntaxError" }, "Internal", "SyntaxError"],
  [{ name: "TimeoutError", code: "ECONNRESET" }, "Network", "ECONNRESET"],
  [{ name: "TimeoutError" }, "Timeout", "ETIMEDOUT"],
  [{ name: "Error", code: "ECONNREFUSED" }, "Network", "ECONNREFUSED"],
  [{ name: "AggregateError", errors: [{ name: "Error", code: "EHOSTUNREACH" }] }, "Network", "EHOSTUNREACH"],
  [{ name: "Error", code: "SELF_SIGNED_CERT_IN_CHAIN" }, "Denied", "SELF_SIGNED_CERT_IN_CHAIN"],
  [{ name: "CredentialsProviderError" }, "Denied", "CredentialsProviderError"],
  [{ name: "Error", message: "Region is missing" }, "Invalid", "RegionMissing"],
  [undefined, "Network", "NetworkError"],
] as ReadonlyArray<[unknown, string, string]>)("takes %p as %s", (thrown: unknown, kind: string, code: string) => {
  expect(s3ErrorOf(thrown, "get", "a")).toMatchObject({ _tag: "StoreError", kind, code })
  expect(failureOf(thrown).code).toBe(code)
})
