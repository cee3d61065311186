/**
 * A disk in memory that can lose power: for testing programs that use the store, and the store itself.
 *
 * @module
 */

export { openWith } from "../api/manager.ts"
export * from "./faulty_object_store.ts"
export * from "./memory_disk.ts"
