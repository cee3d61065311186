// A real S3 server for tests: Ceph's radosgw from Debian packages, installed when missing, in a directory of its own.
//
//   node scripts/s3_server.mjs start|stop|kill|wipe|status [--directory DIR] [--port PORT] [--only rgw|osd|mon]
//
// `start` may be called again: what runs is left alone, what has died is started on the same data. It prints the settings
// of the server as lines NAME=VALUE when an object could be put, read and removed. `kill` is SIGKILL, `wipe` stops and removes all.
// Ports used: PORT, PORT + 1 and PORT + 10 to PORT + 29, on 127.0.0.1 only.

import { randomUUID } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { takeOption } from "./options.mjs"
import { daemons, installPackages, isListening, kmsKey, Node, sleep } from "./s3_ceph.mjs"

/** A file system in memory is several times faster, and tests need no more. */
const directoryDefault = join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "bop-aof-s3")
const portDefault = 19_300
const readyMsMax = 90_000
const accessKey = "BOPAOFTESTACCESSKEY1"
const secretKey = "bop-aof-test-secret-key-of-no-use-elsewhere"
const bucket = "bop-aof-test"

/** Starts what does not run, waits until it answers, and gives the settings as environment variables. */
export async function startServer({ directory = directoryDefault, port = portDefault, say = () => {} } = {}) {
  installPackages(say)
  mkdirSync(directory, { recursive: true })
  const node = new Node(realpathSync(directory), port)
  return withLock(node, async () => {
    await makeStore(node, say)
    for (const name of ["mon", "osd"]) if (node.pid(name) === undefined) node.start(name)
    await makeUser(node)
    if (node.pid("rgw") === undefined) {
      if (await isListening(port)) throw new Error(`port ${port} is taken by something else: give --port`)
      node.start("rgw")
    }
    await untilReady(node)
    return settings(node)
  })
}

/** Ends the daemons, or the one named, and returns when they are gone. */
export async function stopServer({ directory = directoryDefault, only, signal = "SIGTERM" } = {}) {
  if (!existsSync(join(directory, "ceph.conf"))) return
  const node = new Node(realpathSync(directory), 0)
  const names = only === undefined ? [...daemons].reverse() : [only]
  await withLock(node, async () => {
    for (const name of names) await node.stop(name, signal)
  })
}

/** Ends everything and removes the directory, if it is one of a server. */
export async function wipeServer({ directory = directoryDefault } = {}) {
  if (!existsSync(directory)) return
  if (!existsSync(join(directory, "ceph.conf"))) throw new Error(`${directory} is not the directory of a server`)
  await stopServer({ directory, signal: "SIGKILL" })
  rmSync(directory, { recursive: true, force: true })
}

function settings(node) {
  return {
    AOF2_TIER2_ENDPOINT: `http://127.0.0.1:${node.port}`,
    AOF2_TIER2_REGION: "us-east-1",
    AOF2_TIER2_PATH_STYLE: "true",
    AOF2_TIER2_BUCKET: bucket,
    AOF2_TIER2_ACCESS_KEY: accessKey,
    AOF2_TIER2_SECRET_KEY: secretKey,
    BOP_AOF_S3_DIRECTORY: node.directory,
    BOP_AOF_S3_KMS_KEY: kmsKey,
  }
}

/** The first time: identities, the store of the monitor and that of the disk. */
async function makeStore(node, say) {
  const madeFile = node.path("made.json")
  if (existsSync(madeFile)) {
    const made = JSON.parse(readFileSync(madeFile, "utf8"))
    if (made.port !== node.port) throw new Error(`${node.directory} was made for port ${made.port}: wipe it first`)
    node.writeConfig(made)
    return
  }
  for (const port of [node.port, node.port + 1]) {
    if (await isListening(port)) throw new Error(`port ${port} is taken by something else: give --port`)
  }
  say(`making a new store in ${node.directory}`)
  for (const folder of ["mon", "osd", "rgw"]) rmSync(node.path(folder), { recursive: true, force: true })
  const made = { port: node.port, fsid: randomUUID(), osdUuid: randomUUID() }
  node.writeConfig(made)
  writeFileSync(node.path("keyring"), "")
  const map = node.path("monmap")
  rmSync(map, { force: true })
  node.tool("monmaptool", "--create", "--fsid", made.fsid, "--addv", "a", `[v2:127.0.0.1:${node.port + 1}]`, map)
  node.tool("ceph-mon", "-c", node.config, "--mkfs", "-i", "a", "--monmap", map, "--keyring", node.path("keyring"))
  node.start("mon")
  await until(node, () => isListening(node.port + 1), "the monitor does not listen")
  const id = node.tool("ceph", "-c", node.config, "--connect-timeout", "30", "osd", "new", made.osdUuid)
  if (id !== "0") throw new Error(`the first disk of a new store got number ${id}`)
  node.tool("ceph-osd", "-c", node.config, "-i", "0", "--mkfs", "--osd-uuid", made.osdUuid)
  writeFileSync(madeFile, JSON.stringify(made))
}

