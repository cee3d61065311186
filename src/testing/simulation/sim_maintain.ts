/**
 * What an operator does to a store: scrub it while it is open, repair it while it is closed. Where nothing is damaged a scrub finds nothing and
 * a repair changes nothing; without its manifest every record is there again after a repair.
 */
import * as Effect from "effect/Effect"
import { AofManager, type AofManager as Manager } from "../../api/effect.ts"
import { crc32 } from "../../format/checksum.ts"
import type { RepairEntry, RepairReport } from "../../model/repair.ts"
import type { ScrubFinding } from "../../model/scrub.ts"
import { Directory } from "../../port/directory.ts"
import { checkEntries, indexOf } from "./sim_damage.ts"
import { optionsOf, simRoot } from "./sim_options.ts"
import { SimProcess, type SimViolation } from "./sim_process.ts"
import { runMain } from "./sim_session.ts"
import type { SimServices, SimWorld } from "./sim_world.ts"

const limitMs = 24 * 3_600_000

/** Scrubs and repairs a store that was closed in order, loses its manifest and repairs it again; gives what is wrong. */
export const runMaintenance = (world: SimWorld): string | undefined =>
  runAs(world, (process) => scrubbed(process, [])) ??
  runAs(world, repairedForNothing) ??
  // The manifest also says whose a bucket is: without it the root has to be taken over.
  (world.plan.tier2 === "none" ? runAs(world, withoutManifest) : undefined)

/** Scrubs and repairs a store some of whose files were damaged: nothing else is reported, and nothing else is lost. */
export const runDamagedMaintenance = (world: SimWorld, hit: ReadonlyArray<string>): string | undefined =>
  runAs(world, (process) => scrubbed(process, hit)) ?? runAs(world, (process) => repairedDamaged(process, hit))

/** Runs a process in which nothing fails by itself; gives what is wrong. */
export const runAs = (
  world: SimWorld,
  main: (process: SimProcess) => Effect.Effect<void, SimViolation, SimServices>,
): string | undefined => {
  world.hasFaults = false
  world.startProcess(0)
  const process = new SimProcess(world)
  const fault = runMain(world, process, main(process))
  world.bury("close", "nothing")
  return fault
}

/** A scrub reports segments that were hit, and nothing else. */
const scrubbed = (process: SimProcess, hit: ReadonlyArray<string>): Effect.Effect<void, SimViolation, SimServices> =>
  Effect.gen(function* () {
    const manager = yield* process.within("opening to scrub", limitMs, process.open)
    const { findings, skipped } = yield* process.within("scrubbing", limitMs, manager.scrub())
    const isHit = ({ stream, segmentIndex }: ScrubFinding): boolean =>
      stream !== undefined && hit.some((path) => indexOf(path, stream).some((index) => index === segmentIndex))
    const found = findings.find((one) => !isHit(one)) ?? skipped[0]
    if (found !== undefined) {
      process.violate(`a scrub of a store damaged in [${hit.join(", ")}] reports ${JSON.stringify(found)}`)
    }
    yield* closed(process, manager)
  })

const repairedDamaged = (
  process: SimProcess,
  hit: ReadonlyArray<string>,
): Effect.Effect<void, SimViolation, SimServices> => Effect.andThen(repaired(process), checkRepaired(process, hit))

const repairedForNothing = (process: SimProcess): Effect.Effect<void, SimViolation, SimServices> =>
  Effect.map(repaired(process), ({ entries, skipped }) => {
    // An empty segment of a crash keeps its index taken, and is told each time.
    const found = entries.find(({ outcome }) => outcome !== "cut") ?? skipped[0]
    if (found !== undefined) process.violate(`a repair of an undamaged store reports ${JSON.stringify(found)}`)
  })

const withoutManifest = (process: SimProcess): Effect.Effect<void, SimViolation, SimServices> =>
  Effect.gen(function* () {
    const directory = yield* Directory
    yield* process.within("removing the manifest", limitMs, directory.removeDirectory(`${simRoot}/manifest`))
    const report = yield* repaired(process)
    const { streams } = process.world.model
    // Only the manifest knew of the trim: without it what was before the first segment may as well be lost.
    const isTrimmed = (one: RepairEntry): boolean =>
      one.from === 0 &&
      streams.some(({ name, trimAsked, plan }) => name === one.stream && (trimAsked > 0 || plan.trimsItself))
    const lost = report.entries.filter((one) => one.outcome === "lost" && !isTrimmed(one))
    if (lost.length + report.skipped.length > 0) {
      process.violate(`a repair without a manifest reports ${JSON.stringify(lost[0] ?? report.skipped[0])}`)
    }
    yield* checkRepaired(process, [])
  })

/** Repairs a store, as it was said in a plan that changed nothing. */
const repaired = (process: SimProcess): Effect.Effect<RepairReport, SimViolation, SimServices> =>
  Effect.gen(function* () {
    const { world } = process
    const { tier2 } = optionsOf(world.plan, world)
    const before = filesOf(world)
    const plan = AofManager.repair({ root: simRoot, tier2, plan: true })
    const planned = yield* process.within("planning a repair", limitMs, plan)
    if (filesOf(world) !== before) process.violate("the plan of a repair has changed files")
    const done = yield* process.within("repairing", limitMs, AofManager.repair({ root: simRoot, tier2 }))
    const [said = [], did = []] = [planned, done].map(({ entries, skipped }) =>
      [...entries, ...skipped].map((one) => JSON.stringify(one)),
    )
    const other = did.findIndex((one, at) => one !== said[at])
    if (said.length !== did.length || other >= 0) {
      const where = `of ${said.length} findings where ${did.length} were found`
      process.violate(`the plan of a repair told ${where}; ${said[other]} was ${did[other]}`)
    }
    return done
  })

/** Names and bytes of all files, as one sum. */
const filesOf = ({ disk }: SimWorld): string =>
  disk
    .paths()
    .filter((path) => path.startsWith(simRoot))
    .map((path) => `${path} ${crc32(disk.contentOf(path) ?? new Uint8Array(0), 0)}`)
    .join("\n")

const closed = (process: SimProcess, manager: Manager): Effect.Effect<void, SimViolation> =>
  Effect.andThen(process.within("closing", limitMs, manager.close()), process.leave)

/** Opens what was repaired: every record is there as it was, but for those of segments that were hit. */
const checkRepaired = (
  process: SimProcess,
  hit: ReadonlyArray<string>,
): Effect.Effect<void, SimViolation, SimServices> =>
  Effect.gen(function* () {
    const manager = yield* process.within("opening what was repaired", limitMs, process.open)
    for (const stream of process.world.model.present) {
      // One in which nothing was durable nobody but the manifest may know of.
      if (stream.known().length === 0) continue
      const opening = manager.stream(stream.name, { create: false })
      const aof = yield* process.within(`opening the repaired ${stream.name}`, limitMs, opening)
      yield* checkEntries(process, { stream, aof, hit })
      if (process.violation !== undefined) return
    }
    yield* closed(process, manager)
  })
