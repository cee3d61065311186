// The lines of the input, one after another, without decoding or copying them: `line` is a view of a buffer that is used
// again. Used like a cursor of the store: `next` never waits, `fill` does.

import type { Hash } from "node:crypto"
import { type FileHandle, open } from "node:fs/promises"
import { unusable } from "./failure.ts"
import type { Input, InputFile } from "./input.ts"

const blockBytes = 256 * 1024
const lineFeed = 10

export class LineReader {
  /** The current line without its LF; valid until the next call. */
  line: Uint8Array = new Uint8Array(0)
  /** False for the last line of a file that does not end with an LF. */
  hasLineFeed = true
  /** Bytes of all lines up to the current one, with their LFs. */
  takenBytes = 0
  readonly #input: Input
  readonly #lineBytesMax: number
  readonly #hash: Hash | undefined
  #fileIndex = -1
  #file: FileHandle | undefined = undefined
  #fileBytes = 0
  #lineNumber = 0
  #buffer: Uint8Array = new Uint8Array(blockBytes)
  #start = 0
  #end = 0
  #isFileAtEnd = true

  /** `hash` is fed with the input as it is. */
  constructor(input: Input, lineBytesMax: number, hash?: Hash) {
    this.#input = input
    this.#lineBytesMax = lineBytesMax
    this.#hash = hash
  }

  /** Moves to the next line in the buffer; false when `fill` is due. Throws a `Failure` for a line that is too long. */
  next(): boolean {
    // Behind the end there may be an LF of long ago.
    const found = this.#start < this.#end ? this.#buffer.indexOf(lineFeed, this.#start) : -1
    this.hasLineFeed = found >= 0 && found < this.#end
    const end = this.hasLineFeed ? found : this.#end
    if (!this.hasLineFeed && (!this.#isFileAtEnd || this.#start === this.#end)) return false
    this.#lineNumber++
    if (end - this.#start > this.#lineBytesMax) throw this.#tooLong(end - this.#start)
    this.line = this.#buffer.subarray(this.#start, end)
    const next = this.hasLineFeed ? end + 1 : end
    this.takenBytes += next - this.#start
    this.#start = next
    return true
  }

  /** Reads on, in the next file if need be; false at the end of the input. */
  async fill(): Promise<boolean> {
    if (this.#isFileAtEnd && this.#start === this.#end) {
      if (!(await this.#openNext())) return false
    }
    this.#makeRoom()
    const readBytes = await this.#read()
    this.#end += readBytes
    this.#isFileAtEnd = readBytes === 0 || this.#fileBytes === 0
    const rest = this.#buffer.subarray(this.#start, this.#end)
    if (rest.length > this.#lineBytesMax && !rest.includes(lineFeed)) await this.#failTooLong()
    return true
  }

  async close(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
  }

  get #current(): InputFile {
    return this.#input.files[this.#fileIndex]!
  }

  async #openNext(): Promise<boolean> {
    await this.close()
    if (this.#fileIndex + 1 >= this.#input.files.length) return false
    this.#fileIndex++
    this.#lineNumber = 0
    this.#fileBytes = this.#current.bytes
    this.#file = await open(this.#current.path).catch((error: NodeJS.ErrnoException) => {
      throw unusable(`cannot read ${this.#current.name}: ${error.code}`)
    })
    return true
  }

  /** The begun line goes to the front; a line that fills the buffer gets a larger one, up to the longest allowed. */
  #makeRoom(): void {
    const rest = this.#buffer.subarray(this.#start, this.#end)
    const buffer = rest.length * 2 > this.#buffer.length ? new Uint8Array(this.#buffer.length * 2) : this.#buffer
    buffer.set(rest)
    this.#buffer = buffer
    this.#start = 0
    this.#end = rest.length
  }

  async #read(): Promise<number> {
    const room = Math.min(this.#buffer.length - this.#end, this.#fileBytes)
    if (room === 0) return 0
    const { bytesRead } = await this.#file!.read(this.#buffer, this.#end, room, null).catch((error) => {
      throw unusable(`cannot read ${this.#current.name}: ${error.code}`)
    })
    this.#fileBytes -= bytesRead
    this.#hash?.update(this.#buffer.subarray(this.#end, this.#end + bytesRead))
    return bytesRead
  }

  /** Looks for the end of a line that is too long, to say how long it is. */
  async #failTooLong(): Promise<never> {
    let lengthBytes = this.#end - this.#start
    this.#lineNumber++
    for (;;) {
      this.#end = 0
      const readBytes = await this.#read()
      const found = this.#buffer.subarray(0, readBytes).indexOf(lineFeed)
      if (found >= 0 || readBytes === 0) throw this.#tooLong(lengthBytes + Math.max(found, 0))
      lengthBytes += readBytes
    }
  }

  #tooLong(lengthBytes: number): Error {
    return unusable(
      `${this.#current.name}, line ${this.#lineNumber}: ${lengthBytes} bytes, at most ${this.#lineBytesMax} are allowed`,
    )
  }
}
