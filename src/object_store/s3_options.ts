/**
 * Options of an S3 store: what may be given, where it is found when it is not, and what is refused. No error shows a secret: of
 * what could hold one, only the name of the option is told.
 */
import process from "node:process"
import { checkNames } from "../model/config_check.ts"
import { type InvalidArgument, invalidArgument } from "../model/errors.ts"

/** A pair of keys. */
export interface S3Credentials {
  /** The public half. */
  readonly accessKeyId: string
  /** The secret half. */
  readonly secretAccessKey: string
  /** Goes with credentials that end. */
  readonly sessionToken?: string | undefined
  /** When they end; they are asked for anew before. */
  readonly expiration?: Date | undefined
}

/**
 * Where credentials come from: given; a function that is asked again when the store refuses; a file in the format of AWS; the environment
 * (`AOF2_TIER2_ACCESS_KEY`, `AOF2_TIER2_SECRET_KEY`, `AOF2_TIER2_SESSION_TOKEN`); or the chain of the AWS SDK.
 */
export type S3CredentialSource =
  | S3Credentials
  | (() => S3Credentials | Promise<S3Credentials>)
  | { readonly file: string; readonly profile?: string | undefined }
  | "environment"
  | "chain"

/** How objects are encrypted where they lie: not at all, by keys of S3, by a key service, by a key that only the caller has. */
export type S3Encryption = "none" | "s3" | { readonly kmsKeyId: string } | { readonly customerKey: Uint8Array | string }

/** Options of `s3Store`. What has a variable named and is not given is looked for in the environment. */
export interface S3StoreOptions {
  /** The bucket, which has to be there; `AOF2_TIER2_BUCKET`. */
  readonly bucket?: string | undefined
  /** In front of every key, with a slash between; default none; `AOF2_TIER2_PREFIX`. */
  readonly prefix?: string | undefined
  /** URL of the server, for others than AWS; `AOF2_TIER2_ENDPOINT`. */
  readonly endpoint?: string | undefined
  /** Default `us-east-1` with an endpoint, else that of the AWS configuration; `AOF2_TIER2_REGION`. */
  readonly region?: string | undefined
  /** The bucket in the path, not in the host name; default true with an endpoint that is not of AWS; `AOF2_TIER2_PATH_STYLE`. */
  readonly pathStyle?: boolean | undefined
  /** Default: `environment` when `AOF2_TIER2_ACCESS_KEY` is set, else `chain`. */
  readonly credentials?: S3CredentialSource | undefined
  /** Default `none`, which leaves it to the settings of the bucket. A customer key is 32 bytes, or these in base64. */
  readonly sse?: S3Encryption | undefined
  /** Put on every object, beside what the log puts there. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** Storage class of new objects; default that of the bucket. */
  readonly storageClass?: string | undefined
  /** Objects of more bytes than this are put in parts, 5 MiB to 256 MiB; default 16 MiB. */
  readonly multipartThresholdBytes?: number | undefined
  /** Bytes of a part, 5 MiB to 64 MiB; default 8 MiB. */
  readonly partBytes?: number | undefined
  /** Parts of one object that are sent at once, each held in memory, 1 to 16; default 2. */
  readonly partConcurrency?: number | undefined
  /** Sends CRC-64/NVME along with objects that are put whole; default true. */
  readonly sendChecksum?: boolean | undefined
  /** How long a connection may take, 1 to 600 000 milliseconds; default 5 000. */
  readonly connectTimeoutMs?: number | undefined
  /** Certificates in PEM that are trusted for this endpoint, in place of those of the system. */
  readonly ca?: string | undefined
}

/** `S3StoreOptions` with every default filled in. */
export interface S3Config {
  readonly bucket: string
  /** Empty, or with a slash at its end. */
  readonly prefix: string
  readonly endpoint: string | undefined
  readonly region: string | undefined
  readonly pathStyle: boolean
  readonly credentials: S3CredentialSource
  readonly sse: S3Encryption
  readonly metadata: Readonly<Record<string, string>>
  readonly storageClass: string | undefined
  readonly multipartThresholdBytes: number
  readonly partBytes: number
  readonly partConcurrency: number
  readonly sendChecksum: boolean
  readonly connectTimeoutMs: number
  readonly ca: string | undefined
}

const MiB = 1024 * 1024
/** What an error says in place of a value that may be secret. */
const hidden = "a value that is not shown"

const bounds = {
  multipartThresholdBytes: [5 * MiB, 256 * MiB, 16 * MiB],
  partBytes: [5 * MiB, 64 * MiB, 8 * MiB],
  partConcurrency: [1, 16, 2],
  connectTimeoutMs: [1, 600_000, 5000],
} satisfies Record<string, readonly [lowest: number, highest: number, byDefault: number]>

