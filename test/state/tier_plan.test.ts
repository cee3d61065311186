// What the planner decides, from plain data.

import { describe, expect, test } from "bun:test"
import { type PlanSegment, planTiers, type TierPlanInput } from "../../src/state/tier_plan.ts"

const KiB = 1024

type Segment = { -readonly [K in keyof PlanSegment]: PlanSegment[K] }
type Input = TierPlanInput<Segment, string>

let nextUid = 1

const segment = (what: Partial<Segment> = {}): Segment => ({
  uid: nextUid++,
  streamId: 1,
  seal: { fileBytes: 100 * KiB },
  isHot: true,
  isWarm: false,
  form: undefined,
  cold: undefined,
  isTold: what.cold !== undefined,
  isDamaged: false,
  isBusy: false,
  pins: 0,
  warmPins: 0,
  lastUse: 0,
  decodedReads: 0,
  warmSinceMs: 0,
  retryAtMs: 0,
  evictAtMs: 0,
  ...what,
})

const compressed = { isWarm: true, form: { fileBytes: 20 * KiB } }
const uploaded = { ...compressed, cold: { key: "k" } }

const input = (what: {
  readonly tier0?: Partial<Input["tier0"]>
  readonly tier1?: Partial<Input["tier1"]>
  readonly rest?: Partial<Input>
}): Input => ({
  nowMs: 1000,
  tier0: { usedBytes: 0, bytesMax: 1000 * KiB, isWanted: false, wantedStreams: new Set(), ...what.tier0 },
  tier1: { usedBytes: 0, bytesMax: 1000 * KiB, residencyMsMin: 0, ratio: 0.25, ...what.tier1 },
  hot: [],
  warm: [],
  actives: [],
  isCompressEager: false,
  isUploadEager: false,
  hasTier2: true,
  level: 8,
  slots: { compress: 1, upload: 1 },
  ...what.rest,
})

const jobsOf = (given: Input): Array<string> =>
  planTiers(given).jobs.map((job) => (job.type === "seal" ? `seal ${job.active}` : `${job.type} ${job.segment.uid}`))

