/** Where a worker can be started from, asked without a prompt and without a line on the terminal when it cannot. */
import { closeSync, existsSync, openSync } from "node:fs"
import { devNull } from "node:os"
import { pathToFileURL } from "node:url"

/** What to start the module `file` from: itself, or a program that imports it. Undefined when it cannot be started now, and perhaps later; throws when it never can. */
export const workerSource = (file: URL): URL | undefined => {
  if (file.protocol !== "file:") return remoteSource(file)
  if (!mayRead(file)) throw new Error("Deno may not read the worker's file")
  // A bundle may have come without it; Deno would write an error to the terminal then.
  if (!existsSync(file)) throw new Error("the worker's file is not there")
  return hasDescriptors() ? file : undefined
}

/** A package of JSR comes from its server. Deno starts such a worker only by way of a program that imports it. */
const remoteSource = ({ href, hostname, port, protocol }: URL): URL | undefined => {
  const host = `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`
  if (denoPermissions === undefined || !isGranted({ name: "import", host })) {
    throw new Error("the worker's module may not be imported")
  }
  if (!hasDescriptors()) return undefined
  const program = `import ${JSON.stringify(href)}`
  return new URL(`data:text/javascript,${encodeURIComponent(program)}`)
}

type Permission = { readonly name: "read"; readonly path: URL } | { readonly name: "import"; readonly host: string }

/** As much of Deno as is used here. */
const denoPermissions: { readonly querySync: (permission: Permission) => { readonly state: string } } | undefined = (
  globalThis as { readonly Deno?: { readonly permissions: NonNullable<typeof denoPermissions> } }
).Deno?.permissions

/** Asked first, because Deno would ask the user, or write an error to the terminal, when a worker is not allowed. */
const isGranted = (permission: Permission): boolean => denoPermissions?.querySync(permission).state === "granted"

const mayRead = (path: URL): boolean => denoPermissions === undefined || isGranted({ name: "read", path })

/** File descriptors that a worker takes at most when it starts, and its job: an event loop, its own modules, two files. */
const workerDescriptors = 24

/** Bun and Deno end the whole process, or never start the worker, when descriptors run out while it starts. */
const hasDescriptors = (): boolean => {
  if (!mayRead(pathToFileURL(devNull))) return true
  const open: Array<number> = []
  try {
    for (let i = 0; i < workerDescriptors; i++) open.push(openSync(devNull, "r"))
    return true
  } catch (error) {
    const { code } = error as { readonly code?: string }
    return code !== "EMFILE" && code !== "ENFILE"
  } finally {
    for (const descriptor of open) closeSync(descriptor)
  }
}
