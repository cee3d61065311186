/**
 * Runs all contestants of `bench:peers` side by side: for each round, size and workload one after the other, each phase in a process of its own,
 * and each round begins with another contestant, so that what else the machine does meets all of them alike.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { fileCommand, runCommand, runCommandKilled } from "./children.ts"
import type { Contestant, Workload } from "./contestant.ts"
import { callersNode, type Installed } from "./peer_install.ts"
import type { PhaseName, PhaseParameters, PhaseResult } from "./peer_phases.ts"

const childFile = fileURLToPath(new URL("peer_child.ts", import.meta.url))
/** How long the writer of W6 appends on before it is killed. */
const killedAfterMs = 100
const killedPayloadBytes = 1024

/** One contestant on one runtime; the limit has neither. */
export interface Entry {
  readonly label: string
  readonly contestant: Contestant | undefined
  readonly runtime: RuntimeName
  readonly file: string
  readonly installed: Installed
}

/** How much of each workload is done. */
export interface Amounts {
  /** W1, at this payload size, before a contestant's scale. */
  readonly appendBytes: number
  readonly appendsMax: number
  readonly acks: number
  readonly reads: number
  /** When W2, W3 and W5 end at the latest. */
  readonly msMax: number
  /** W6. */
  readonly killedBytes: number
}

export interface RunParameters {
  readonly directory: string
  /** The program of the limit, when it is an entry. */
  readonly limitProgram: string
  readonly entries: ReadonlyArray<Entry>
  readonly workloads: ReadonlyArray<Workload>
  readonly sizes: ReadonlyArray<number>
  readonly rounds: number
  readonly amounts: Amounts
  readonly timeoutMs: number
  readonly say: (line: string) => void
  /** Called after each round with what there is so far. */
  readonly onRound?: (result: RunResult) => void
}

/** One measured value of one entry. */
export interface Sample extends PhaseResult {
  readonly label: string
  readonly workload: Workload
  readonly payloadBytes: number
  readonly mode: string
  readonly round: number
  /** What is compared: records, acknowledgements or reads a second; seconds (W6); bytes on disk a payload byte (W7). */
  readonly value: number
}

export interface Failure {
  readonly label: string
  readonly workload: Workload
  readonly payloadBytes: number
  readonly message: string
}

export interface RunResult {
  readonly samples: ReadonlyArray<Sample>
  readonly failures: ReadonlyArray<Failure>
}

type Step = (entry: Entry, directory: string) => Promise<void>

/** Runs everything. */
export class PeerRun {
  readonly #parameters: RunParameters
  readonly #samples: Array<Sample> = []
  readonly #failures: Array<Failure> = []
  #round = 0

  constructor(parameters: RunParameters) {
    this.#parameters = parameters
  }