const otherNames = ["bucket", "prefix", "endpoint", "region", "pathStyle", "credentials", "sse", "metadata"]
const optionNames = [...otherNames, "storageClass", "sendChecksum", "ca", ...Object.keys(bounds)]

/** A variable of the environment; undefined also where the runtime does not let it be read. */
export const readEnvironment = (name: string): string | undefined => {
  try {
    const value = process.env[name]
    return value === "" ? undefined : value
  } catch {
    return undefined
  }
}

/** Checks options and fills in defaults; throws `InvalidArgument`. */
export const makeS3Config = (options: S3StoreOptions = {}): S3Config => {
  if (typeof options !== "object" || options === null) throw invalidArgument("s3 options", hidden, "an object")
  checkNames("s3 option", options, optionNames)
  const bucket = options.bucket ?? readEnvironment("AOF2_TIER2_BUCKET")
  if (typeof bucket !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(bucket)) {
    throw invalidArgument("s3.bucket", bucket, "3 to 255 of A-Z a-z 0-9 . _ -")
  }
  const endpoint = checkEndpoint(options.endpoint ?? readEnvironment("AOF2_TIER2_ENDPOINT"))
  const region = options.region ?? readEnvironment("AOF2_TIER2_REGION")
  if (region !== undefined && !(typeof region === "string" && /^[A-Za-z0-9-]{1,64}$/.test(region))) {
    throw invalidArgument("s3.region", region, "1 to 64 of A-Z a-z 0-9 -")
  }
  return {
    bucket,
    prefix: checkPrefix(options.prefix ?? readEnvironment("AOF2_TIER2_PREFIX") ?? ""),
    endpoint,
    region: region ?? (endpoint === undefined ? undefined : "us-east-1"),
    pathStyle: checkPathStyle(options.pathStyle, endpoint),
    credentials: checkCredentials(options.credentials),
    sse: checkEncryption(options.sse),
    metadata: checkMetadata(options.metadata),
    storageClass: checkStorageClass(options.storageClass),
    multipartThresholdBytes: bounded("multipartThresholdBytes", options),
    partBytes: bounded("partBytes", options),
    partConcurrency: bounded("partConcurrency", options),
    sendChecksum: checkBoolean("s3.sendChecksum", options.sendChecksum, true),
    connectTimeoutMs: bounded("connectTimeoutMs", options),
    ca: checkCertificates(options.ca),
  }
}

const bounded = (name: keyof typeof bounds, options: S3StoreOptions): number => {
  const [lowest, highest, byDefault] = bounds[name]
  const value = options[name]
  if (value === undefined) return byDefault
  if (Number.isSafeInteger(value) && value >= lowest && value <= highest) return value
  throw invalidArgument(`s3.${name}`, value, `an integer from ${lowest} to ${highest}`)
}

const checkBoolean = (name: string, value: boolean | undefined, byDefault: boolean): boolean => {
  if (value === undefined) return byDefault
  if (typeof value === "boolean") return value
  throw invalidArgument(name, value, "true or false")
}

/** An URL may carry a password, so that what is wrong with it is not shown whole. */
const checkEndpoint = (value: string | undefined): string | undefined => {
  if (value === undefined) return undefined
  const rule = "an http or https URL without user, query and path"
  if (typeof value !== "string" || !URL.canParse(value)) throw invalidArgument("s3.endpoint", hidden, rule)
  const { protocol, username, password, search, hash, pathname, origin } = new URL(value)
  const isPlain = username === "" && password === "" && search === "" && hash === "" && pathname === "/"
  if (!isPlain || (protocol !== "http:" && protocol !== "https:")) {
    throw invalidArgument("s3.endpoint", origin === "null" ? hidden : origin, rule)
  }
  return origin
}

const checkPathStyle = (given: boolean | undefined, endpoint: string | undefined): boolean => {
  const variable = readEnvironment("AOF2_TIER2_PATH_STYLE")
  if (given === undefined && variable !== undefined) {
    if (variable === "true" || variable === "1") return true
    if (variable === "false" || variable === "0") return false
    throw invalidArgument("AOF2_TIER2_PATH_STYLE", variable, "true or false")
  }
  const isOther = endpoint !== undefined && !/\.amazonaws\.com(?:\.cn)?$/.test(new URL(endpoint).hostname)
  return checkBoolean("s3.pathStyle", given, isOther)
}

const checkPrefix = (value: string): string => {
  const rule = "parts of A-Z a-z 0-9 . _ - between slashes, none with a dot in front, at most 512 in all"
  if (typeof value !== "string") throw invalidArgument("s3.prefix", value, rule)
  const prefix = value.replace(/\/$/, "")
  if (prefix === "") return ""
  const isGood = prefix.length <= 512 && prefix.split("/").every((part) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(part))
  if (!isGood) throw invalidArgument("s3.prefix", value, rule)
  return `${prefix}/`
}

