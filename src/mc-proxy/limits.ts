/** What one router takes from its clients and its services before it says no. */
export interface Limits {
  /** Client connections on all listeners together; the next one is closed at once. */
  readonly maxConnections: number;
  /** A ClientHello, all its records together. Real ones are below 2 KB, with post-quantum keys below 4 KB. */
  readonly maxHelloBytes: number;
  /** From accepting a connection to its whole ClientHello. */
  readonly helloTimeoutMs: number;
  /** From the ClientHello to the end of the TLS handshake (l7). */
  readonly handshakeTimeoutMs: number;
  /** All header lines of a request, or of an answer. */
  readonly maxHeaderBytes: number;
  /** From the first byte of a request to the end of its headers. */
  readonly headersTimeoutMs: number;
  /** An l7 connection without any request on it. */
  readonly keepAliveTimeoutMs: number;
  /** Requests at the same time on one HTTP/2 connection. */
  readonly maxStreams: number;
  /** Opening a connection to a service; then 502. */
  readonly connectTimeoutMs: number;
  /** From the last byte that moved to the first byte of the answer; then 504. */
  readonly responseTimeoutMs: number;
  /** An answer of which no byte moves. Event streams have to send something within it. */
  readonly idleTimeoutMs: number;
  /** An l4 connection, a WebSocket or a gRPC call of which no byte moves. */
  readonly tunnelIdleTimeoutMs: number;
  /** The same once one side has finished sending: a client that is gone looks no different. */
  readonly halfClosedIdleTimeoutMs: number;
  /** A kept connection to a service that is not used: below the usual 5 s of servers, so that it is never met closing. */
  readonly backendKeepAliveMs: number;
  /** How long `close()` waits for what is under way. */
  readonly drainTimeoutMs: number;
  /** The table and the certificates are looked at that often even if no event came. */
  readonly recheckMs: number;
  readonly maxTableBytes: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxConnections: 10_000,
  maxHelloBytes: 16_384,
  helloTimeoutMs: 10_000,
  handshakeTimeoutMs: 10_000,
  maxHeaderBytes: 32_768,
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 75_000,
  maxStreams: 250,
  connectTimeoutMs: 5_000,
  responseTimeoutMs: 60_000,
  idleTimeoutMs: 600_000,
  tunnelIdleTimeoutMs: 3_600_000,
  halfClosedIdleTimeoutMs: 60_000,
  backendKeepAliveMs: 4_000,
  drainTimeoutMs: 5_000,
  recheckMs: 30_000,
  maxTableBytes: 8_388_608,
};
