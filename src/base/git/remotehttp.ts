import fs from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  addRemote,
  fetch,
  listServerRefs,
  type GitHttpRequest,
  type GitHttpResponse,
  type HttpClient,
} from 'isomorphic-git';
import { HttpError, httpStream, type HttpStream } from '../http.ts';
import { Secret } from '../secret.ts';
import type { GitAddress } from './address.ts';
import { GitFault } from './faults.ts';
import type { GitAccess, GitRemote, RemoteRef } from './remote.ts';

export interface HttpRemoteSettings {
  readonly address: Extract<GitAddress, { kind: 'http' }>;
  readonly access: () => Promise<GitAccess>;
  readonly deadlineMs: number;
  readonly maxPackBytes: number;
}

/** Smart HTTP (git's `Documentation/gitprotocol-http.txt`), protocol 2 for asking and 0 for fetching. */
export function httpRemote(settings: HttpRemoteSettings): GitRemote {
  const { address } = settings;
  let advert: Advert | undefined;

  const ask = async (name: string | undefined, signal: AbortSignal): Promise<readonly RemoteRef[]> => {
    const http = await client(settings, signal, { get: () => advert, set: (found) => (advert = found) });
    const found = await listServerRefs({
      ...http,
      url: address.url,
      protocolVersion: 2,
      symrefs: true,
      peelTags: true,
      ...(name === undefined ? {} : { prefix: name }),
    });
    return found.filter((ref) => name === undefined || ref.ref === name).map(remoteRefOf);
  };

  return {
    async refs(name, signal) {
      const shortcut = advert !== undefined;
      try {
        return await ask(name, signal);
      } catch (error) {
        advert = undefined;
        if (!shortcut || !mayBeStale(error)) throw error;
        // The server has changed, or closed the kept connection: ask from the beginning, once.
        return ask(name, signal);
      }
    },
    async fetch(gitdir, wish, signal) {
      const http = await client(settings, signal);
      // Without credentials: isomorphic-git writes this address into the mirror's config.
      await addRemote({ fs, gitdir, remote: 'origin', url: address.url, force: true });
      const result = await fetch({
        fs,
        gitdir,
        ...http,
        url: address.url,
        remote: 'origin',
        remoteRef: wish.ref,
        // Our own mark, not the tracking ref: that one is moved before the pack has come.
        ref: wish.have ?? 'refs/mc/none',
        singleBranch: true,
        tags: false,
        ...(wish.depth === undefined ? {} : { depth: wish.depth }),
      }).finally(() => rm(join(gitdir, 'refs', 'remotes'), { recursive: true, force: true }));
      if (result.fetchHead === null) throw new GitFault('blocked', 'the repository is empty');
      return result.fetchHead;
    },
  };
}

/** The server's capabilities (protocol 2), which do not change from poll to poll: remembered, a poll is ONE request. */
interface Advert {
  readonly headers: Record<string, string>;
  readonly body: readonly Uint8Array[];
}

interface AdvertMemory {
  get(): Advert | undefined;
  set(advert: Advert): void;
}

async function client(
  settings: HttpRemoteSettings,
  signal: AbortSignal,
  memory?: AdvertMemory,
): Promise<{ http: HttpClient; headers: Record<string, string> }> {
  const access = await settings.access();
  const user = settings.address.user ?? access.user ?? 'git';
  const password = access.token ?? settings.address.password;
  const headers: Record<string, string> = {};
  if (password !== undefined) {
    const basic = new Secret(Buffer.from(`${user}:${password.reveal()}`).toString('base64'));
    headers.authorization = `Basic ${basic.reveal()}`;
  }
  const http: HttpClient = {
    request: (wanted) => exchange(wanted, settings, access.ca, signal, memory),
  };
  return { http, headers };
}

