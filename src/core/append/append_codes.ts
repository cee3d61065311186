/** What a call that never waits returns instead of a record id. */

/** Tier 0 is full; nothing was taken. */
export const APPEND_ADMISSION: -1 = -1
/** Two sealed segments are not yet durable; nothing was taken. */
export const APPEND_ROLLOVER: -2 = -2
/** Too many bytes wait for a sync, or syncing fails; nothing was taken. */
export const APPEND_FLUSH: -3 = -3
