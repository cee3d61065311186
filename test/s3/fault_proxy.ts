// A proxy between an S3 client and its server, on loopback: it passes bytes as they are, so that signatures hold, and goes wrong
// where a script says so, request by request. It knows of HTTP only where a request begins and how long its body is.

import * as net from "node:net"
import * as tls from "node:tls"

/** A request, as far as its head says. */
export interface ProxyRequest {
  /** Counts from 1. */
  readonly number: number
  readonly method: string
  /** Path and query. */
  readonly path: string
  /** In small letters. */
  readonly headers: ReadonlyMap<string, string>
}

/**
 * What goes wrong with a request.
 *
 * - `after`: the request goes on when this has happened.
 * - `delayMs`: each piece of the answer comes so much later.
 * - `bytesPerSecond`: neither way is faster.
 * - `cutRequest`, `cutAnswer`: the connection ends after so many bytes of the request, or of the answer.
 * - `damageRequest`: the last byte of the request is another.
 * - `swallow`: never an answer, and the server sees nothing.
 * - `loseAnswer`: the server carries it out, and the connection ends before the answer.
 * - `holdAnswer`: the server carries it out, and nothing comes back.
 * - `status`: refused here, as a server does that is overloaded (503) or broken (500); `code` is its word.
 */
export interface ProxyFault {
  readonly after?: Promise<unknown>
  readonly delayMs?: number
  readonly bytesPerSecond?: number
  readonly cutRequest?: number
  readonly cutAnswer?: number
  readonly damageRequest?: boolean
  readonly swallow?: boolean
  readonly loseAnswer?: boolean
  readonly holdAnswer?: boolean
  readonly status?: number
  readonly code?: string
}

export interface ProxyOptions {
  /** The server, such as `http://127.0.0.1:19300`. */
  readonly target: string
  /** The proxy speaks TLS to the client with these, in PEM. */
  readonly tls?: { readonly key: string; readonly cert: string }
}

const codes: Record<number, string> = { 500: "InternalError", 503: "SlowDown" }

const answerOf = (status: number, code: string): string => {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>by the proxy</Message></Error>`
  const head = ["Content-Type: application/xml", `Content-Length: ${body.length}`, "Connection: close"]
  return [`HTTP/1.1 ${status} ${code}`, ...head, "", body].join("\r\n")
}

/** A proxy that listens; made by `startProxy`. */
export class FaultProxy {
  /** Asked with each request; undefined lets it pass. */
  script: ((request: ProxyRequest) => ProxyFault | undefined) | undefined = undefined
  #isDown = false
  /** Every request so far. */
  readonly requests: Array<ProxyRequest> = []
  /** Requests that had a fault. */
  faults = 0
  /** Bytes of requests that came, and of answers that went back, heads included. */
  bytesUp = 0
  bytesDown = 0
  readonly #target: URL
  readonly #server: net.Server
  readonly #open: Set<net.Socket> = new Set()
  readonly #isTls: boolean
  #port = 0

  constructor(options: ProxyOptions) {
    this.#target = new URL(options.target)
    this.#isTls = options.tls !== undefined
    const accept = (socket: net.Socket): void => this.#accept(socket)
    this.#server = options.tls === undefined ? net.createServer(accept) : tls.createServer(options.tls, accept)
  }

  /** Sockets that are open, two for each connection. */
  get openCount(): number {
    return this.#open.size
  }

  get endpoint(): string {
    return `${this.#isTls ? "https" : "http"}://127.0.0.1:${this.#port}`
  }

  /** Listens on a port of its own. */
  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen(0, "127.0.0.1", () => {
        this.#port = (this.#server.address() as net.AddressInfo).port
        resolve()
      })
    })
  }

  /** While set, connections are refused and those that are open end. */
  get isDown(): boolean {
    return this.#isDown
  }

  set isDown(isDown: boolean) {
    this.#isDown = isDown
    if (isDown) this.#endAll()
  }

  /** Ends the connections that are open; new ones are taken. */
  #endAll(): void {
    for (const socket of this.#open) socket.destroy()
  }

  close(): Promise<void> {
    this.#endAll()
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
    })
  }

  #accept(client: net.Socket): void {
    this.#keep(client)
    if (this.#isDown) return void client.destroy()
    client.setNoDelay(true)
    const server = net.connect({ host: this.#target.hostname, port: Number(this.#target.port), noDelay: true })
    this.#keep(server)
    client.on("close", () => server.destroy())
    server.on("close", () => client.end())
    client.on("data", (bytes) => (this.bytesUp += bytes.length))
    server.on("data", (bytes) => (this.bytesDown += bytes.length))
    new Conversation(client, server, (head) => this.#begin(head))
  }

  #keep(socket: net.Socket): void {
    this.#open.add(socket)
    socket.on("close", () => this.#open.delete(socket))
    // Each end tells the other by its close.
    socket.on("error", () => {})
  }

  #begin(head: string): ProxyFault {
    const [line = "", ...lines] = head.split("\r\n")
    const [method = "", path = ""] = line.split(" ")
    const pairs = lines.map((one): readonly [string, string] => {
      const at = one.indexOf(":")
      return [one.slice(0, at).toLowerCase(), one.slice(at + 1).trim()]
    })
    const request = { number: this.requests.length + 1, method, path, headers: new Map(pairs) }
    this.requests.push(request)
    const fault = this.script?.(request)
    if (fault !== undefined) this.faults++
    return fault ?? {}
  }
}

/** Makes a proxy and returns when it listens. */
export const startProxy = async (options: ProxyOptions): Promise<FaultProxy> => {
  const proxy = new FaultProxy(options)
  await proxy.listen()
  return proxy
}

const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs))