async function exchange(
  wanted: GitHttpRequest,
  settings: HttpRemoteSettings,
  ca: string | undefined,
  signal: AbortSignal,
  memory: AdvertMemory | undefined,
): Promise<GitHttpResponse> {
  const asking = wanted.method !== 'POST';
  const known = asking ? memory?.get() : undefined;
  if (known !== undefined) return gitResponse(wanted.url, known.headers, known.body);

  const answer = await httpStream({
    method: asking ? 'GET' : 'POST',
    url: wanted.url,
    headers: { 'user-agent': 'git/mc-gitops', ...wanted.headers },
    ...(wanted.body === undefined ? {} : { body: Buffer.concat(await all(wanted.body)) }),
    ...(ca === undefined ? {} : { ca }),
    deadlineMs: settings.deadlineMs,
    maxBytes: settings.maxPackBytes,
    signal,
  });
  refuseOddAnswers(answer, asking ? 'advertisement' : 'result');
  // Whole before it is handed on: isomorphic-git can lose an error in the middle of a stream.
  const body = await all(answer.body);
  if (asking) refuseSha256(body);
  if (asking && body.length > 0 && Buffer.concat(body).includes('version 2\n')) {
    memory?.set({ headers: answer.headers, body });
  }
  return gitResponse(wanted.url, answer.headers, body);
}

function refuseOddAnswers(answer: HttpStream, kind: 'advertisement' | 'result'): void {
  const fault = oddness(answer, kind);
  if (fault === undefined) return;
  answer.discard();
  throw fault;
}

function oddness({ status, headers, url }: HttpStream, kind: string): GitFault | undefined {
  if (status >= 300 && status < 400) return redirectFault(headers.location, url);
  if (status === 401 || status === 403 || status === 203) {
    return new GitFault(
      'blocked',
      `the server refuses our credentials (HTTP ${status})`,
      'Look at token_file and user.',
    );
  }
  if (status === 404 || status === 410) {
    return new GitFault(
      'blocked',
      `there is no repository here, or not for us (HTTP ${status})`,
      'Look at the url and token_file.',
    );
  }
  if (status !== 200) return new GitFault('retry', `the server answers HTTP ${status}`);
  const type = headers['content-type']?.split(';')[0]?.trim();
  if (type === `application/x-git-upload-pack-${kind}`) return undefined;
  const page = type === 'text/html' ? 'a web page' : 'something else';
  return new GitFault(
    'retry',
    `the server answers with ${page} instead of git data`,
    'Look at the url: is it the address for cloning, or a login page?',
  );
}

function redirectFault(location: string | undefined, from: string): GitFault {
  const target =
    location !== undefined && URL.canParse(location, from) ? new URL(location, from).host : 'nowhere';
  return new GitFault(
    'retry',
    `the server redirects to ${target}; redirects are not followed`,
    'Put the address it redirects to into the settings, if that is right.',
  );
}

function refuseSha256(body: readonly Uint8Array[]): void {
  if (!Buffer.concat(body).includes('object-format=sha256')) return;
  throw new GitFault(
    'blocked',
    'the repository uses SHA-256 object ids, which are not supported',
    'Use a repository with SHA-1 ids.',
  );
}

function mayBeStale(error: unknown): boolean {
  if (error instanceof GitFault) return error.kind === 'retry';
  return !(error instanceof HttpError) || error.fault === 'reset';
}

function remoteRefOf(ref: {
  ref: string;
  oid: string;
  target?: string | undefined;
  peeled?: string | undefined;
}): RemoteRef {
  return {
    name: ref.ref,
    oid: ref.oid,
    ...(ref.target === undefined ? {} : { target: ref.target }),
    ...(ref.peeled === undefined ? {} : { peeled: ref.peeled }),
  };
}

function gitResponse(
  url: string,
  headers: Record<string, string>,
  body: readonly Uint8Array[],
): GitHttpResponse {
  return { url, statusCode: 200, statusMessage: 'OK', headers, body: pieces(body) };
}

async function* pieces(body: readonly Uint8Array[]): AsyncIterableIterator<Uint8Array> {
  yield* body;
}

async function all(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return parts;
}
