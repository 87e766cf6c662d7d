import { createCipheriv, createHash } from 'node:crypto';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
  readonly bytes: Buffer;
}

export interface Target {
  readonly port: number;
  readonly hostname: string;
  readonly ca: string;
}

/** One HTTPS request by host name to a port of this machine, on a connection of its own unless an agent is given. */
export function ask(
  target: Target,
  options: RequestOptions = {},
  body?: string | Buffer | Readable,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        host: '127.0.0.1',
        port: target.port,
        servername: target.hostname,
        ca: target.ca,
        agent: new Agent({ maxCachedSessions: 0 }),
        ...options,
        headers: { Host: target.hostname, ...(options.headers as object | undefined) },
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part)).on('error', reject);
        response.on('end', () => {
          const { statusCode, headers, trailers } = response;
          const bytes = Buffer.concat(parts);
          resolve({ status: statusCode ?? 0, headers, trailers, bytes, body: bytes.toString('latin1') });
        });
      },
    );
    request.on('error', reject);
    if (body instanceof Readable) body.pipe(request);
    else request.end(body);
  });
}

/** A TLS connection by host name to a port of this machine. */
export function connectTo(target: Target, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port: target.port,
      servername: target.hostname,
      ca: target.ca,
      ...options,
    });
    socket.once('secureConnect', () => resolve(socket)).once('error', reject);
    socket.once('close', () => reject(new Error('closed before the handshake was done')));
  });
}

/** `megabytes` of bytes that look random and are the same each time, and their hash when they have been read. */
export function bigStream(megabytes: number): { stream: Readable; sha256: () => string; bytes: number } {
  const block = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(
    Buffer.alloc(1_048_576),
  );
  const hash = createHash('sha256');
  let left = megabytes;
  let digest: string | undefined;
  const stream = new Readable({
    read() {
      if (left === 0) {
        this.push(null);
        return;
      }
      left -= 1;
      const part = Buffer.from(block);
      part.writeUInt32BE(left, 0);
      hash.update(part);
      this.push(part);
    },
  });
  return { stream, sha256: () => (digest ??= hash.digest('hex')), bytes: megabytes * 1_048_576 };
}

export async function hashOf(stream: AsyncIterable<Buffer>): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const part of stream) {
    hash.update(part);
    bytes += part.length;
  }
  return { sha256: hash.digest('hex'), bytes };
}