/** One connection: request after request, each with its fault. */
class Conversation {
  readonly #client: net.Socket
  readonly #server: net.Socket
  readonly #begin: (head: string) => ProxyFault
  #head: Buffer = Buffer.alloc(0)
  /** Bytes of the request under way that are still to come; undefined between requests. */
  #left: number | undefined = undefined
  #fault: ProxyFault = {}
  #sent = 0
  #received = 0
  /** Everything goes through here, one piece after the other. */
  #queue: Promise<void> = Promise.resolve()

  constructor(client: net.Socket, server: net.Socket, begin: (head: string) => ProxyFault) {
    this.#client = client
    this.#server = server
    this.#begin = begin
    client.on("data", (bytes) => this.#fromClient(bytes as Buffer))
    server.on("data", (bytes) => this.#fromServer(bytes as Buffer))
  }

  #fromClient(bytes: Buffer): void {
    if (this.#left !== undefined && this.#left <= 0) this.#left = undefined
    if (this.#left === undefined) {
      this.#head = Buffer.concat([this.#head, bytes])
      const end = this.#head.indexOf("\r\n\r\n")
      if (end < 0) return
      const head = this.#head.toString("latin1", 0, end)
      bytes = this.#head
      this.#head = Buffer.alloc(0)
      this.#fault = this.#begin(head)
      this.#sent = 0
      this.#received = 0
      const { after } = this.#fault
      if (after !== undefined) this.#queue = this.#queue.then(() => after).then(() => undefined)
      this.#left = end + 4 + Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    }
    this.#left -= bytes.length
    this.#pass(bytes)
  }

  #pass(bytes: Buffer): void {
    const { swallow, status, code, cutRequest, damageRequest } = this.#fault
    if (swallow === true) return
    if (status !== undefined) {
      // What the client still sends is taken and dropped, so that it gets to see the answer.
      if (this.#left! <= 0) this.#client.end(answerOf(status, code ?? codes[status] ?? "Refused"))
      return
    }
    const room = cutRequest === undefined ? bytes.length : Math.max(0, cutRequest - this.#sent)
    this.#sent += bytes.length
    if (damageRequest === true && this.#left! <= 0) bytes[bytes.length - 1]! ^= 1
    this.#move(bytes.subarray(0, room), this.#client, this.#server)
    if (room < bytes.length) this.#end()
  }

  #fromServer(bytes: Buffer): void {
    const { loseAnswer, holdAnswer, cutAnswer, delayMs } = this.#fault
    if (holdAnswer === true) return
    if (loseAnswer === true) return this.#end()
    const room = cutAnswer === undefined ? bytes.length : Math.max(0, cutAnswer - this.#received)
    this.#received += bytes.length
    if (delayMs !== undefined) this.#queue = this.#queue.then(() => sleep(delayMs))
    this.#move(bytes.subarray(0, room), this.#server, this.#client)
    if (room < bytes.length) this.#end()
  }

  #move(bytes: Buffer, from: net.Socket, to: net.Socket): void {
    if (bytes.length === 0) return
    const { bytesPerSecond } = this.#fault
    from.pause()
    this.#queue = this.#queue.then(async () => {
      if (bytesPerSecond !== undefined) await sleep((bytes.length * 1000) / bytesPerSecond)
      if (!to.destroyed && !to.write(bytes)) {
        await new Promise<void>((resolve) => {
          to.once("drain", resolve)
          to.once("close", () => resolve())
        })
      }
      from.resume()
    })
  }

  /** Ends the connection when what was passed on is out. */
  #end(): void {
    this.#queue = this.#queue
      .then(() => sleep(20))
      .then(() => {
        this.#client.destroy()
        this.#server.destroy()
      })
  }
}