const credentialNames = ["accessKeyId", "secretAccessKey", "sessionToken", "expiration"]
/** What the SDK adds to keys that one of its clients was given. */
const sdkNames = ["$source", "accountId", "credentialScope"]

const checkCredentials = (value: S3CredentialSource | undefined): S3CredentialSource => {
  if (value === undefined) return readEnvironment("AOF2_TIER2_ACCESS_KEY") === undefined ? "chain" : "environment"
  if (value === "environment" || value === "chain" || typeof value === "function") return value
  const rule = "keys, a function, { file }, environment or chain"
  if (typeof value !== "object" || value === null) throw invalidArgument("s3.credentials", hidden, rule)
  if ("file" in value) {
    checkNames("s3.credentials option", value, ["file", "profile"])
    const { file, profile = "default" } = value
    if (typeof file !== "string" || file === "") throw invalidArgument("s3.credentials.file", file, "a path")
    if (typeof profile !== "string" || profile === "")
      throw invalidArgument("s3.credentials.profile", profile, "a name")
    return { file, profile }
  }
  checkNames("s3.credentials option", value, [...credentialNames, ...sdkNames])
  const wrong = wrongCredentials(value)
  if (wrong !== undefined) throw wrong
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = value
  return { accessKeyId, secretAccessKey, sessionToken, expiration }
}

/** What is wrong with credentials; undefined for good ones. */
export const wrongCredentials = (value: S3Credentials | undefined): InvalidArgument | undefined => {
  if (typeof value !== "object" || value === null) return invalidArgument("s3.credentials", hidden, "keys")
  const isText = (one: unknown): boolean => typeof one === "string" && /^[\x21-\x7e]+$/.test(one)
  if (!isText(value.accessKeyId)) return invalidArgument("s3.credentials.accessKeyId", hidden, "printable text")
  if (!isText(value.secretAccessKey)) return invalidArgument("s3.credentials.secretAccessKey", hidden, "printable text")
  const { sessionToken, expiration } = value
  if (sessionToken !== undefined && !isText(sessionToken)) {
    return invalidArgument("s3.credentials.sessionToken", hidden, "printable text")
  }
  if (expiration === undefined || (expiration instanceof Date && Number.isFinite(expiration.getTime())))
    return undefined
  return invalidArgument("s3.credentials.expiration", expiration, "a Date")
}

const customerKeyBytes = 32

const checkEncryption = (value: S3Encryption | undefined): S3Encryption => {
  if (value === undefined || value === "none") return "none"
  if (value === "s3") return value
  if (typeof value !== "object" || value === null) {
    throw invalidArgument("s3.sse", hidden, "none, s3, { kmsKeyId } or { customerKey }")
  }
  if ("kmsKeyId" in value) {
    checkNames("s3.sse option", value, ["kmsKeyId"])
    const { kmsKeyId } = value
    if (typeof kmsKeyId === "string" && /^[\x21-\x7e]{1,2048}$/.test(kmsKeyId)) return { kmsKeyId }
    throw invalidArgument("s3.sse.kmsKeyId", kmsKeyId, "1 to 2048 printable characters")
  }
  checkNames("s3.sse option", value, ["customerKey"])
  const { customerKey } = value
  const isText = typeof customerKey === "string" && /^[A-Za-z0-9+/]{43}=$/.test(customerKey)
  if (isText) return { customerKey: new Uint8Array(Buffer.from(customerKey, "base64")) }
  if (customerKey instanceof Uint8Array && customerKey.length === customerKeyBytes) {
    return { customerKey: customerKey.slice() }
  }
  throw invalidArgument("s3.sse.customerKey", hidden, `${customerKeyBytes} bytes, or these in base64`)
}

const checkMetadata = (value: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> => {
  if (typeof value !== "object" || value === null) throw invalidArgument("s3.metadata", value, "an object of texts")
  for (const [name, text] of Object.entries(value)) {
    if (!/^[a-z0-9-]{1,64}$/.test(name)) throw invalidArgument("s3.metadata key", name, "1 to 64 of a-z 0-9 -")
    if (typeof text !== "string" || !/^[\x20-\x7e]{0,1024}$/.test(text)) {
      throw invalidArgument(`s3.metadata.${name}`, text, "at most 1024 of printable ASCII")
    }
  }
  return { ...value }
}

const checkStorageClass = (value: string | undefined): string | undefined => {
  if (value === undefined || (typeof value === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(value))) return value
  throw invalidArgument("s3.storageClass", value, "1 to 64 of A-Z a-z 0-9 _ -")
}

const checkCertificates = (value: string | undefined): string | undefined => {
  if (value === undefined || (typeof value === "string" && value.includes("-----BEGIN CERTIFICATE-----"))) return value
  throw invalidArgument("s3.ca", hidden, "certificates in PEM")
}
