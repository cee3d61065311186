// What an S3 store does beyond the port: credentials that change, encryption, TLS, prefixes, and what others have put in the bucket.

import { afterAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { inspect } from "node:util"
import { HeadObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3"
import type { S3StoreOptions } from "bop-aof/s3"
import * as Effect from "effect/Effect"
import { crc64 } from "../../src/format/checksum.ts"
import { bodyOf, outcomeOf, pattern, textOf } from "../support/object_store_conformance.ts"
import { type FaultProxy, type ProxyRequest, startProxy } from "./fault_proxy.ts"
import {
  accessKeyId,
  bucket,
  endpoint,
  hasServer,
  makeClient,
  makePrefix,
  openStore,
  secretAccessKey,
  serverName,
} from "./settings.ts"

const MiB = 1024 * 1024
const run = Effect.runPromise
const folder = mkdtempSync(join(tmpdir(), "bop-aof-s3-"))
const proxies: Array<FaultProxy> = []

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  for (const proxy of proxies) await proxy.close()
})

const makeProxy = async (options: { tls?: { key: string; cert: string } } = {}): Promise<FaultProxy> => {
  const proxy = await startProxy({ target: endpoint, ...options })
  proxies.push(proxy)
  return proxy
}

const good = { accessKeyId, secretAccessKey }
const wrong = { accessKeyId, secretAccessKey: "wrong-secret-that-nobody-has" }

