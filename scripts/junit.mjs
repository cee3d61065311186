// Reads the JUnit reports of the three runtimes: just the elements that they write, nested suites included.

const entities = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" }

/** `{ name, seconds, outcome: "passed" | "failed" | "skipped" }` for each test case, in order. */
export function readReport(xml) {
  const cases = []
  const suites = []
  let open
  for (const [, closing, tag, attributes, selfClosing] of elements(xml)) {
    if (tag === "testsuite") {
      if (closing) suites.pop()
      else if (!selfClosing) suites.push(attribute(attributes, "name"))
    } else if (tag === "testcase" && !closing) {
      // The outermost suite is the file; Bun nests a suite for each `describe`, the shim has it in the name.
      const name = [...suites.slice(1), attribute(attributes, "name")].join(" > ")
      open = { name, seconds: Number(attribute(attributes, "time")), outcome: "passed" }
      cases.push(open)
    } else if (open && (tag === "failure" || tag === "error")) {
      open.outcome = "failed"
    } else if (open && tag === "skipped") {
      open.outcome = "skipped"
    }
  }
  return cases
}

/** Text and CDATA between elements is left out first, so that a message can't look like an element. */
function elements(xml) {
  const text = xml.replace(/<!\[CDATA\[[\s\S]*?\]\]>|<!--[\s\S]*?-->/g, "")
  return text.matchAll(/<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"]*")*)\s*(\/?)>/g)
}

function attribute(attributes, name) {
  const value = new RegExp(`\\s${name}="([^"]*)"`).exec(attributes)?.[1] ?? ""
  return value.replace(/&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g, (whole, hex, decimal, entity) => {
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (decimal) return String.fromCodePoint(Number(decimal))
    return entities[entity] ?? whole
  })
}
