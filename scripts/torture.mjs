// `npm run torture -- [--minutes N] [--runtime NAMES]`: processes that write to the real disk are killed again and again for so many minutes on
// each runtime, and what they had acknowledged is verified each time. The first failure ends it with code 1 and leaves the store.

import { join } from "node:path"
import { install } from "./install.mjs"
import { takeOption, takeRuntimes } from "./options.mjs"
import { capture, endWithChildren } from "./process.mjs"
import { rootDirectory, runtimeNames } from "./runtimes.mjs"

/** One stream, segments on their way through the tiers, and many streams that share their syncs. */
const programs = ["test/crash/kill.test.ts", "test/crash/kill_tiers.test.ts", "test/crash/kill_streams.test.ts"]
const killsEach = 10
const minutesMost = 100_000

/** Gives the exit code: 0, 1 after a failure, 2 for an argument that cannot be used. */
export async function runTorture(args) {
  let taken
  try {
    taken = parse(args)
  } catch (error) {
    console.error(error.message)
    return 2
  }
  install()
  endWithChildren()
  for (const name of taken.names) {
    const until = Date.now() + taken.minutes * 60_000
    let kills = 0
    for (let round = 0; Date.now() < until; round++) {
      const program = programs[round % programs.length]
      const env = { ...process.env, BOP_AOF_KILLS: String(killsEach), BOP_AOF_KILL_KEEP: "1" }
      const launch = [join(rootDirectory, "scripts", "launch.mjs"), "test", "--runtime", name, program]
      const { code, output } = await capture(process.execPath, launch, { cwd: rootDirectory, env })
      if (code !== 0) {
        console.log(
          `${output.trim()}\n${name}: ${program} failed after ${kills} kills; the store was left where the message says`,
        )
        return 1
      }
      kills += killsEach
      console.log(
        `${name}: ${kills} kills, ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s left, ${program} passed`,
      )
    }
    console.log(`${name}: ${kills} kills in ${taken.minutes} minutes, nothing lost`)
  }
  return 0
}

function parse(args) {
  const { names, rest } = takeRuntimes(args, runtimeNames)
  const { values, rest: left } = takeOption(rest, "--minutes")
  if (left.length > 0) throw new Error(`there is no argument ${left[0]}, there are --minutes, --runtime`)
  const minutes = Number(values.at(-1) ?? 10)
  if (!(minutes > 0 && minutes <= minutesMost)) {
    throw new Error(`--minutes is ${values.at(-1)}, allowed is a number above 0 and at most ${minutesMost}`)
  }
  return { names, minutes }
}
