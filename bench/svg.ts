/** The figures of `bench:peers` as a picture: a panel of bars for each workload and size, in a grid with a column for each size. */
import type { Workload } from "./contestant.ts"
import { type Figure, isLessBetter, titleOf, valueText } from "./peer_table.ts"

const columnWidth = 420
const barHeight = 17
const panelGap = 26
const headHeight = 64
/** What the caption needs. */
const widthMin = 900
const nameWidth = 170
const valueWidth = 80

const title = "bop-aof beside the limit of the machine and other logs"

const colours: Readonly<Record<Figure["kind"], string>> = { limit: "#9aa4b2", own: "#0f766e", peer: "#c8d0da" }

/** One SVG document; `caption` says on what it was measured. */
export const drawBars = (figures: ReadonlyArray<Figure>, caption: string): string => {
  const sizes = [...new Set(figures.map(({ payloadBytes }) => payloadBytes))].sort((a, b) => a - b)
  const workloads = [...new Set(figures.map(({ workload }) => workload))].sort()
  const parts: Array<string> = []
  let top = headHeight
  for (const workload of workloads) {
    const panels = sizes.map((size) => figures.filter((one) => one.workload === workload && one.payloadBytes === size))
    const rows = Math.max(...panels.map((panel) => panel.length))
    const better = isLessBetter(workload) ? "less is better" : "more is better"
    parts.push(text(12, top + 12, `${workload}  ${titleOf(workload)}; ${better}`, 'font-weight="600"'))
    panels.forEach((panel, at) => {
      if (panel.length > 0) parts.push(drawPanel(panel, workload, 12 + at * columnWidth, top + 22))
    })
    top += 22 + 18 + rows * barHeight + panelGap
  }
  const width = Math.max(widthMin, 24 + sizes.length * columnWidth)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}" font-family="system-ui, sans-serif" font-size="11" fill="#1f2933">`,
    `<title>${title}</title>`,
    `<rect width="${width}" height="${top}" fill="#ffffff"/>`,
    text(12, 24, title, 'font-size="16" font-weight="600"'),
    text(12, 44, caption, 'fill="#52606d"'),
    ...parts,
    "</svg>",
    "",
  ].join("\n")
}

const drawPanel = (panel: ReadonlyArray<Figure>, workload: Workload, left: number, top: number): string => {
  const most = Math.max(...panel.map(({ median }) => median))
  const room = columnWidth - nameWidth - valueWidth - 16
  const bars = panel.map(({ label, mode, kind, median }, at) => {
    const y = top + 10 + at * barHeight
    const name = mode === "" ? label : `${label}, ${mode}`
    const bold = kind === "own" ? ' font-weight="600"' : ""
    const length = Math.max(1, (median / most) * room)
    return [
      text(left + nameWidth - 6, y + 11, name, `text-anchor="end"${bold}`),
      `<rect x="${left + nameWidth}" y="${y + 2}" width="${length.toFixed(1)}" height="${barHeight - 5}" fill="${colours[kind]}"/>`,
      text(left + nameWidth + length + 5, y + 11, valueText(workload, median), bold.trim()),
    ].join("\n")
  })
  return [text(left, top + 4, `${panel[0]!.payloadBytes} B`, 'fill="#52606d"'), ...bars].join("\n")
}

const text = (x: number, y: number, words: string, attributes = ""): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escapeText(words)}</text>`

const escapeText = (words: string): string => words.replace(/[&<>]/g, (one) => `&#${one.charCodeAt(0)};`)
