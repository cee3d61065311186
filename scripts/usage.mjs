// What `--help` of a command says that these scripts carry out. Programs that take the command line themselves (start, scrub, repair, the
// benches, and biome for fix) say their own.

import { stepNames } from "./check.mjs"

const runtimes = `  --runtime NAMES    bun, deno, node or several with commas`

const testOptions = `${runtimes}; default all
  --jobs N           files at a time; default 3, 1 on one processor
  --file-minutes N   a file may take so long; default 10`

/** Text by command. */
export const usages = {
  test: `npm test [-- OPTIONS] [PART...]: the tests whose file names contain one of the parts, all without any
${testOptions}`,

  "test:s3": `npm run test:s3 [-- OPTIONS] [PART...]: the same for test/s3, with a server that is made for it
${testOptions}`,

  simulate: `npm run simulate [-- OPTIONS]: the store in a simulated world, seed after seed
${runtimes}; default bun
  --seeds N          so many; default 100, without end with --minutes
  --minutes M        ends after so long
  --seed S           the first one; default fresh
  --steps K          steps of a run; default 120
  --exhaustive       crashes at every operation in turn
  --trace            prints what happens
  --shrink TRIES     to make a violation smaller; default 300`,

  mutants: `npm run mutants [-- OPTIONS]: each patch of test/mutants plants a bug, which has to be found
  --runtime NAME     bun, deno or node; default bun
  --only NAMES       names of patches, with commas`,

  torture: `npm run torture [-- OPTIONS]: processes that write to the real disk are killed again and again, and lose nothing
${runtimes}; default all
  --minutes N        on each runtime; default 10`,

  check: `npm run check [-- STEP...]: everything about the code that is not behaviour, or these steps of it
  STEP               ${stepNames.join(", ")}`,

  build: `npm run build: makes dist/, the JavaScript and the declarations of the package; takes no argument`,
}
