// A Ceph of one node, on loopback and without keys of its own, with its S3 front end: what it is told, and its processes.
// Every process is known by its pid file and is only ever ended when it still runs with the configuration of its directory.

import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { join } from "node:path"

export const daemons = ["mon", "osd", "rgw"]

/** Programs, and the Debian packages that hold them. */
const programs = {
  "ceph-mon": "ceph-mon",
  "ceph-osd": "ceph-osd",
  radosgw: "radosgw",
  "radosgw-admin": "radosgw",
  monmaptool: "ceph-base",
  ceph: "ceph-common",
}

/** Packages of programs that are not there. */
export function missingPackages() {
  const isThere = (program) =>
    ["/usr/bin", "/usr/local/bin", "/bin", ...(process.env.PATH ?? "").split(":")].some((folder) =>
      existsSync(join(folder, program)),
    )
  const missing = Object.entries(programs).filter(([program]) => !isThere(program))
  return [...new Set(missing.map(([, name]) => name))]
}

/** The packages of the server are not here, and cannot be installed either. */
export class MissingPackages extends Error {}

/** Installs what is missing; throws with what to do when that cannot be. */
export function installPackages(say) {
  const missing = missingPackages()
  if (missing.length === 0) return
  const byHand = `apt-get install --no-install-recommends ${missing.join(" ")}`
  if (process.env.AOF2_S3_NO_INSTALL === "1") {
    throw new MissingPackages(
      `the S3 server for tests needs packages that are missing: ${missing.join(", ")}; install them: ${byHand}`,
    )
  }
  if (!existsSync("/usr/bin/apt-get")) {
    throw new MissingPackages(
      `the S3 server for tests is installed from Debian packages, and there is no apt-get here; it needs ${missing.join(", ")}`,
    )
  }
  say(`installing ${missing.join(", ")} (one or two minutes)`)
  const prefix = process.getuid() === 0 ? [] : ["sudo", "-n"]
  const env = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
  const steps = [
    [...prefix, ...env, "update"],
    [...prefix, ...env, "install", "--no-install-recommends", ...missing],
  ]
  for (const [program, ...args] of steps) {
    const { status, stdout, stderr, error } = spawnSync(program, args, {
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    })
    if (status === 0) continue
    const said = `${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}`.trim().split("\n").slice(-8).join("\n")
    throw new MissingPackages(
      `packages of the S3 server cannot be installed (${program} ${args.at(-1)}); try by hand: ${byHand}\n${said}`,
    )
  }
}

/** What lies where in the directory of a server. */
export class Node {
  constructor(directory, port) {
    this.directory = directory
    this.port = port
    this.config = join(directory, "ceph.conf")
    this.logs = join(directory, "log")
  }

  path(...parts) {
    return join(this.directory, ...parts)
  }

  writeConfig({ fsid, osdUuid }) {
    for (const folder of ["mon", "osd", "rgw", "run", "log", "crash"]) mkdirSync(this.path(folder), { recursive: true })
    writeFileSync(this.config, configText(this, { fsid, osdUuid }))
  }

  /** The pid of a daemon that runs and is this node's; undefined when there is none. */
  pid(name) {
    const file = this.path("run", `${name}.pid`)
    if (!existsSync(file)) return undefined
    const pid = Number(readFileSync(file, "utf8"))
    return Number.isInteger(pid) && pid > 1 && this.#owns(pid) ? pid : undefined
  }

  start(name) {
    const commands = {
      mon: ["ceph-mon", "-f", "-i", "a", "-c", this.config],
      osd: ["ceph-osd", "-f", "-i", "0", "-c", this.config],
      rgw: ["radosgw", "-f", "-n", "client.rgw", "-c", this.config],
    }
    const [program, ...args] = commands[name]
    const log = openSync(join(this.logs, `${name}.out`), "a")
    const child = spawn(program, args, { detached: true, stdio: ["ignore", log, log] })
    child.unref()
    writeFileSync(this.path("run", `${name}.pid`), `${child.pid}\n`)
  }

  /** Runs a tool of Ceph to its end; throws with what it said when it fails. */
  tool(program, ...args) {
    const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8", timeout: 120_000 })
    if (status === 0) return stdout.trim()
    throw new Error(`${program} ${args.slice(0, 3).join(" ")} failed\n${error?.message ?? ""}${stdout}${stderr}`.trim())
  }

  /** Ends a daemon and returns when it is gone. */
  async stop(name, signal) {
    const pid = this.pid(name)
    if (pid !== undefined) {
      process.kill(pid, signal)
      for (let waited = 0; this.#owns(pid); waited += 20) {
        if (waited === 10_000) process.kill(pid, "SIGKILL")
        if (waited > 30_000) throw new Error(`${name} (${pid}) does not end`)
        await sleep(20)
      }
    }
    rmSync(this.path("run", `${name}.pid`), { force: true })
  }

