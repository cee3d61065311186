/**
 * Group commit for peers that leave it to their users: what is appended while a commit runs, or in the same turn, becomes the next one's
 * batch. So every peer gets the most durable acknowledgements out of each sync.
 */

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Makes an `append` that resolves when the `commit` that holds the payload has ended. */
export const makeGroupCommit = (
  commit: (payloads: ReadonlyArray<Uint8Array>) => unknown,
): ((payload: Uint8Array) => Promise<void>) => {
  let payloads: Array<Uint8Array> = []
  let waiters: Array<Waiter> = []
  let isBusy = false
  const run = async (): Promise<void> => {
    const [taken, waiting] = [payloads, waiters]
    payloads = []
    waiters = []
    try {
      const committed = commit(taken)
      if (committed instanceof Promise) await committed
      for (const { resolve } of waiting) resolve()
    } catch (error) {
      for (const { reject } of waiting) reject(error)
    }
    isBusy = false
    // Those just woken append again in this turn.
    plan()
  }
  const plan = (): void => {
    if (isBusy) return
    isBusy = true
    setImmediate(() => {
      if (payloads.length > 0) return void run()
      isBusy = false
    })
  }
  return (payload) =>
    new Promise((resolve, reject) => {
      payloads.push(payload)
      waiters.push({ resolve, reject })
      plan()
    })
}
