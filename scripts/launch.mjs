// The one entry of all npm scripts: `node scripts/launch.mjs start|test|test:s3|bench|check|fix|build [arguments]`.
// Plain JavaScript for Node 20, which is all that a machine needs to have: the rest is installed from here.

import { existsSync } from "node:fs"
import { join } from "node:path"
import { install } from "./install.mjs"
import { asksForHelp, takeRuntimes, UsageError } from "./options.mjs"
import { handOver } from "./process.mjs"
import { rootDirectory, runtimeCommand, runtimeNames } from "./runtimes.mjs"
import { MissingPackages } from "./s3_ceph.mjs"
import { usages } from "./usage.mjs"

/** No server for tests can be had here. */
const exitNoServer = 3

const commands = {
  /** The main job, on Bun unless told otherwise. */
  async start(args) {
    const { names, rest } = takeRuntimes(args, ["bun"])
    // Children of the example may be of any runtime, but only the asked ones are installed for it.
    return runOnEach(names, join(rootDirectory, "examples", "ingest.ts"), rest)
  },

  async bench(args) {
    const { names, rest } = takeRuntimes(args, runtimeNames)
    install(names)
    // One program starts the processes of all runtimes, so that one table holds them.
    return runOnEach(names.slice(0, 1), join(rootDirectory, "bench", "main.ts"), [`--runtime=${names}`, ...rest])
  },

  async "bench:tiers"(args) {
    const { names, rest } = takeRuntimes(args, runtimeNames)
    install(names)
    return runOnEach(names.slice(0, 1), join(rootDirectory, "bench", "tiers.ts"), [`--runtime=${names}`, ...rest])
  },

  /** Peers run on Node and Bun, whatever runtimes this store is measured on. */
  "bench:peers": (args) => runBench("peers.ts", args, ["bun", "node"]),
  "bench:streams": (args) => runBench("streams.ts", args),
  "bench:latency": (args) => runBench("latency.ts", args),
  "bench:memory": (args) => runBench("memory.ts", args),
  "bench:growth": (args) => runBench("growth.ts", args),
  "bench:warm": (args) => runBench("warm.ts", args),

  async test(args) {
    const { names, rest } = takeRuntimes(args, runtimeNames)
    const { planTests, runTests } = await import("./test.mjs")
    const plan = planTests(rest)
    install()
    return runTests(names, plan)
  },

  /** The tests of `test/s3` with a server of their own. */
  async "test:s3"(args) {
    const { names, rest } = takeRuntimes(args, runtimeNames)
    const { runWithServer } = await import("./s3_run.mjs")
    const { planTests, runTests } = await import("./test.mjs")
    const plan = planTests(rest, "test/s3/")
    install()
    return runWithServer(() => runTests(names, plan))
  },

  async "bench:s3"(args) {
    const { names, rest } = takeRuntimes(args, runtimeNames)
    install(names)
    const { runWithServer } = await import("./s3_run.mjs")
    const run = (more) =>
      runOnEach(names.slice(0, 1), join(rootDirectory, "bench", "s3.ts"), [`--runtime=${names}`, ...rest, ...more])
    if (asksForHelp(rest)) return run([])
    // Before a server is started for nothing.
    const code = await run(["--check"])
    return code === 0 ? runWithServer(() => run([])) : code
  },

  scrub: (args) => runMaintain("scrub", args),
  repair: (args) => runMaintain("repair", args),

  async simulate(args) {
    const { runSimulate } = await import("./simulate.mjs")
    return runSimulate(args)
  },

  async mutants(args) {
    const { runMutants } = await import("./mutants.mjs")
    return runMutants(args)
  },

  async torture(args) {
    const { runTorture } = await import("./torture.mjs")
    return runTorture(args)
  },

  async check(args) {
    const { refuseSteps, runChecks } = await import("./check.mjs")
    refuseSteps(args)
    install()
    return runChecks(args)
  },

  async fix(args) {
    install([])
    const { runFix } = await import("./fix.mjs")
    return runFix(args)
  },

  async build(args) {
    if (args.length > 0) throw new UsageError(`there is no argument ${args[0]}: build takes none`)
    install([])
    const { build } = await import("./build.mjs")
    return build()
  },
}

/** One program starts the processes of all runtimes; a wrong option ends it with code 2. */
async function runBench(file, args, needed = []) {
  const { names, rest } = takeRuntimes(args, runtimeNames)
  install([...new Set([...names, ...needed])])
  // Packages that npm builds are built for this Node.
  process.env.BOP_AOF_CALLER_NODE = process.execPath
  return runOnEach(names.slice(0, 1), join(rootDirectory, "bench", file), [`--runtime=${names}`, ...rest])
}

/** The store of a user, by one runtime. */
function runMaintain(command, args) {
  const { names, rest } = takeRuntimes(args, ["bun"])
  return runOnEach(names.slice(0, 1), join(rootDirectory, "examples", "maintain.ts"), [command, ...rest])
}

/** One after another, and on to the next even if one fails: the worst exit code is the result. */
async function runOnEach(names, file, args) {
  install(names)
  if (!existsSync(file)) throw new Error(`there is no ${file}`)
  let worst = 0
  for (const name of names) {
    const [path, ...rest] = runtimeCommand(name, file, args)
    worst = Math.max(worst, await handOver(path, rest))
  }
  return worst
}

const [name, ...args] = process.argv.slice(2)
try {
  if (!Object.hasOwn(commands, name ?? ""))
    throw new UsageError(`no such command: ${name}; there are ${Object.keys(commands).join(", ")}`)
  if (Object.hasOwn(usages, name) && asksForHelp(args)) console.log(usages[name])
  else process.exitCode = await commands[name](args)
} catch (error) {
  console.error(process.env.DEBUG ? error : error.message)
  process.exitCode = error instanceof UsageError ? 2 : error instanceof MissingPackages ? exitNoServer : 1
}
