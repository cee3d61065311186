/** Where the keys of an S3 store come from. What is read here is handed to the SDK and kept nowhere else. */
import { readFile } from "node:fs/promises"
import { invalidArgument } from "../model/errors.ts"
import { readEnvironment, type S3CredentialSource, type S3Credentials, wrongCredentials } from "./s3_options.ts"

/** Reads the credentials of a source as they are now; undefined means that the chain of the SDK finds them. */
export const readCredentials = async (source: S3CredentialSource): Promise<S3Credentials | undefined> => {
  if (source === "chain") return undefined
  const found = await find(source)
  const wrong = wrongCredentials(found)
  if (wrong !== undefined) throw wrong
  return found
}

/** True when asking again may give others. */
export const isChangeable = (source: S3CredentialSource): boolean =>
  typeof source !== "object" || !("accessKeyId" in source)

const find = async (source: Exclude<S3CredentialSource, "chain">): Promise<S3Credentials> => {
  if (typeof source === "function") return source()
  if (source === "environment") {
    return {
      accessKeyId: readEnvironment("AOF2_TIER2_ACCESS_KEY") ?? "",
      secretAccessKey: readEnvironment("AOF2_TIER2_SECRET_KEY") ?? "",
      sessionToken: readEnvironment("AOF2_TIER2_SESSION_TOKEN"),
    }
  }
  if (!("file" in source)) return source
  return parse(await readFile(source.file, "utf8"), source.profile ?? "default")
}

/** Reads the section of a profile: `[profile]`, then lines `name = value`. */
const parse = (text: string, profile: string): S3Credentials => {
  const values = new Map<string, string>()
  let section: string | undefined
  for (const line of text.split(/\r?\n/)) {
    const header = /^\s*\[\s*(?:profile\s+)?([^\]]+?)\s*\]/.exec(line)
    if (header !== null) section = header[1]
    const pair = /^\s*([A-Za-z_]+)\s*=\s*(.*?)\s*$/.exec(line)
    if (pair !== null && section === profile) values.set(pair[1]!.toLowerCase(), pair[2]!)
  }
  const accessKeyId = values.get("aws_access_key_id")
  const secretAccessKey = values.get("aws_secret_access_key")
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw invalidArgument("s3.credentials.profile", profile, "a section of the file with both keys")
  }
  return { accessKeyId, secretAccessKey, sessionToken: values.get("aws_session_token") }
}
