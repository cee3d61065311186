/**
 * Bytes that work which nobody waits for writes between two syncs. Few, because whoever syncs another file on the same disk meanwhile waits
 * for much of what is dirty by then.
 */
export const backgroundSyncBytes: number = 192 * 1024
