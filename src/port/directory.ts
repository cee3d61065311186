/**
 * The file system below a root. Paths are absolute or as given by the caller, joined with `/`. A missing file is `undefined`
 * or an empty list where the signature allows it, any other failure `Unavailable` with the system's code.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import type { BatchWriter } from "./batch_writer.ts"
import type { SegmentFile } from "./segment_file.ts"

/** `read` opens an existing file for reading, `write` an existing one for both, `create` makes a new one and fails with `EEXIST`. */
export type OpenMode = "read" | "write" | "create"

/** An entry of a directory. */
export interface DirectoryEntry {
  /** Its name, without a path. */
  readonly name: string
  /** True for a directory; false for a file and anything else. */
  readonly isDirectory: boolean
}

/** The file system as the store sees it. */
export interface Directory {
  /**
   * The path as it is meant now, for all time: an absolute one as it is given, any other below the working directory of the process, which may
   * change. Nothing is looked up on the disk and no link followed. Throws `Unavailable` when the working directory is gone.
   */
  readonly absoluteUnsafe?: ((path: string) => string) | undefined
  /** Opens a file now; throws `Unavailable` (`ENOENT`, `EEXIST`, `EACCES`, `EMFILE`, …). New files are private (mode 0600). A symbolic link is not followed: `ELOOP`. */
  readonly openUnsafe: (path: string, mode: OpenMode) => SegmentFile
  /** `openUnsafe` off the main thread. An interruption waits for its end and closes what was opened. */
  readonly open: (path: string, mode: OpenMode) => Effect.Effect<SegmentFile, Unavailable>
  /** Renames over an existing file, now; throws `Unavailable`. Durable after `sync` of the directory. */
  readonly renameUnsafe: (from: string, to: string) => void
  /** Renames over an existing file. Durable after `sync` of the directory. */
  readonly rename: (from: string, to: string) => Effect.Effect<void, Unavailable>
  /**
   * Gives a file a second name; `EEXIST` when there is anything of that name, `EPERM` for a directory. Of several that link to
   * one name at once, in any process, one wins. Durable after `sync` of the directory of `to`.
   */
  readonly link: (from: string, to: string) => Effect.Effect<void, Unavailable>
  /** Length of a file; undefined when it does not exist or is no plain file. */
  readonly sizeOf: (path: string) => Effect.Effect<number | undefined, Unavailable>
  /** Entries of a directory in name order; empty when it does not exist. */
  readonly list: (path: string) => Effect.Effect<ReadonlyArray<DirectoryEntry>, Unavailable>
  /** `list`, now, for a directory that is known to be small. A symbolic link is not followed: throws `Unavailable` with `ELOOP`. */
  readonly listUnsafe: (path: string) => ReadonlyArray<DirectoryEntry>
  /** The whole file, or undefined when it does not exist. */
  readonly readFile: (path: string) => Effect.Effect<Uint8Array | undefined, Unavailable>
  /** Makes a directory and its parents (mode 0700) and syncs each parent that got a new entry. Nothing happens when it exists. */
  readonly makeDirectory: (path: string) => Effect.Effect<void, Unavailable>
  /** Makes one directory (mode 0700), now; nothing happens when it exists. Throws `Unavailable`. Durable after `sync` of its parent. */
  readonly makeDirectoryUnsafe: (path: string) => void
  /** `makeDirectoryUnsafe` off the main thread. */
  readonly makeSubdirectory: (path: string) => Effect.Effect<void, Unavailable>
  /** Removes a file; nothing happens when it does not exist. Durable after `sync` of the directory. */
  readonly remove: (path: string) => Effect.Effect<void, Unavailable>
  /** Removes a directory with all that is in it; nothing happens when it does not exist. */
  readonly removeDirectory: (path: string) => Effect.Effect<void, Unavailable>
  /** Makes the entries of a directory durable (fsync of the directory). */
  readonly sync: (path: string) => Effect.Effect<void, Unavailable>
  /** Prepares to write batches below a directory, without starting anything; missing, or undefined, where that cannot be. */
  readonly openBatchWriter?: ((path: string) => BatchWriter | undefined) | undefined
  /** True for a symbolic link, wherever it leads; false for anything else, and when there is nothing. */
  readonly isLink: (path: string) => Effect.Effect<boolean, Unavailable>
  /** What a path is. */
  readonly kind: (path: string) => Effect.Effect<"file" | "directory" | "missing", Unavailable>
  /**
   * Lets go of memory that only the collector keeps mapped, so that the room of removed files comes back; it may take a turn of the event
   * loop, and holds it meanwhile. For a full disk only; does nothing where files are not mapped.
   */
  readonly reclaimUnsafe: () => void
  /** The name of the network file system below `path` (such as `nfs`), or undefined when it is local or unknown. */
  readonly networkFileSystem: (path: string) => Effect.Effect<string | undefined, Unavailable>
}

/** The key under which a context holds the file system. */
export const Directory: Context.Service<Directory, Directory> = Context.Service("bop-aof/port/Directory")

/** A path that stays the same wherever the process goes; the path as it is where the file system has no directory of its own to start from. Throws as `absoluteUnsafe`. */
export const absolutePath = (directory: Directory, path: string): string => directory.absoluteUnsafe?.(path) ?? path
