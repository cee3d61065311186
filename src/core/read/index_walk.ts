/**
 * Rebuilds the part of an index that was not noted while writing, by walking the records of a segment: after a restart, for the
 * frames that an earlier process wrote. In steps, so that a caller can let the event loop breathe between them.
 */
import { alignFrame, frameHeader, isPlain } from "../../format/frame.ts"
import { corrupt } from "../../model/errors.ts"
import { IndexBuilder } from "../../state/index_builder.ts"
import { RecordScanner } from "../../state/record_scanner.ts"
import { caught } from "../flow/attempt.ts"
import type { Segment } from "../stream/segment.ts"
import { blockBytes, checkFrame, FRAME_OK, findNextBatch, searchBehind } from "./frame_reader.ts"
import { Window } from "./window.ts"

export class IndexWalk extends RecordScanner {
  readonly index: IndexBuilder = new IndexBuilder()
  /** True when a frame did not check. */
  hasPassedOver = false
  readonly #segment: Segment
  readonly #to: number
  readonly #window: Window = new Window()
  #offset: number
  #timestampMsMax: number
  #extIdMax: bigint

  constructor(segment: Segment, from: number, to: number) {
    super()
    this.#segment = segment
    this.#offset = from
    this.#to = to
    this.#timestampMsMax = segment.header.timestampMsMax
    this.#extIdMax = segment.header.extIdMax
  }

  /** Walks about `bytes` further; true when the end is reached. Frames that do not check are passed over: reading reports them. */
  advance(bytes: number): boolean {
    const stop = Math.min(this.#to, this.#offset + bytes)
    while (this.#offset < stop) {
      const isFrame = checkFrame(this.#segment, this.#window, this.#offset, this.#to, blockBytes) === FRAME_OK
      const start = this.#offset - this.#window.base
      if (!isFrame || caught(() => this.#walk(start)) !== undefined) {
        this.hasPassedOver = true
        this.#offset = this.#behindDamage()
        continue
      }
      this.#offset = alignFrame(this.#offset + this.#window.view.getUint32(start + frameHeader.at.lengthBytes, true))
    }
    return this.#offset >= this.#to
  }

  #behindDamage(): number {
    const from = this.#segment.position(this.#offset)
    return findNextBatch(this.#segment, searchBehind(from, undefined), this.#to)
  }

  #walk(start: number): void {
    this.enterFrame(this.#window.buffer, this.#window.view, start, this.#segment.position(this.#window.base))
    this.index.note(this.#offset, this.recordNumber + 1, this.#timestampMsMax, this.#extIdMax)
    if (isPlain(this.#window.view, start)) this.skipToLast(start)
    while (this.recordsLeft > 0 && this.step()) {
      if (this.timestampMs > this.#timestampMsMax) this.#timestampMsMax = this.timestampMs
      if (this.extId > this.#extIdMax) this.#extIdMax = this.extId
    }
  }

  protected override nextFrame(): boolean {
    return false
  }

  protected override recordLeavesFrame(): never {
    throw corrupt(`segment ${this.#segment.index}`, "a record leaves its frame", this.#segment.position(this.#offset))
  }
}