describe.skipIf(!hasServer)(serverName, () => {
  describe("credentials", () => {
    /** A store whose credentials are wrong until `mend` is called. */
    const sources: ReadonlyArray<[string, () => { options: S3StoreOptions; mend: () => void }]> = [
      [
        "of a function",
        () => {
          let now = wrong
          return {
            options: { credentials: () => now },
            mend: () => {
              now = good
            },
          }
        },
      ],
      [
        "of a function that takes its time",
        () => {
          let now = wrong
          return {
            options: { credentials: () => new Promise((resolve) => setTimeout(() => resolve(now), 5)) },
            mend: () => {
              now = good
            },
          }
        },
      ],
      [
        "of a file",
        () => {
          const file = join(folder, "credentials")
          const write = (keys: typeof good): void =>
            writeFileSync(
              file,
              `[log]\naws_access_key_id=${keys.accessKeyId}\naws_secret_access_key=${keys.secretAccessKey}\n`,
            )
          write(wrong)
          return { options: { credentials: { file, profile: "log" } }, mend: () => write(good) }
        },
      ],
      [
        "of the environment",
        () => {
          process.env["AOF2_TIER2_SECRET_KEY"] = wrong.secretAccessKey
          return {
            options: { credentials: "environment" },
            mend: () => {
              process.env["AOF2_TIER2_SECRET_KEY"] = secretAccessKey
            },
          }
        },
      ],
      [
        "of the chain of the SDK",
        () => {
          const file = join(folder, "chain")
          const write = (keys: typeof good): void =>
            writeFileSync(
              file,
              `[default]\naws_access_key_id=${keys.accessKeyId}\naws_secret_access_key=${keys.secretAccessKey}\n`,
            )
          write(wrong)
          process.env["AWS_SHARED_CREDENTIALS_FILE"] = file
          process.env["AWS_EC2_METADATA_DISABLED"] = "true"
          return { options: { credentials: "chain" }, mend: () => write(good) }
        },
      ],
    ]

    test.each(sources)("%s are read again when the store refuses, without a restart", async (_, make) => {
      const { options, mend } = make()
      const store = openStore({ prefix: makePrefix(), ...options })
      const refused = await run(Effect.flip(store.put("a", bodyOf("x"))))
      expect(refused).toMatchObject({ _tag: "StoreError", kind: "Denied", retryable: false })
      expect(`${inspect(refused, { depth: 9 })}${inspect(store, { depth: 9 })}`).not.toContain("wrong-secret")
      mend()
      // They are not read more than once in a second.
      let outcome = "Denied"
      for (let tries = 0; outcome === "Denied" && tries < 100; tries++) {
        outcome = await outcomeOf(store.put("a", bodyOf("x")))
        if (outcome === "Denied") await new Promise((resolve) => setTimeout(resolve, 50))
      }
      expect(outcome).toBe("ok")
      const many = Array.from({ length: 8 }, (_, index) => store.put(`b${index}`, bodyOf("x")))
      expect(await Promise.all(many.map(outcomeOf))).toEqual(many.map(() => "ok"))
    })

    test("that were given stay, and are asked for once by many that are refused together", async () => {
      expect(await outcomeOf(openStore({ credentials: wrong }).get("a"))).toBe("Denied")
      let asked = 0
      const store = openStore({
        credentials: () => {
          asked++
          return wrong
        },
      })
      const outcomes = await Promise.all(Array.from({ length: 16 }, () => outcomeOf(store.get("a"))))
      expect(new Set(outcomes)).toEqual(new Set(["Denied"]))
      expect(asked).toBeLessThanOrEqual(3)
    })

    test("that are not there are Denied", async () => {
      const store = openStore({ credentials: () => Promise.reject(new Error("nothing here")) })
      expect(await outcomeOf(store.get("a"))).not.toBe("ok")
      const missing = openStore({ credentials: { file: join(folder, "none") } })
      expect(await outcomeOf(missing.get("a"))).not.toBe("ok")
    })
  })

  test("an unknown bucket is no missing object", async () => {
    const store = openStore({ bucket: "no-such-bucket-anywhere" })
    expect(await run(Effect.flip(store.get("a")))).toMatchObject({ kind: "Invalid", code: "NoSuchBucket" })
    expect(await outcomeOf(store.put("a", bodyOf("x")))).toBe("Invalid")
  })

  test("objects lie below the prefix, and what others have put there is left out", async () => {
    const prefix = makePrefix()
    const store = openStore({ prefix: `${prefix}/inner` })
    for (const key of ["b", "d", "e"]) await run(store.put(key, bodyOf(key)))
    const client = makeClient()
    for (const key of ["a b", ".hidden", "c//d", "ä", "dir/"]) {
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: `${prefix}/inner/${key}`, Body: "x" }))
    }
    const found: Array<string> = []
    let after: string | undefined
    do {
      const page = await run(store.list("", { after, limit: 2 }))
      found.push(...page.objects.map(({ key }) => key))
      after = page.next
    } while (after !== undefined)
    expect(found).toEqual(["b", "d", "e"])
    const above = await run(openStore({ prefix }).list("inner/", { limit: 1000 }))
    expect(above.objects.map(({ key }) => key)).toEqual(["inner/b", "inner/d", "inner/e"])
    client.destroy()
    const long = openStore({ prefix: "p".repeat(500) })
    const key = "k/".repeat(300).slice(0, -1)
    expect(await outcomeOf(long.get(key))).toBe("InvalidArgument")
  })

  test("metadata of the store are on each object beside those of the put", async () => {
    const prefix = makePrefix()
    const metadata = { team: "log", cost: "7" }
    const store = openStore({ prefix, metadata, multipartThresholdBytes: 5 * MiB, partBytes: 5 * MiB })
    await run(store.put("a", bodyOf("x"), { metadata: { one: "1" } }))
    expect((await run(store.head("a")))?.metadata).toEqual({ ...metadata, one: "1" })
    await run(store.put("large", bodyOf(pattern(6 * MiB)), { metadata: { one: "1" } }))
    expect((await run(store.head("large")))?.metadata).toEqual({ ...metadata, one: "1" })
    const much = { one: "x".repeat(2000) }
    expect(await outcomeOf(store.put("b", bodyOf("x"), { metadata: much }))).toBe("InvalidArgument")
  })

  describe("encryption", () => {
    const customerKey = Buffer.alloc(32, "k").toString("base64")
    const cases: ReadonlyArray<[string, S3StoreOptions["sse"]]> = [
      ["a customer key", { customerKey }],
      ["a key service", { kmsKeyId: process.env["BOP_AOF_S3_KMS_KEY"] ?? "none" }],
    ]

    test.each(cases)("by %s keeps objects, small and in parts, and their ranges", async (_, sse) => {
      const prefix = makePrefix()
      const parts = { multipartThresholdBytes: 5 * MiB, partBytes: 5 * MiB }
      const store = openStore({ prefix, sse, ...parts })
      const content = pattern(7 * MiB)
      await run(store.put("small", bodyOf("hello"), { condition: { absent: true } }))
      expect(await outcomeOf(store.put("small", bodyOf("x"), { condition: { absent: true } }))).toBe(
        "PreconditionFailed",
      )
      await run(store.put("large", bodyOf(content), { checksum64: crc64(content) }))
      expect(textOf(await run(store.get("small")))).toBe("hello")
      expect((await run(store.head("large")))?.lengthBytes).toBe(content.length)
      expect(crc64(await run(store.get("large")))).toBe(crc64(content))
      const range = { offset: 5 * MiB - 10, length: 20 }
      expect(await run(store.get("large", range))).toEqual(content.slice(range.offset, range.offset + 20))
    })

    test("by a customer key is not to be read without it", async () => {
      const prefix = makePrefix()
      await run(openStore({ prefix, sse: { customerKey } }).put("a", bodyOf("hello")))
      expect(["Invalid", "Denied"]).toContain(await outcomeOf(openStore({ prefix }).get("a")))
      const other = openStore({ prefix, sse: { customerKey: new Uint8Array(32) } })
      expect(["Invalid", "Denied"]).toContain(await outcomeOf(other.get("a")))
    })

    test("by a key service is what the server says of the object", async () => {
      const prefix = makePrefix()
      const [, sse] = cases[1]!
      await run(openStore({ prefix, sse }).put("a", bodyOf("hello")))
      const client = makeClient()
      const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: `${prefix}/a` }))
      expect(head.ServerSideEncryption).toBe("aws:kms")
      client.destroy()
    })

    test("by keys of S3 is asked for, with the storage class and the checksum", async () => {
      const proxy = await makeProxy()
      const seen: Array<ProxyRequest> = []
      // This server does not know of it: what is asked is looked at on the way.
      proxy.script = (request) => {
        seen.push(request)
        return { status: 500 }
      }
      const store = openStore({ endpoint: proxy.endpoint, sse: "s3", storageClass: "STANDARD_IA" })
      await outcomeOf(store.put("a", bodyOf("123456789")))
      const { headers } = seen[0]!
      expect(headers.get("x-amz-server-side-encryption")).toBe("AES256")
      expect(headers.get("x-amz-storage-class")).toBe("STANDARD_IA")
      expect(headers.get("x-amz-checksum-crc64nvme")).toBe(Buffer.from("ae8b14860a799888", "hex").toString("base64"))
      expect(headers.get("x-amz-content-sha256")).toBe(
        "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
      )
    })
  })

  const hasOpenssl = spawnSync("openssl", ["version"]).status === 0

  test.skipIf(!hasOpenssl)("[the openssl program] TLS is checked against the certificates that are given", async () => {
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
    const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    const made = spawnSync("openssl", [
      ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
      ...[...subject, "-keyout", key, "-out", cert],
    ])
    expect(made.status).toBe(0)
    const pem = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") }
    const proxy = await makeProxy({ tls: pem })
    const prefix = makePrefix()
    const trusted = openStore({ endpoint: proxy.endpoint, prefix, ca: pem.cert })
    await run(trusted.put("a", bodyOf("hello")))
    expect(textOf(await run(trusted.get("a")))).toBe("hello")
    const untrusted = await run(Effect.flip(openStore({ endpoint: proxy.endpoint, prefix }).get("a")))
    expect(untrusted).toMatchObject({ _tag: "StoreError", kind: "Denied", retryable: false })
  })

  test("a body that is damaged on its way up is not stored", async () => {
    const proxy = await makeProxy()
    const prefix = makePrefix()
    const store = openStore({ endpoint: proxy.endpoint, prefix, multipartThresholdBytes: 5 * MiB, partBytes: 5 * MiB })
    proxy.script = ({ method }) => (method === "PUT" ? { damageRequest: true } : undefined)
    expect(await outcomeOf(store.put("a", bodyOf(pattern(100_000))))).toBe("Network")
    expect(await outcomeOf(store.put("large", bodyOf(pattern(6 * MiB))))).toBe("Network")
    proxy.script = undefined
    expect(await run(store.list(""))).toEqual({ objects: [], next: undefined })
  })
})
