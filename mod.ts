/**
 * A durable, tiered, append-only log for Deno, Bun and Node.
 *
 * ```ts
 * import { AofManager } from "bop-aof"
 *
 * const manager = await AofManager.open({ root: "./data" })
 * const orders = await manager.stream("orders")
 * await orders.append("hello")
 * for await (const record of orders.read({ from: "start" })) console.log(record.text())
 * await manager.close()
 * ```
 *
 * @module
 */
export * from "./src/api/exports.ts"
export { AofManager } from "./src/api/manager.ts"
