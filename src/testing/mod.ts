/**
 * A disk in memory that can lose power, an object store that goes wrong, and a simulator that runs the whole store on both: for testing
 * programs that use the store, and the store itself.
 *
 * @module
 */

export { openWith } from "../api/manager.ts"
export * from "./faulty_object_store.ts"
export * from "./memory_disk.ts"
export { type SimCounts, type SimOptions, type SimResult, simulate } from "./simulation/mod.ts"