  /** The last lines that the daemons wrote. */
  lastWords() {
    return daemons
      .map((name) => join(this.logs, `${name}.out`))
      .filter((file) => existsSync(file))
      .map((file) => `${file}:\n${readFileSync(file, "utf8").trimEnd().split("\n").slice(-5).join("\n")}`)
      .join("\n")
  }

  #owns(pid) {
    try {
      const status = readFileSync(`/proc/${pid}/stat`, "utf8")
      // One that has ended and that nobody has waited for yet.
      if (/\) Z /.test(status)) return false
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(this.config)
    } catch {
      return false
    }
  }
}

export const sleep = (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs))

/** True when something listens. */
export function isListening(port) {
  return new Promise((resolve) => {
    const socket = createConnection({ host: "127.0.0.1", port })
    const finish = (answer) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once("connect", () => finish(true))
    socket.once("error", () => finish(false))
  })
}

/** The name of the key that the server has for encryption by a key service, which is its own testing one. */
export const kmsKey = "bop-aof-test-key"

function configText(node, { fsid, osdUuid }) {
  const { directory, logs, port } = node
  const sections = {
    global: {
      fsid,
      "mon initial members": "a",
      "mon host": `v2:127.0.0.1:${port + 1}/0`,
      "public network": "127.0.0.0/8",
      "cluster network": "127.0.0.0/8",
      "public addr": "127.0.0.1",
      "cluster addr": "127.0.0.1",
      "ms bind ipv6": false,
      "ms bind msgr1": false,
      "ms bind port min": port + 10,
      "ms bind port max": port + 29,
      // Loopback only: nobody else talks to it.
      "auth cluster required": "none",
      "auth service required": "none",
      "auth client required": "none",
      "ms mon client mode": "crc",
      "ms mon cluster mode": "crc",
      "ms mon service mode": "crc",
      "ms client mode": "crc",
      "ms cluster mode": "crc",
      "ms service mode": "crc",
      "admin socket": "",
      "run dir": join(directory, "run"),
      "crash dir": join(directory, "crash"),
      "log file": join(logs, "$name.log"),
      "mon cluster log file": join(logs, "cluster.log"),
      "log to stderr": false,
      "err to stderr": true,
      keyring: join(directory, "keyring"),
      // One copy of everything, in few placement groups: the whole cluster is this directory.
      "osd pool default size": 1,
      "osd pool default min size": 1,
      "osd pool default pg num": 4,
      "osd pool default pgp num": 4,
      "osd pool default pg autoscale mode": "off",
      "osd crush chooseleaf type": 0,
      "mon allow pool size one": true,
      "mon warn on pool no redundancy": false,
      "mon max pg per osd": 1000,
    },
    "mon.a": {
      "mon data": join(directory, "mon"),
      "mon addr": `v2:127.0.0.1:${port + 1}`,
      "mon data avail warn": 0,
      "mon data avail crit": 0,
      "mon osd down out interval": 0,
      "mon osd min down reporters": 1,
      "mon tick interval": 2,
      "paxos propose interval": 0.05,
      "paxos min wait": 0.01,
    },
    osd: {
      "osd data": join(directory, "osd"),
      "osd uuid": osdUuid,
      "osd objectstore": "bluestore",
      "osd class update on start": false,
      "osd max scrubs": 0,
      "osd heartbeat interval": 2,
      "osd op num shards": 2,
      "osd op num threads per shard": 2,
      // Sparse: it takes what is in it.
      "bluestore block size": 8 * 1024 ** 3,
      "bluestore block create": true,
      "bluestore block preallocate file": false,
      "bluestore debug enforce settings": "ssd",
      "bluestore cache autotune": false,
      "bluestore cache size": 256 * 1024 ** 2,
      "bluestore warn on no per pool omap": false,
    },
    client: {
      "rgw data": join(directory, "rgw"),
      // Without it small answers wait 40 ms for an acknowledgement.
      "rgw frontends": `beast endpoint=127.0.0.1:${port} tcp_nodelay=1`,
      "rgw enable apis": "s3, admin",
      "rgw dns name": "localhost",
      "rgw thread pool size": 128,
      "rgw run sync thread": false,
      "rgw dynamic resharding": false,
      "rgw override bucket index max shards": 1,
      "rgw enable usage log": false,
      "rgw enable quota threads": false,
      "rgw rados pool pg num min": 4,
      "rgw gc obj min wait": 30,
      "rgw gc processor period": 30,
      "rgw gc processor max time": 30,
      "rgw init timeout": 60,
      "rgw crypt require ssl": false,
      "rgw crypt s3 kms backend": "testing",
      "rgw crypt s3 kms encryption keys": `${kmsKey}=${Buffer.alloc(32, 7).toString("base64")}`,
    },
  }
  return Object.entries(sections)
    .map(([name, values]) => {
      const lines = Object.entries(values).map(([key, value]) => `${key} = ${value}`)
      return [`[${name}]`, ...lines, ""].join("\n")
    })
    .join("\n")
}
