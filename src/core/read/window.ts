/** The stretch of one segment that a reader has in memory, wherever it came from. */
/** A stretch of a segment in memory. */
export class Window {
  buffer: Uint8Array = new Uint8Array(0)
  view: DataView = new DataView(this.buffer.buffer)
  /** Segment offset of the buffer's first byte. */
  base = 0
  /** Segment offset behind the last byte that may be used. */
  end = 0
  /** True when the bytes are this process's own and need no check. */
  isTrusted = false
  /** True when each frame that lies in it as a whole was checked there. */
  isIntact = false
  /** True when the buffer may be read into again. */
  isOwned = false
  /** True when the memory is kept by others too, or by one record for the sake of another: what is kept for long is copied. */
  isShared = false
  /** True when views of what was read are handed out, so that no buffer is read into twice. */
  keepsBuffers = false
  /** The last buffer that was read into, taken up again behind memory that is not the window's own. */
  own: { readonly buffer: Uint8Array; readonly view: DataView } | undefined = undefined
  /** Whose bytes these are. */
  segment: object | undefined = undefined

  covers(segment: object, offset: number, length: number): boolean {
    return this.segment === segment && offset >= this.base && offset + length <= this.end
  }
}

/** Makes `window` show other memory, which it does not own. */
export const setWindow = (
  window: Window,
  buffer: Uint8Array,
  view: DataView,
  base: number,
  end: number,
  isTrusted: boolean,
): void => {
  window.buffer = buffer
  window.view = view
  window.base = base
  window.end = end
  window.isTrusted = isTrusted
  window.isOwned = false
  window.isShared = false
  window.isIntact = false
}
