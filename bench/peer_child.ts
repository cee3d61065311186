/** One phase of one contestant: `peer_child.ts FILE PARAMETERS`, the contestant's file and the parameters as JSON. */
import { argv } from "node:process"
import { pathToFileURL } from "node:url"
import type { Contestant } from "./contestant.ts"
import { runPhase } from "./peer_phases.ts"

const { contestant } = (await import(pathToFileURL(argv.at(-2)!).href)) as { readonly contestant: Contestant }
await runPhase(contestant)
