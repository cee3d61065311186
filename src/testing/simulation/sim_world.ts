/**
 * The world of one simulation: time, a disk, an object store, and the process that uses them. It decides by its seed what goes wrong and
 * when the process dies, and notes all that it is asked in the trace.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import { PlanCompressor } from "../../api/repair.ts"
import { makeInlineCompressor } from "../../compressor/compressor.ts"
import { crc32 } from "../../format/checksum.ts"
import { makeMemoryStore } from "../../object_store/memory.ts"
import { Compressor } from "../../port/compressor.ts"
import { Directory } from "../../port/directory.ts"
import { EventLoop } from "../../port/event_loop.ts"
import type { ObjectStore } from "../../port/object_store.ts"
import type { RootLock } from "../../port/root_lock.ts"
import { FaultyObjectStore, type StoreFault, type StoreRequest } from "../faulty_object_store.ts"
import { type DiskFault, type DiskOperation, MemoryDisk } from "../memory_disk.ts"
import { simCodec } from "./sim_codec.ts"
import { crashChoice } from "./sim_crash.ts"
import { DiskFaults } from "./sim_disk_faults.ts"
import { SimLoop } from "./sim_loop.ts"
import { SimModel, type Survivors } from "./sim_model.ts"
import type { SimKeep, SimPlan, SimSession } from "./sim_plan.ts"
import { SimRandom } from "./sim_random.ts"
import { SimTrace } from "./sim_trace.ts"

/** The services of a process. */
export type SimServices = Directory | RootLock | EventLoop | Compressor

/** What was counted. */
export interface SimCounts {
  /** Operations of the disk and requests to the object store. */
  operations: number
  /** Steps of workloads. */
  steps: number
  /** Records appended. */
  records: number
  /** Power cuts. */
  cuts: number
  /** Processes killed. */
  kills: number
  /** Faults by kind. */
  readonly faults: Record<string, number>
}

/** A write of this run that the medium may turn out not to have done. */
export interface NotedWrite {
  readonly path: string
  readonly position: number
  readonly before: Uint8Array
  readonly content: Uint8Array
}

/** The wall clock of all worlds starts here. */
const startMs = Date.UTC(2026, 0, 1)
const notedWritesMax = 64
/** One alone may be tried again. */
const failingOperations = 3

const simCompressor = (directory: Directory, eventLoop: EventLoop): Compressor => ({
  ...makeInlineCompressor({ directory, eventLoop, loadCodec: () => Promise.resolve(simCodec), codec: simCodec }),
  decodeFrameUnsafe: simCodec.decompress,
  decodeRunUnsafe: simCodec.decompressRun,
})

export class SimWorld {
  readonly plan: SimPlan
  readonly loop: SimLoop
  readonly trace: SimTrace
  readonly model: SimModel = new SimModel()
  readonly counts: SimCounts = { operations: 0, steps: 0, records: 0, cuts: 0, kills: 0, faults: {} }
  disk: MemoryDisk
  /** What Tier 2 asks, and what is behind it. */
  readonly store: ObjectStore
  readonly objects: ObjectStore
  /** True while disk and store may misbehave. */
  hasFaults = false
  /** When a store had last settled before its close, on its own clock. */
  settledMs = 0
  /** False once the process is to be dead: the running task is its last. */
  isAlive = true
  /** Operation of this process before which it ends; 0 for none. */
  endAt = 0
  /** Which operations count for it. */
  endKind: SimSession["endKind"] = "any"
  /** Operation of this process from which on a few fail; 0 for none. */
  failAt = 0
  /** The disk as it was at the end. */
  #left: MemoryDisk | undefined
  #operations = 0
  readonly #diskRandom: SimRandom
  readonly #storeRandom: SimRandom
  readonly #cutRandom: SimRandom
  readonly #diskFaults: DiskFaults
  readonly notedWrites: Array<NotedWrite> = []
  #context: Context.Context<SimServices> | undefined

  constructor(plan: SimPlan, keepsTrace: boolean) {
    this.plan = plan
    const { seed } = plan
    this.trace = new SimTrace(keepsTrace)
    this.loop = new SimLoop({ random: new SimRandom(seed, 2), disorder: plan.disorder, wallMs: startMs })
    this.#diskRandom = new SimRandom(seed, 3)
    this.#storeRandom = new SimRandom(seed, 4)
    this.#cutRandom = new SimRandom(seed, 5)
    this.#diskFaults = new DiskFaults(plan.diskFaults, new SimRandom(seed, 6))
    const nextTurn = (callback: () => void): void => this.#afterDisk(callback)
    const { mapsFiles, batchFilesMin } = plan
    this.disk = new MemoryDisk({ mapsFiles, batchFilesMin, syncsAtOnce: true, nextTurn })
    this.objects = makeMemoryStore()
    this.store = this.faultyStore(this.objects)
  }

