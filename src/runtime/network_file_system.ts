/** Which file system lies below a path, as far as Linux tells: locks and syncs of network file systems cannot be relied on. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"

const networkTypes: ReadonlySet<string> = new Set([
  "9p",
  "acfs",
  "afs",
  "beegfs",
  "ceph",
  "cifs",
  "coda",
  "glusterfs",
  "gpfs",
  "lustre",
  "ncpfs",
  "nfs",
  "nfs4",
  "ocfs2",
  "orangefs",
  "smb3",
  "smbfs",
  "virtiofs",
  "fuse.afpfs",
  "fuse.ceph",
  "fuse.curlftpfs",
  "fuse.davfs",
  "fuse.davfs2",
  "fuse.gcsfuse",
  "fuse.glusterfs",
  "fuse.goofys",
  "fuse.juicefs",
  "fuse.moosefs",
  "fuse.mount-s3",
  "fuse.rclone",
  "fuse.s3fs",
  "fuse.seaweedfs",
  "fuse.sshfs",
])

/** The type of the network file system below `path`, such as `nfs4`; undefined when it is local or cannot be known here. */
export const networkFileSystem = (path: string): Effect.Effect<string | undefined, Unavailable> =>
  Effect.sync(() => networkFileSystemUnsafe(path))

/** As `networkFileSystem`, now; never throws. A path that does not exist yet is judged by its nearest parent. */
export const networkFileSystemUnsafe = (path: string): string | undefined => {
  if (process.platform !== "linux") return undefined
  try {
    return networkTypeOf(nearestRealPath(path), fs.readFileSync("/proc/self/mountinfo", "utf8"))
  } catch {
    // Deno shows /proc only with all permissions, and a sandbox may have none: unknown is an allowed answer.
    return undefined
  }
}

/** Finds the mount of a real path in the text of `/proc/self/mountinfo` (proc(5)) and returns its type if that is a network one. */
export const networkTypeOf = (path: string, mountInfo: string): string | undefined => {
  let longest = -1
  let type = ""
  for (const line of mountInfo.split("\n")) {
    // Fields before the separator vary in number: the mount point is the fifth, the type follows " - ".
    const separator = line.indexOf(" - ")
    if (separator < 0) continue
    const point = decodeOctal(line.split(" ", 5)[4] ?? "")
    const isBelow = path === point || path.startsWith(point.endsWith("/") ? point : `${point}/`)
    // The last of equal mount points lies on top.
    if (!isBelow || point.length < longest) continue
    longest = point.length
    type = line.slice(separator + 3).split(" ", 1)[0] ?? ""
  }
  return networkTypes.has(type) ? type : undefined
}

/** Blanks, tabs, line feeds and backslashes stand in the table as octal numbers. */
const decodeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

const nearestRealPath = (path: string): string => {
  let at = path
  while (true) {
    try {
      return fs.realpathSync(at)
    } catch (error) {
      const end = at.lastIndexOf("/")
      if (end < 0) return fs.realpathSync(".")
      if (at === "/") throw error
      at = end === 0 ? "/" : at.slice(0, end)
    }
  }
}
