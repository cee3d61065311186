/**
 * Bytes that work which nobody waits for writes between two syncs. Few, because whoever syncs another file on the same disk meanwhile waits
 * for much of what is dirty by then.
 */
export const backgroundSyncBytes: number = 192 * 1024

/** The same while nobody syncs anything on that disk: more is faster, and whoever begins then waits for this at most. */
export const quietSyncBytes: number = 1024 * 1024
