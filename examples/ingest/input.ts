// What is to be ingested: a list of regular files, read as often as needed. Standard input and pipes can be read once
// only, so they are copied to a private temporary file first.

import { constants, createReadStream, createWriteStream } from "node:fs"
import { access, mkdtemp, readdir, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative, sep } from "node:path"
import type { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import { unusable } from "./failure.ts"

export interface InputFile {
  readonly path: string
  /** How the user knows it. */
  readonly name: string
  /** Its length at the start: what is added to it later is not taken. */
  readonly bytes: number
}

export interface Input {
  readonly title: string
  readonly files: ReadonlyArray<InputFile>
  readonly bytes: number
  /** Removes what was copied. */
  readonly dispose: () => Promise<void>
}

/** Enough to see the store work, and done in seconds. */
const sourceTextBytesMax = 48 * 1024 * 1024
const sourceText = /\.(?:[cm]?[jt]s|md|json)$/

/** Checks all files before anything is done with one of them; throws a `Failure`. */
export async function openInput(names: ReadonlyArray<string>, signal: AbortSignal): Promise<Input> {
  if (names.length === 0) return findSourceText()
  let spoolDirectory: string | undefined
  const dispose = async (): Promise<void> => {
    if (spoolDirectory !== undefined) await rm(spoolDirectory, { recursive: true, force: true })
  }
  try {
    const kinds: Array<"file" | "pipe"> = []
    for (const name of names) kinds.push(name === "-" ? "pipe" : await checkFile(name))
    const files: Array<InputFile> = []
    for (const [index, name] of names.entries()) {
      if (kinds[index] === "file") {
        files.push({ path: name, name, bytes: (await stat(name)).size })
        continue
      }
      spoolDirectory ??= await mkdtemp(join(tmpdir(), "bop-aof-input-"))
      const title = name === "-" ? "standard input" : name
      const source = name === "-" ? process.stdin : createReadStream(name)
      const path = await spool(source, title, join(spoolDirectory, String(index)), signal)
      files.push({ path, name: title, bytes: (await stat(path)).size })
    }
    return { title: files.length === 1 ? files[0]!.name : `${files.length} files`, files, bytes: sum(files), dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function checkFile(name: string): Promise<"file" | "pipe"> {
  const found = await stat(name).catch((error: NodeJS.ErrnoException) => {
    throw unusable(error.code === "ENOENT" ? `there is no file ${name}` : `cannot look at ${name}: ${error.code}`)
  })
  if (found.isDirectory()) throw unusable(`${name} is a directory; files are taken one by one`)
  await access(name, constants.R_OK).catch(() => {
    throw unusable(`no permission to read ${name}`)
  })
  return found.isFile() ? "file" : "pipe"
}

async function spool(source: Readable, title: string, path: string, signal: AbortSignal): Promise<string> {
  try {
    await pipeline(source, createWriteStream(path, { mode: 0o600 }), { signal })
    return path
  } catch (error) {
    signal.throwIfAborted()
    throw unusable(`cannot read ${title}: ${(error as Error).message}`)
  } finally {
    // A terminal or a pipe that is still open would keep the process alive.
    source.destroy()
  }
}

/** The text below `node_modules`, in the order of its paths. */
async function findSourceText(): Promise<Input> {
  const directory = fileURLToPath(new URL("../../node_modules", import.meta.url))
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])
  const paths = entries
    .filter((entry) => entry.isFile() && sourceText.test(entry.name) && !entry.name.startsWith("."))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort((a, b) => (a < b ? -1 : 1))
  const files: Array<InputFile> = []
  let bytes = 0
  for (const path of paths) {
    const { size } = await stat(path)
    if (bytes + size > sourceTextBytesMax) continue
    files.push({ path, name: relative(directory, path).split(sep).join("/"), bytes: size })
    bytes += size
  }
  if (bytes === 0) throw unusable(`there is no source text in ${directory}; name a file`)
  return {
    title: `the source text of the installed packages, ${files.length} files`,
    files,
    bytes,
    dispose: async () => {},
  }
}

function sum(files: ReadonlyArray<InputFile>): number {
  return files.reduce((total, file) => total + file.bytes, 0)
}