async function makeUser(node) {
  const file = node.path("user")
  if (existsSync(file)) return
  const keys = [`--access-key=${accessKey}`, `--secret-key=${secretKey}`]
  const user = ["user", "create", "--uid=bop-aof", "--display-name=bop-aof", ...keys]
  node.tool("radosgw-admin", "-c", node.config, "-n", "client.rgw", ...user)
  writeFileSync(file, "")
}

/** Ready is who takes an object and gives it back. */
async function untilReady(node) {
  // The launcher may be an old Node, which the SDK warns of; nothing but this probe runs there.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true"
  const { CreateBucketCommand, DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } = await import(
    "@aws-sdk/client-s3"
  )
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${node.port}`,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    maxAttempts: 1,
    requestHandler: { requestTimeout: 10_000, throwOnRequestTimeout: true },
  })
  const probe = { Bucket: bucket, Key: "ready" }
  const tryOnce = async () => {
    await client.send(new CreateBucketCommand({ Bucket: bucket })).catch((error) => {
      if (error.$metadata?.httpStatusCode !== 409) throw error
    })
    await client.send(new PutObjectCommand({ ...probe, Body: Buffer.from("ready?") }))
    const { Body } = await client.send(new GetObjectCommand(probe))
    const text = await Body.transformToString()
    await client.send(new DeleteObjectCommand(probe))
    return text === "ready?"
  }
  let last
  const isReady = () =>
    tryOnce().catch((error) => {
      last = error
      return false
    })
  await until(node, isReady, () => `the server does not take objects: ${last?.name} ${last?.message}`)
  client.destroy()
}

async function until(node, condition, what) {
  const end = Date.now() + readyMsMax
  while (!(await condition())) {
    const dead = daemons.find((name) => existsSync(node.path("run", `${name}.pid`)) && node.pid(name) === undefined)
    const why = dead !== undefined ? `${dead} has ended` : typeof what === "function" ? what() : what
    if (dead !== undefined || Date.now() > end) throw new Error(`${why}\n${node.lastWords()}`)
    await sleep(100)
  }
}

/** One start or stop at a time. A lock whose holder is gone is taken over. */
async function withLock(node, run) {
  const path = node.path("lock")
  const end = Date.now() + 180_000
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" })
      break
    } catch (error) {
      if (error.code !== "EEXIST") throw error
    }
    const holder = existsSync(path) ? readFileSync(path, "utf8") : ""
    if (holder !== "" && !existsSync(`/proc/${holder}`)) rmSync(path, { force: true })
    else if (Date.now() > end) throw new Error(`process ${holder} holds ${path}`)
    await sleep(50)
  }
  try {
    return await run()
  } finally {
    rmSync(path, { force: true })
  }
}

async function main(args) {
  const one = (name) => {
    const { values, rest } = takeOption(args, name)
    args = rest
    return values.at(-1)
  }
  const given = one("--directory")
  const directory = given === undefined ? directoryDefault : resolve(given)
  const port = Number(one("--port") ?? portDefault)
  const only = one("--only")
  const [command] = args
  const say = (text) => console.error(`s3: ${text}`)
  if (!Number.isInteger(port) || port < 1024 || port > 65_000)
    throw new Error(`--port takes 1024 to 65000, not ${port}`)
  if (only !== undefined && !daemons.includes(only)) throw new Error(`--only takes ${daemons.join(", ")}, not ${only}`)
  if (command === "start") {
    for (const [name, value] of Object.entries(await startServer({ directory, port, say })))
      console.log(`${name}=${value}`)
  } else if (command === "stop") await stopServer({ directory, only })
  else if (command === "kill") await stopServer({ directory, only, signal: "SIGKILL" })
  else if (command === "wipe") await wipeServer({ directory })
  else if (command === "status") {
    const node = new Node(existsSync(directory) ? realpathSync(directory) : directory, port)
    for (const name of daemons) console.log(`${name} ${node.pid(name) ?? "is not running"}`)
  } else throw new Error("give start, stop, kill, wipe or status")
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(`s3: ${error.message}`)
    process.exitCode = 1
  })
}