describe("planTiers()", () => {
  test("does nothing while the budgets have room and nothing is eager", () => {
    const hot = [segment(), segment(compressed)]
    expect(jobsOf(input({ tier0: { usedBytes: 700 * KiB }, rest: { hot, warm: [hot[1]!] } }))).toEqual([])
  })

  test("compresses what was used longest ago when Tier 0 fills", () => {
    const [newer, older] = [segment({ lastUse: 2 }), segment({ lastUse: 1 })]
    const given = input({ tier0: { usedBytes: 800 * KiB }, rest: { hot: [newer, older] } })
    expect(jobsOf(given)).toEqual([`compress ${older.uid}`])
  })

  test("evicts what has a copy, used longest ago first, until there is room again", () => {
    const hot = [3, 1, 2].map((lastUse) => segment({ ...compressed, lastUse }))
    const given = input({ tier0: { usedBytes: 850 * KiB }, rest: { hot } })
    expect(jobsOf(given)).toEqual([`evictHot ${hot[1]!.uid}`, `evictHot ${hot[2]!.uid}`])
  })

  test("leaves what is pinned, busy, damaged or without a copy", () => {
    const hot = [
      segment({ ...compressed, pins: 1 }),
      segment({ ...compressed, isBusy: true }),
      segment({ isDamaged: true }),
      segment({ isBusy: true }),
    ]
    expect(jobsOf(input({ tier0: { usedBytes: 990 * KiB, isWanted: true }, rest: { hot } }))).toEqual([])
  })

  test("seals the largest active segment only when nothing else can make room", () => {
    const actives = [
      { active: "small", streamId: 1, bytes: 10 },
      { active: "large", streamId: 2, bytes: 20 },
    ]
    const full = { usedBytes: 990 * KiB, isWanted: true }
    expect(jobsOf(input({ tier0: full, rest: { actives } }))).toEqual(["seal large"])
    const hot = [segment()]
    expect(jobsOf(input({ tier0: full, rest: { actives, hot } }))).toEqual([`compress ${hot[0]!.uid}`])
    const damaged = [segment({ isDamaged: true })]
    expect(jobsOf(input({ tier0: full, rest: { actives, hot: damaged } }))).toEqual(["seal large"])
  })

  test("makes room in a stream's own budget with segments of that stream", () => {
    const [other, own] = [segment({ ...compressed, streamId: 2 }), segment({ ...compressed, lastUse: 9 })]
    const given = input({ tier0: { usedBytes: 100 * KiB, wantedStreams: new Set([1]) }, rest: { hot: [other, own] } })
    expect(jobsOf(given)).toEqual([`evictHot ${own.uid}`])
  })

  test("compresses faster the fuller Tier 0 is", () => {
    const levelAt = (usedBytes: number): number | undefined => {
      const job = planTiers(input({ tier0: { usedBytes }, rest: { hot: [segment()], isCompressEager: true } })).jobs[0]
      return job?.type === "compress" ? job.level : undefined
    }
    expect([100, 800, 900, 990].map((used) => levelAt(used * KiB))).toEqual([8, 8, 3, 1])
  })

  test("uploads when eager or when Tier 1 fills, and evicts warm files that Tier 2 has", () => {
    const [here, there] = [segment({ ...compressed, isHot: false }), segment({ ...uploaded, isHot: false })]
    const warm = [here, there]
    expect(jobsOf(input({ rest: { warm } }))).toEqual([])
    expect(jobsOf(input({ rest: { warm, isUploadEager: true } }))).toEqual([`upload ${here.uid}`])
    expect(jobsOf(input({ tier1: { usedBytes: 800 * KiB }, rest: { warm } }))).toEqual([
      `evictWarm ${there.uid}`,
      `upload ${here.uid}`,
    ])
    expect(jobsOf(input({ tier1: { usedBytes: 800 * KiB }, rest: { warm, hasTier2: false } }))).toEqual([])
  })

  test("keeps a warm file for its minimum residency unless the budget is exceeded, and says when to look again", () => {
    const warm = [segment({ ...uploaded, isHot: false, warmSinceMs: 900 })]
    const tier1 = { usedBytes: 800 * KiB, residencyMsMin: 500 }
    const plan = planTiers(input({ tier1, rest: { warm } }))
    expect(plan.jobs).toEqual([])
    expect(plan.wakeAtMs).toBe(1400)
    expect(jobsOf(input({ tier1: { ...tier1, usedBytes: 1001 * KiB }, rest: { warm } }))).toEqual([
      `evictWarm ${warm[0]!.uid}`,
    ])
  })

  test("starts no compression for which Tier 1 has no room, and makes it", () => {
    const hot = [segment()]
    const warm = [segment({ ...uploaded, isHot: false })]
    const tier0 = { usedBytes: 990 * KiB, isWanted: true }
    const tight = input({ tier0, tier1: { usedBytes: 990 * KiB, ratio: 1 }, rest: { hot, warm } })
    expect(jobsOf(tight)).toEqual([`evictWarm ${warm[0]!.uid}`])
  })

  test("lets one compression overdraw a Tier 1 that is too small for it", () => {
    const hot = [segment()]
    const tier0 = { usedBytes: 990 * KiB, isWanted: true }
    const given = input({ tier0, tier1: { usedBytes: 0, bytesMax: 64 * KiB, ratio: 1 }, rest: { hot } })
    expect(jobsOf(given)).toEqual([`compress ${hot[0]!.uid}`])
  })

  test("tries again only when a failed step is due", () => {
    const hot = [segment({ retryAtMs: 1500 })]
    const plan = planTiers(input({ rest: { hot, isCompressEager: true } }))
    expect(plan.jobs).toEqual([])
    expect(plan.wakeAtMs).toBe(1500)
  })

  test("leaves a copy that could not be taken away alone for a while, and takes others", () => {
    const hot = [segment({ ...compressed, evictAtMs: 1500 }), segment({ ...compressed, lastUse: 9 })]
    const tier0 = { usedBytes: 800 * KiB, isWanted: true }
    const plan = planTiers(input({ tier0, rest: { hot } }))
    expect(jobsOf(input({ tier0, rest: { hot } }))).toEqual([`evictHot ${hot[1]!.uid}`])
    expect(plan.wakeAtMs).toBe(1500)
  })

  test("never gives one segment two jobs, and decides the same from the same data", () => {
    let state = 1
    const random = (n: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 4294967296) * n)
    }
    for (let round = 0; round < 300; round++) {
      const all = Array.from({ length: random(12) }, () =>
        segment({
          ...[{}, compressed, uploaded][random(3)]!,
          isHot: random(4) > 0,
          isBusy: random(5) === 0,
          pins: random(5) === 0 ? 1 : 0,
          lastUse: random(5),
          streamId: random(2),
        }),
      )
      const given = input({
        tier0: { usedBytes: random(1100) * KiB, isWanted: random(2) === 0, wantedStreams: new Set([random(3)]) },
        tier1: { usedBytes: random(1100) * KiB, ratio: random(5) / 4 },
        rest: {
          hot: all.filter((one) => one.isHot),
          warm: all.filter((one) => one.isWarm),
          isCompressEager: random(2) === 0,
          isUploadEager: random(2) === 0,
          slots: { compress: random(2), upload: random(3) },
        },
      })
      const jobs = jobsOf(given)
      expect(jobsOf(given)).toEqual(jobs)
      const uids = jobs.filter((job) => !job.startsWith("seal")).map((job) => job.split(" ")[1])
      expect(new Set(uids).size).toBe(uids.length)
      for (const job of planTiers(given).jobs) {
        if (job.type === "seal") continue
        expect(job.segment.isBusy).toBe(false)
        const hasCopy = job.segment.isWarm || job.segment.cold !== undefined
        if (job.type === "evictHot") expect(hasCopy && job.segment.pins === 0).toBe(true)
        if (job.type === "evictWarm") expect(job.segment.cold).toBeDefined()
      }
    }
  })
})
