/**
 * The client of the SDK, and single requests by way of it. The SDK is large and reads the environment while it is loaded: that begins when a
 * store is made, so that importing this needs nothing. It repeats nothing: whoever calls the store does, by one policy. When
 * a request is refused, credentials are read again, and if they are others it is sent once more with these.
 */
import type * as Sdk from "@aws-sdk/client-s3"
import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import { InvalidArgument } from "../model/errors.ts"
import { StoreError, storeError } from "../port/store_error.ts"
import { isChangeable, readCredentials } from "./s3_credentials.ts"
import { failureOf, isRefused, s3ErrorOf } from "./s3_error.ts"
import type { S3Config, S3Credentials } from "./s3_options.ts"

/** Connections at once to a server. */
const socketsMax = 128
/** Credentials are not read again more often than this. */
const renewPauseMs = 1000

interface Client {
  readonly sdk: S3Client
  /** Rises with each reading of credentials. */
  readonly generation: number
}

/** What runs a request; it is called again when credentials have changed, so that it must be repeatable. */
type Run<A> = (sdk: S3Client, signal: AbortSignal, commands: typeof Sdk) => Promise<A>

let loading: Promise<typeof Sdk> | undefined

/** Loads the SDK once; what failed is tried again. */
const loadSdk = (): Promise<typeof Sdk> => {
  loading ??= import("@aws-sdk/client-s3").catch((thrown: unknown) => {
    loading = undefined
    throw thrown
  })
  return loading
}

export class S3Connection {
  readonly #config: S3Config
  #client: Client | undefined
  #renewing: Promise<boolean> | undefined
  #renewedMs = Number.NEGATIVE_INFINITY

  constructor(config: S3Config) {
    this.#config = config
    // What fails now fails the first request.
    loadSdk().catch(() => {})
  }

  /** One request. Interrupting it ends it at the socket. */
  request<A>(name: string, key: string, run: Run<A>): Effect.Effect<A, StoreError | InvalidArgument> {
    return Effect.tryPromise({
      try: (signal) => this.#send(run, signal),
      catch: (thrown) => s3ErrorOf(thrown, name, key),
    })
  }

  async #send<A>(run: Run<A>, signal: AbortSignal): Promise<A> {
    const commands = await loadSdk()
    this.#client ??= { sdk: this.#make(commands, false), generation: 0 }
    const { sdk, generation } = this.#client
    try {
      return await run(sdk, signal, commands)
    } catch (thrown) {
      if (signal.aborted || !isRefused(thrown)) throw thrown
      // The SDK has learned from the answer how far the clocks are apart.
      if (isClockCorrected(thrown)) return await run(sdk, signal, commands)
      if (!(await this.#renewed(generation))) throw thrown
      return await run(this.#client.sdk, signal, commands)
    }
  }

  /** Reads credentials again, once for all that were refused; true when they differ from those of `generation`. */
  async #renewed(generation: number): Promise<boolean> {
    if (this.#client!.generation > generation) return true
    if (!isChangeable(this.#config.credentials)) return false
    if (this.#renewing === undefined && performance.now() - this.#renewedMs < renewPauseMs) return false
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined
      this.#renewedMs = performance.now()
    })
    return this.#renewing
  }

  async #renew(): Promise<boolean> {
    const { sdk, generation } = this.#client!
    const next = this.#make(await loadSdk(), true)
    const [before, after] = [await identityOf(sdk), await identityOf(next)]
    if (after === undefined || before === after) {
      next.destroy()
      return false
    }
    // Requests under way end with the client that they began with.
    this.#client = { sdk: next, generation: generation + 1 }
    return true
  }

  #make({ S3Client }: typeof Sdk, readsAgain: boolean): S3Client {
    const { endpoint, region, pathStyle, credentials, connectTimeoutMs, ca } = this.#config
    const agent = { keepAlive: true, maxSockets: socketsMax }
    const settings: S3ClientConfig = {
      maxAttempts: 1,
      forcePathStyle: pathStyle,
      followRegionRedirects: false,
      // Bodies carry checksums of their own, and what comes back is checked by the log: other servers know no trailers.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      expectContinueHeader: false,
      logger: quiet,
      requestHandler: {
        connectionTimeout: connectTimeoutMs,
        httpAgent: agent,
        httpsAgent: ca === undefined ? agent : { ...agent, ca },
      },
    }
    if (endpoint !== undefined) settings.endpoint = endpoint
    if (region !== undefined) settings.region = region
    // The chain keeps what it has read of files, unless it is told not to.
    if (credentials === "chain")
      return new S3Client(readsAgain ? Object.assign(settings, { ignoreCache: true }) : settings)
    settings.credentials = async () => {
      const found = await currentCredentials(credentials, connectTimeoutMs)
      const { accessKeyId, secretAccessKey, sessionToken, expiration } = found
      return {
        accessKeyId,
        secretAccessKey,
        ...(sessionToken === undefined ? {} : { sessionToken }),
        ...(expiration === undefined ? {} : { expiration }),
      }
    }
    return new S3Client(settings)
  }
}

/** True when the SDK has set its clock by that of the server. An answer without a body, as to HEAD, has no code that says so. */
const isClockCorrected = (thrown: unknown): boolean => {
  const { $metadata } = thrown as { readonly $metadata?: { readonly clockSkewCorrected?: unknown } }
  return $metadata?.clockSkewCorrected === true || failureOf(thrown).code === "RequestTimeTooSkewed"
}

/**
 * The keys as they are now. Whatever keeps them from being read is `Denied`: the store was not asked. The SDK waits for them without end, and
 * what hangs once would hang for good.
 */
const currentCredentials = async (
  source: Exclude<S3Config["credentials"], "chain">,
  limitMs: number,
): Promise<S3Credentials> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(storeError("Denied", "read", "credentials", "CredentialsTimeout")), limitMs)
  })
  try {
    return (await Promise.race([readCredentials(source), late]))!
  } catch (thrown) {
    if (thrown instanceof InvalidArgument || thrown instanceof StoreError) throw thrown
    throw storeError("Denied", "read", "credentials", "CredentialsUnavailable")
  } finally {
    clearTimeout(timer)
  }
}

/** The SDK writes warnings to the console otherwise. */
const quiet = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** What credentials a client works with; undefined when there are none. Compared, and not kept. */
const identityOf = async (sdk: S3Client): Promise<string | undefined> => {
  try {
    const { accessKeyId, secretAccessKey, sessionToken } = await sdk.config.credentials()
    return JSON.stringify([accessKeyId, secretAccessKey, sessionToken])
  } catch {
    return undefined
  }
}
