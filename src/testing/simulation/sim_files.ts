/** What lies on the disk and in the object store of a closed store, against what its manifest says. */
import * as Effect from "effect/Effect"
import { segmentIndexOfName, segmentPath, segmentsPath, warmPathOf } from "../../core/files/paths.ts"
import { readRoot } from "../../core/files/root.ts"
import { open } from "../../core/manifest/manifest_log.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { segmentIndexOf } from "../../model/record_id.ts"
import { Directory } from "../../port/directory.ts"
import type { ManifestState } from "../../state/manifest_state.ts"
import { simCold, simRoot } from "./sim_options.ts"
import type { SimServices, SimWorld } from "./sim_world.ts"

/** Reads the manifest as another process would. */
const manifestOf: Effect.Effect<ManifestState, AofError, SimServices> = Effect.scoped(
  Effect.gen(function* () {
    const root = yield* readRoot(yield* Directory, simRoot)
    if (root === undefined) return yield* Effect.die(new Error("there is no root"))
    return (yield* open({ root: simRoot, rootId: root.rootId, readOnly: true })).state
  }),
)

const objectKeys = (world: SimWorld): Effect.Effect<ReadonlyArray<string>, AofError> => {
  if (world.plan.tier2 === "store") {
    return Effect.map(Effect.orDie(world.objects.list("")), ({ objects }) => objects.map(({ key }) => key))
  }
  const prefix = `${simCold}/objects/`
  return Effect.succeed(
    world.disk
      .paths()
      .filter((path) => path.startsWith(prefix))
      .map((path) => path.slice(prefix.length)),
  )
}

/** What is wrong, or nothing. `isSettled`: the tiers had nothing left to do. */
export const checkFiles = (
  world: SimWorld,
  isSettled: boolean,
): Effect.Effect<string | undefined, AofError, SimServices> =>
  Effect.gen(function* () {
    const state = yield* manifestOf
    const keys = yield* objectKeys(world)
    const local = new Set<string>()
    const cold = new Set<string>()
    /** Objects of uploads that have not ended: there or not. */
    const begun = new Set<string>()
    const paths = world.disk.paths()
    for (const stream of state.streams.values()) {
      const segments = segmentsPath(simRoot, stream.name)
      const firstIndex = segmentIndexOf(stream.trim?.firstRecordId ?? 0)
      local.add(`${segments}/current.sealed`)
      for (const index of [...stream.sealed.keys(), ...stream.opened.keys()]) {
        if (index >= firstIndex) local.add(segmentPath(segments, index))
      }
      // That a segment was opened is a hint that a crash may lose: the files say it too.
      const lastSealed = Math.max(0, ...stream.sealed.keys())
      for (const path of paths) {
        const index = path.startsWith(`${segments}/`) ? segmentIndexOfName(path.slice(segments.length + 1)) : undefined
        if (index !== undefined && index > lastSealed && index >= firstIndex) local.add(path)
      }
      for (const [index, { compressed, uploaded, uploading }] of stream.tiers) {
        if (compressed !== undefined) local.add(warmPathOf(simRoot, stream.name, index))
        if (uploaded !== undefined) cold.add(uploaded.key)
        if (uploading !== undefined) begun.add(uploading.key)
      }
    }
    const missing = [...cold].filter((key) => !keys.includes(key))
    if (missing.length > 0) return `the manifest names objects that are not there: ${missing.join(", ")}`
    if (!isSettled) return undefined
    const { deleteGraceMs, streams: plans, storeFaults } = world.plan
    const { sessions } = world.plan
    // A clock that was set back makes what was due wait again.
    const isSetBack = sessions.some(({ clockMs, clockJumps }) => clockMs < 0 || clockJumps.some(({ byMs }) => byMs < 0))
    const isDue = deleteGraceMs === 0 && !isSetBack
    const trimsItself = plans.some((one) => one.retentionBytes !== undefined || one.retentionMs !== undefined)
    // The close itself may have made a snapshot, which leaves files of the manifest to the next process.
    const late = [...state.deletes.values()].filter((one) => one.notBeforeMs < world.settledMs)
    if (late.length > 0 && isDue && !trimsItself) return `deletions are left: ${late.map(({ key }) => key).join(", ")}`
    const streams = `${simRoot}/streams/`
    // A segment that was opened just before a power cut and in which nothing was durable keeps its index taken.
    const isEmpty = (path: string): boolean =>
      path.endsWith(".seg") && (world.disk.contentOf(path)?.length ?? 0) <= segmentHeaderBytes
    const extra = paths.filter((path) => path.startsWith(streams) && !local.has(path) && !isEmpty(path))
    if (extra.length > 0) return `files that the manifest does not name: ${extra.join(", ")}`
    const { lateWrite, hang } = storeFaults
    // A put that arrives late may come behind the deletion of its object.
    if (lateWrite !== undefined || hang !== undefined) return undefined
    for (const key of state.deletes.keys()) cold.add(key)
    const orphans = keys.filter((key) => key.includes("/segments/") && !cold.has(key) && !begun.has(key))
    return orphans.length > 0 ? `objects that the manifest does not name: ${orphans.join(", ")}` : undefined
  })
