/** V8's garbage collector, which has no name of its own. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** Collects what nobody uses, at once. */
export const collectV8Garbage = (): void => {
  setFlagsFromString("--expose-gc")
  runInNewContext("gc")()
}