  async run(): Promise<RunResult> {
    const { rounds, sizes, workloads } = this.#parameters
    for (this.#round = 0; this.#round < rounds; this.#round++) {
      for (const payloadBytes of sizes) await this.#runSize(payloadBytes)
      if (workloads.includes("W6"))
        await this.#inTurn("W6", killedPayloadBytes, (...args) => this.#killAndReopen(...args))
      this.#parameters.onRound?.({ samples: this.#samples, failures: this.#failures })
    }
    return { samples: this.#samples, failures: this.#failures }
  }

  async #runSize(payloadBytes: number): Promise<void> {
    const { workloads } = this.#parameters
    const asks = (...names: ReadonlyArray<Workload>): boolean => names.some((name) => workloads.includes(name))
    if (asks("W1", "W4", "W5", "W7")) {
      const directories = new Map<Entry, string>()
      await this.#inTurn(
        "W1",
        payloadBytes,
        async (entry, directory) => {
          await this.#append(entry, directory, payloadBytes)
          directories.set(entry, directory)
        },
        true,
      )
      for (const workload of ["W4", "W5"] as const) {
        if (!workloads.includes(workload)) continue
        const modesOf = (entry: Entry): ReadonlyArray<string> =>
          workload === "W4" ? (entry.contestant?.scanModes ?? [""]) : [""]
        await this.#inTurn(workload, payloadBytes, async (entry) => {
          const directory = directories.get(entry)
          if (directory === undefined) return
          for (const mode of modesOf(entry)) await this.#read(entry, directory, workload, payloadBytes, mode)
        })
      }
      for (const directory of directories.values()) fs.rmSync(directory, { recursive: true, force: true })
    }
    for (const workload of ["W2", "W3"] as const) {
      if (workloads.includes(workload))
        await this.#inTurn(workload, payloadBytes, (entry, directory) =>
          this.#ack(entry, directory, workload, payloadBytes),
        )
    }
  }

  /** One workload of all entries, one after the other; a failure is noted, and the next one goes on. */
  async #inTurn(workload: Workload, payloadBytes: number, step: Step, keeps = false): Promise<void> {
    const { directory: parent, entries, say } = this.#parameters
    const first = this.#round % entries.length
    for (const entry of [...entries.slice(first), ...entries.slice(0, first)]) {
      if (entry.contestant !== undefined && !entry.contestant.workloads.includes(workload)) continue
      if (this.#failures.some(({ label, workload: failed }) => label === entry.label && failed === workload)) continue
      say(`round ${this.#round + 1}, ${payloadBytes} B, ${workload}, ${entry.label}`)
      const directory = fs.mkdtempSync(join(parent, "root-"))
      // What those before have left to be written is not for this one to pay.
      spawnSync("sync")
      try {
        await step(entry, directory)
      } catch (error) {
        this.#failures.push({ label: entry.label, workload, payloadBytes, message: (error as Error).message })
      }
      if (!keeps) fs.rmSync(directory, { recursive: true, force: true })
    }
  }

  #recordsOf({ contestant }: Entry, payloadBytes: number): number {
    const { appendBytes, appendsMax } = this.#parameters.amounts
    const records = Math.min(appendsMax, appendBytes / payloadBytes) * (contestant?.scale ?? 1)
    return Math.max(200, Math.round(records))
  }

  async #append(entry: Entry, directory: string, payloadBytes: number): Promise<void> {
    const records = this.#recordsOf(entry, payloadBytes)
    const result =
      entry.contestant === undefined
        ? await this.#limit("append", join(directory, "file"), payloadBytes, records)
        : await this.#phase(entry, "append", { workload: "W1", directory, payloadBytes, amount: records })
    this.#add(entry, "W1", payloadBytes, "", { ...result, value: result.rate! })
    this.#add(entry, "W7", payloadBytes, "", { value: result.diskBytes! / (records * payloadBytes) })
  }

  async #read(
    entry: Entry,
    directory: string,
    workload: "W4" | "W5",
    payloadBytes: number,
    mode: string,
  ): Promise<void> {
    const { reads } = this.#parameters.amounts
    const file = join(directory, "file")
    const amount = workload === "W4" ? this.#recordsOf(entry, payloadBytes) : reads
    const ask = { workload, directory, payloadBytes, amount, mode }
    const result =
      entry.contestant !== undefined
        ? await this.#phase(entry, workload === "W4" ? "scan" : "point", ask)
        : workload === "W4"
          ? await this.#limit("scan", file)
          : await this.#limit("point", file, reads)
    this.#add(entry, workload, payloadBytes, mode, { ...result, value: result.rate! })
  }

  async #ack(entry: Entry, directory: string, workload: "W2" | "W3", payloadBytes: number): Promise<void> {
    const { acks, msMax } = this.#parameters.amounts
    const producers = workload === "W2" ? 64 : 1
    const file = join(directory, "file")
    // The program does not look at the time: an amount that takes about as long where a sync takes a millisecond.
    const groups = Math.min(Math.ceil(acks / producers), msMax)
    const result =
      entry.contestant === undefined
        ? await this.#limit("ack", file, payloadBytes, groups * producers, producers)
        : await this.#phase(entry, "ack", { workload, directory, payloadBytes, amount: acks, producers })
    this.#add(entry, workload, payloadBytes, "", { ...result, value: result.rate! })
  }

  async #killAndReopen(entry: Entry, directory: string): Promise<void> {
    const { amounts, timeoutMs } = this.#parameters
    const payloadBytes = killedPayloadBytes
    const records = Math.ceil(amounts.killedBytes / payloadBytes)
    let result: PhaseResult
    if (entry.contestant === undefined) {
      const file = join(directory, "file")
      await this.#limit("append", file, payloadBytes, records)
      try {
        fs.writeFileSync("/proc/sys/vm/drop_caches", "3")
      } catch {
        // Not permitted: all are measured with a warm cache then.
      }
      result = await this.#limit("reopen", file)
    } else {
      const command = this.#command(entry, "killed", { workload: "W1", directory, payloadBytes, amount: records })
      await runCommandKilled(command, { label: `${entry.label} killed`, timeoutMs, showsErrors: false }, killedAfterMs)
      spawnSync("sync")
      result = await this.#phase(entry, "reopen", { workload: "W6", directory, payloadBytes, amount: records })
    }
    this.#add(entry, "W6", payloadBytes, "", { ...result, value: result.seconds! })
  }

  #add(
    { label }: Entry,
    workload: Workload,
    payloadBytes: number,
    mode: string,
    result: PhaseResult & { readonly value: number },
  ): void {
    if (!this.#parameters.workloads.includes(workload)) return
    this.#samples.push({ ...result, label, workload, payloadBytes, mode, round: this.#round })
  }

  #limit(...args: ReadonlyArray<string | number>): Promise<PhaseResult> {
    const { limitProgram, timeoutMs } = this.#parameters
    return runCommand<PhaseResult>([limitProgram, ...args.map(String)], { label: `limit ${args[0]}`, timeoutMs })
  }

  #phase(entry: Entry, phase: PhaseName, ask: Partial<PhaseParameters>): Promise<PhaseResult> {
    const label = `${entry.label} ${phase}`
    return runCommand<PhaseResult>(this.#command(entry, phase, ask), {
      label,
      timeoutMs: this.#parameters.timeoutMs,
      showsErrors: false,
    })
  }

  #command(entry: Entry, phase: PhaseName, ask: Partial<PhaseParameters>): [string, ...Array<string>] {
    const { packagesFolder, programs, bundle } = entry.installed
    const { msMax } = this.#parameters.amounts
    const parameters = JSON.stringify({ phase, packagesFolder, programs, msMax, producers: 1, mode: "", ...ask })
    if (bundle !== undefined) return [callersNode(), bundle, parameters]
    return fileCommand(entry.runtime, childFile, [entry.file, parameters])
  }
}
