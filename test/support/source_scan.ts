// Reads TypeScript sources just far enough for `test/tidy.test.ts`: which characters are code, which modules a file
// imports, and where functions begin and end. Not a parser: it knows the shapes that occur here, and errs on the side
// of finding less.

/** A function body found in a source; lines count from 1. */
export interface FunctionSpan {
  readonly line: number
  readonly lines: number
}

/** An import or re-export of a source; lines count from 1. */
export interface ImportSpan {
  readonly line: number
  readonly specifier: string
}

/** The text with comments and the insides of strings, templates and regular expressions replaced by spaces. */
export function blankNonCode(text: string): string {
  const out = text.split("")
  // Each open template has the number of braces that are open inside of its `${`.
  const templates: number[] = []
  let position = 0
  while (position < text.length) {
    const start = position
    const two = text.slice(position, position + 2)
    const one = two[0]
    if (two === "//") position = lineEnd(text, position)
    else if (two === "/*") position = after(text, "*/", position + 2)
    else if (one === '"' || one === "'") position = stringEnd(text, position)
    else if (one === "`" || (one === "}" && templates.at(-1) === 0)) {
      if (one === "}") templates.pop()
      position = templateEnd(text, position + 1)
      if (text[position - 1] === "{") templates.push(0)
    } else if (one === "/" && startsExpression(text, position)) position = regexEnd(text, position)
    else {
      if (templates.length > 0 && one === "{") templates[templates.length - 1]!++
      if (templates.length > 0 && one === "}") templates[templates.length - 1]!--
      position++
      continue
    }
    blank(out, start, position)
  }
  return out.join("")
}

/** Static and dynamic imports and re-exports with a literal specifier, types included. */
export function findImports(text: string, code: string): ReadonlyArray<ImportSpan> {
  const shapes = [/\b(?:import|export)\b[^;"'`()=]*?\bfrom\s*"([^"]+)"/g, /\bimport\s*\(?\s*"([^"]+)"/g]
  return shapes.flatMap((shape) =>
    [...text.matchAll(shape)]
      .filter((match) => code.startsWith(match[0].slice(0, 6), match.index))
      .map((match) => ({ line: lineAt(text, match.index), specifier: match[1]! })),
  )
}

/** Functions, methods and arrow functions with a body in braces. */
export function findFunctions(code: string): ReadonlyArray<FunctionSpan> {
  const spans: FunctionSpan[] = []
  const add = (start: number, open: number): void => {
    const line = lineAt(code, start)
    spans.push({ line, lines: lineAt(code, closing(code, open)) - line + 1 })
  }
  for (const match of code.matchAll(/=>\s*\{/g)) add(match.index, match.index + match[0].length - 1)
  const named =
    /\bfunction\b\s*\*?\s*[\w$]*|^[ \t]*(?:(?:private|protected|public|static|async|get|set|override)\s+)*\*?[#\w$]+(?=\s*[<(])/gm
  for (const match of code.matchAll(named)) {
    if (/^\s*(?:if|for|while|switch|catch|with|return|await|throw|yield|new|typeof)$/.test(match[0])) continue
    const open = bodyStart(code, match.index + match[0].length)
    if (open >= 0) add(match.index + /^\s*/.exec(match[0])![0].length, open)
  }
  return spans
}

/** The line, from 1, of a position. */
export function lineAt(text: string, position: number): number {
  let line = 1
  for (let at = text.indexOf("\n"); at >= 0 && at < position; at = text.indexOf("\n", at + 1)) line++
  return line
}

/** The `{` of a body after a function's name, past type parameters, parameters and return type; -1 if there is none. */
function bodyStart(code: string, from: number): number {
  let position = skipSpace(code, from)
  if (code[position] === "<") position = skipSpace(code, closing(code, position) + 1)
  if (code[position] !== "(") return -1
  position = skipSpace(code, closing(code, position) + 1)
  if (code[position] === "{") return position
  if (code[position] !== ":") return -1
  // The return type: after an operator a brace begins a type, else it is the body.
  for (let expectsType = true; ; ) {
    const from = position + 1
    position = skipSpace(code, from)
    const here = code[position]
    // A type that is complete ends with its line: a declaration without a body.
    if (!expectsType && code.slice(from, position).includes("\n") && !/[{|&]/.test(here ?? "")) return -1
    if (here === undefined || /[;})]/.test(here) || (here === "=" && code[position + 1] !== ">")) return -1
    if (here === "{" && !expectsType) return position
    if (here === "=") position++
    else if (/[{([<]/.test(here)) position = closing(code, position)
    const word = /^(?:is|keyof|extends|readonly|asserts|typeof)\b/.exec(code.slice(position, position + 10))
    if (word) position += word[0].length - 1
    expectsType = word !== null || /[|&?=]/.test(here) || here === ":"
  }
}

/** The position of the bracket that closes the one at `open`; the text's end if none does. */
function closing(code: string, open: number): number {
  const pairs: Record<string, string> = { "{": "}", "(": ")", "[": "]", "<": ">" }
  const begin = code[open]!
  const end = pairs[begin]!
  let depth = 0
  for (let position = open; position < code.length; position++) {
    if (code[position] === begin) depth++
    else if (code[position] === end && !(end === ">" && code[position - 1] === "=") && --depth === 0) return position
  }
  return code.length
}

function skipSpace(code: string, position: number): number {
  while (/\s/.test(code[position] ?? "")) position++
  return position
}

function blank(out: string[], start: number, end: number): void {
  for (let position = start; position < end; position++) if (out[position] !== "\n") out[position] = " "
}

function after(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from)
  return at < 0 ? text.length : at + mark.length
}

function lineEnd(text: string, from: number): number {
  const at = text.indexOf("\n", from)
  return at < 0 ? text.length : at
}

function stringEnd(text: string, from: number): number {
  const quote = text[from]
  for (let position = from + 1; position < text.length; position++) {
    if (text[position] === "\\") position++
    else if (text[position] === quote || text[position] === "\n") return position + 1
  }
  return text.length
}

/** Past the closing backtick, or past the `${` of an insertion. */
function templateEnd(text: string, from: number): number {
  for (let position = from; position < text.length; position++) {
    if (text[position] === "\\") position++
    else if (text[position] === "`") return position + 1
    else if (text[position] === "$" && text[position + 1] === "{") return position + 2
  }
  return text.length
}

function regexEnd(text: string, from: number): number {
  let isInClass = false
  for (let position = from + 1; position < text.length; position++) {
    const here = text[position]
    if (here === "\\") position++
    else if (here === "\n") return position
    else if (here === "[") isInClass = true
    else if (here === "]") isInClass = false
    else if (here === "/" && !isInClass) return position + 1
  }
  return text.length
}

/** Whether a slash here begins a regular expression: nothing before it that could be divided. */
function startsExpression(text: string, position: number): boolean {
  const before = text.slice(Math.max(0, position - 40), position).trimEnd()
  return before === "" || /[(,=:[!&|?{};+\-*%<>~^]$|\b(?:return|typeof|case|in|of|yield|await)$/.test(before)
}
