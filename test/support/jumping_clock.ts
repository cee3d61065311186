// A clock of a machine that is set ahead and back, while time goes on as it does.

import { layer } from "bop-aof/memory"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

export const hourMs = 3_600_000

export interface Jump {
  readonly clock: Clock.Clock
  /** How far the clock of the machine is off. */
  offsetMs: number
  /** Time that has passed besides that of the test. */
  passedMs: number
}

/** The clock of the runtime, and how far it is off. */
export const jumping = async (): Promise<Jump> => {
  const real = await Effect.runPromise(Clock.Clock)
  const millis = (): number => real.currentTimeMillisUnsafe() + jump.passedMs + jump.offsetMs
  const nanos = (): bigint => real.currentTimeNanosUnsafe() + BigInt(jump.passedMs + jump.offsetMs) * 1_000_000n
  const monotonic = (): bigint => real.monotonicTimeNanosUnsafe() + BigInt(jump.passedMs) * 1_000_000n
  const jump: Jump = {
    offsetMs: 0,
    passedMs: 0,
    clock: {
      currentTimeMillisUnsafe: millis,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: monotonic,
      monotonicTimeNanos: Effect.sync(monotonic),
      sleep: (duration) => real.sleep(duration),
    } as Clock.Clock,
  }
  return jump
}

/** Runs a program on a new memory disk with the clock. */
export const runWith = <E>(jump: Jump, program: Effect.Effect<void, E, any>): Promise<void> =>
  Effect.runPromise(
    Effect.scoped(program).pipe(Effect.provide(layer), Effect.provideService(Clock.Clock, jump.clock)) as Effect.Effect<
      void,
      E
    >,
  )
