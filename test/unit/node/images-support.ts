import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock, type Clock } from '../../../src/base/clock.ts';
import { ok, type Outcome } from '../../../src/base/outcome.ts';
import type { ImageRef } from '../../../src/definitions/types.ts';
import type { TagTree } from '../../../src/node/images/types.ts';

export function imageRef(
  host: string | undefined,
  repository = 'mc/hello',
  tag = 'v1.0.0',
  digest?: string,
): ImageRef {
  const name = `${host === undefined ? '' : `${host}/`}${repository}:${tag}`;
  return {
    reference: digest === undefined ? name : `${name}@${digest}`,
    ...(host === undefined ? {} : { host }),
    repository,
    tag,
    ...(digest === undefined ? {} : { digest }),
  };
}

/** A clock that stands still until it is moved; sleeping is real, so that nothing waits for it for ever. */
export function steppedClock(): Clock & { step(ms: number): void; jump(ms: number): void } {
  let offset = 0;
  let wall = 0;
  const start = Date.now();
  return {
    now: () => start + wall + offset,
    monotonic: () => offset,
    sleep: (ms, signal) => systemClock.sleep(ms, signal),
    step: (ms) => {
      offset += ms;
    },
    /** Somebody sets the wall clock. */
    jump: (ms) => {
      wall += ms;
    },
  };
}

export const MANIFEST = JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: {},
  layers: [],
});
export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
export const MANIFEST_DIGEST = digestOf(MANIFEST);

export function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | undefined;
}

export interface Double {
  readonly host: string;
  readonly seen: Seen[];
  close(): Promise<void>;
}

/** A server on a free port of loopback that answers as told, and remembers what it was asked. */
export async function serve(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Double> {
  const seen: Seen[] = [];
  const server: Server = createServer((request, response) => {
    seen.push({
      method: request.method ?? '',
      url: request.url ?? '',
      authorization: request.headers.authorization,
    });
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The answer of a good registry. */
export function sendManifest(request: IncomingMessage, response: ServerResponse, headers = {}): void {
  response.writeHead(200, {
    'content-type': MANIFEST_TYPE,
    'docker-content-digest': MANIFEST_DIGEST,
    'content-length': String(Buffer.byteLength(MANIFEST)),
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : MANIFEST);
}

export interface FakeFile {
  readonly content?: string | Buffer;
  readonly mode?: string;
  readonly unsafe?: string;
}

/** A tag's tree in memory. */
export function treeOf(files: Readonly<Record<string, string | FakeFile>>): TagTree & { reads: string[] } {
  const entries = Object.entries(files)
    .map(([path, file]) => ({ path, ...(typeof file === 'string' ? { content: file } : file) }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const reads: string[] = [];
  return {
    tag: 'v1.0.0',
    commit: 'c'.repeat(40),
    taggedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
    files: entries.map(({ path, mode, unsafe }) => ({
      path,
      mode: mode ?? '100644',
      oid: path,
      ...(unsafe === undefined ? {} : { unsafe }),
    })),
    reads,
    readBlob: async (oid, maxBytes): Promise<Outcome<Uint8Array>> => {
      reads.push(oid);
      const content = Buffer.from(entries.find(({ path }) => path === oid)?.content ?? '');
      return content.length > maxBytes ? { kind: 'blocked', why: 'too large' } : ok(content);
    },
  };
}