  /** A store that is slow, and misbehaves while stores may. */
  faultyStore(objects: ObjectStore): ObjectStore {
    return new FaultyObjectStore(this.#slowStore(objects), { script: (request) => this.#storeFault(request) })
  }

  /** Somebody sets the wall clock; time goes on as before. */
  moveClock(byMs: number): void {
    this.loop.wallMs += byMs
    this.trace.note(this.loop.nowMs, "clock", byMs)
  }

  /** A new process on the disk as it is. */
  startProcess(endAt: number, endKind: SimSession["endKind"] = "any"): void {
    this.isAlive = true
    this.model.isFrozen = false
    this.#operations = 0
    this.endAt = endAt
    this.endKind = endKind
    this.failAt = 0
    this.disk.onOperation = (operation) => this.#onOperation(operation)
    this.#context = this.services()
  }

  /** The services of a further process beside the one that runs, on its disk or on that of another machine. */
  services(disk: MemoryDisk = this.disk): Context.Context<SimServices> {
    const services = disk.services()
    const eventLoop: EventLoop = { nextTurn: (callback) => this.loop.schedule(callback) }
    return services.pipe(
      Context.add(EventLoop, eventLoop),
      Context.add(Compressor, simCompressor(Context.get(services, Directory), eventLoop)),
      Context.add(PlanCompressor, simCompressor),
      Context.add(Scheduler.Scheduler, this.loop.scheduler),
      Context.add(Clock.Clock, this.loop.clock),
      Context.add(Random.Random, this.loop.chance),
    )
  }

  /** Starts an effect in the process, at once. */
  fork<A, E>(
    effect: Effect.Effect<A, E, SimServices>,
    context: Context.Context<SimServices> = this.#context as Context.Context<SimServices>,
  ): Fiber.Fiber<A, E> {
    return Effect.runForkWith(context)(effect)
  }

  /** The process ends here and now, by itself or because it is asked to. */
  die(): void {
    if (!this.isAlive) return
    this.#left = this.disk.fork()
    this.isAlive = false
    this.model.isFrozen = true
  }

  /** Buries the process: what it left is what is on the disk, after a power cut in part. */
  bury(how: "close" | "kill" | "cut", keep: SimKeep): void {
    this.loop.clear()
    this.disk.onOperation = undefined
    const disk = this.#left ?? this.disk
    this.#left = undefined
    this.disk = disk
    if (how === "cut") {
      this.counts.cuts++
      disk.crash(crashChoice(keep, this.#cutRandom, disk.candidates().length))
    } else {
      if (how === "kill") this.counts.kills++
      disk.kill()
    }
    const survivors: Survivors = how === "close" ? "all" : how === "kill" ? "written" : "durable"
    this.model.end(survivors)
    this.trace.note(this.loop.nowMs, "end", how, keep)
  }

  #onOperation(operation: DiskOperation): DiskFault {
    if (!this.isAlive) return "EIO"
    const { kind, path, target = "", from, to, content } = operation
    this.counts.operations++
    if (this.endKind === "any" || this.endKind === kind) this.#operations++
    const sum = content === undefined ? 0 : crc32(content, 0)
    this.trace.note(this.loop.nowMs, kind, path, target, from, to, sum)
    if (this.endAt > 0 && this.#operations >= this.endAt) {
      this.die()
      return "EIO"
    }
    const isSegment = /\/(?:segments|warm)\/\d+\.seg/.test(path)
    if (this.plan.damage !== "none" && content !== undefined && isSegment) this.#noteWrite(path, from, content)
    const isFailing =
      this.failAt > 0 && this.#operations >= this.failAt && this.#operations < this.failAt + failingOperations
    const fault = isFailing ? "EIO" : this.hasFaults ? this.#diskFaults.faultOf(kind) : undefined
    if (fault !== undefined) this.#count(`disk ${kind} ${fault}`)
    return fault
  }

  #noteWrite(path: string, position: number, content: Uint8Array): void {
    const before = this.disk.contentOf(path)?.slice(position, position + content.length) ?? new Uint8Array(0)
    this.notedWrites.push({ path, position, before, content: content.slice() })
    if (this.notedWrites.length > notedWritesMax) this.notedWrites.shift()
  }

  /** Counts a fault of a kind. */
  #count(kind: string): void {
    this.counts.faults[kind] = (this.counts.faults[kind] ?? 0) + 1
    this.trace.note(this.loop.nowMs, "fault", kind)
  }

  /** What the medium did. */
  countDamage(kind: string): void {
    this.#count(`medium ${kind}`)
  }

  #afterDisk(callback: () => void): void {
    const { diskMs, slowDisk } = this.plan
    const random = this.#diskRandom
    if (slowDisk > 0 && this.hasFaults && random.chance(slowDisk)) {
      this.#count("disk slow")
      this.loop.later(1000 + random.below(60_000), callback)
    } else if (diskMs === 0) this.loop.schedule(callback)
    else this.loop.later(random.double() * diskMs, callback)
  }

  #storeFault({ kind, key }: StoreRequest): StoreFault | undefined {
    this.counts.operations++
    this.trace.note(this.loop.nowMs, "store", kind, key)
    if (!this.hasFaults) return undefined
    const { outageEveryMs, outageMs, storeFaults } = this.plan
    let fault: StoreFault | undefined
    if (outageEveryMs > 0 && this.loop.nowMs % (outageEveryMs + outageMs) >= outageEveryMs) fault = "timeoutBefore"
    else {
      let left = this.#storeRandom.double()
      for (const [name, rate] of Object.entries(storeFaults) as ReadonlyArray<[StoreFault, number]>) {
        if (left < rate) fault = name
        left -= rate
        if (fault !== undefined) break
      }
    }
    if (fault !== undefined) this.#count(`store ${fault}`)
    return fault
  }

  /** A store whose requests arrive after a while, and whose answers take a while too. */
  #slowStore(store: ObjectStore): ObjectStore {
    const slowly = <A, E>(request: Effect.Effect<A, E>): Effect.Effect<A, E> => {
      const pause = Effect.suspend(() => Effect.sleep(this.#storeRandom.double() * this.plan.storeMs))
      return Effect.andThen(
        pause,
        Effect.tap(request, () => pause),
      )
    }
    return {
      kind: store.kind,
      place: store.place,
      put: (key, body, options) => slowly(store.put(key, body, options)),
      get: (key, range) => slowly(store.get(key, range)),
      head: (key) => slowly(store.head(key)),
      remove: (key) => slowly(store.remove(key)),
      list: (prefix, options) => slowly(store.list(prefix, options)),
    }
  }
}
