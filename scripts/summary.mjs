// The table at the end of `npm test`.

const columns = ["passed", "failed", "skipped"]

/** Prints a row for each runtime, then which tests failed, and which were skipped and why. */
export function printSummary(results) {
  console.log(`\n${"runtime".padEnd(9)}${[...columns, "seconds"].map((title) => title.padStart(9)).join("")}`)
  for (const result of results) {
    const counts = columns.map((column) => String(result[column]).padStart(9)).join("")
    console.log(`${result.name.padEnd(9)}${counts}${result.seconds.toFixed(1).padStart(9)}`)
  }
  for (const result of results) {
    if (result.passed + result.failed === 0) console.log(`no test ran on ${result.name}`)
    for (const { file, name } of result.failures) console.log(`failed on ${result.name}: ${file}: ${name}`)
  }
  for (const [test, runtimes] of skipsByTest(results)) console.log(`skipped on ${runtimes.join(", ")}: ${test}`)
}

/** The line that other programs read: sums over all runtimes. */
export function lastLine(results) {
  const sum = (column) => results.reduce((total, result) => total + result[column], 0)
  return columns.map((column) => `${sum(column)} ${column}`).join(", ")
}

/** A test that skips itself says why in brackets in its name: `[needs strace] …`. */
function skipsByTest(results) {
  const tests = new Map()
  for (const result of results) {
    for (const { file, name } of result.skips) {
      const key = `${file}: ${/\[[^\]]+\]/.test(name) ? name : `${name} (no reason given)`}`
      tests.set(key, [...(tests.get(key) ?? []), result.name])
    }
  }
  return tests
}
