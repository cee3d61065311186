// Types of `runtimes.mjs` for the tests and benches that start processes of another runtime.

export type RuntimeName = "bun" | "deno" | "node"

/** The runtime that executes this. */
export const currentRuntime: RuntimeName

/** The repository, with a separator at the end. */
export const rootDirectory: string

export const runtimeNames: ReadonlyArray<RuntimeName>

/** What Node needs before a TypeScript file of this repository. */
export const nodeFlags: ReadonlyArray<string>

/** The absolute path of a runtime's binary; throws with what to do when there is none that works. */
export function runtimePath(name: RuntimeName): string

/** `[path, ...args]` that runs a TypeScript file of this repository on a runtime. */
export function runtimeCommand(name: RuntimeName, file: string, args?: ReadonlyArray<string>): [string, ...string[]]

/** The environment variables by which children find the runtimes without looking again. */
export function runtimeEnvironment(names?: ReadonlyArray<RuntimeName>): Record<string, string>
