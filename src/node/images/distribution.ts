import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { HttpError, type HttpResponse } from '../../base/http.ts';
import { messageOf, ok, retry, type Failure } from '../../base/outcome.ts';
import type { ImageRef } from '../../definitions/types.ts';
import { denied, endpointOf, refused, type Answer, type Endpoint, type RegistryEntry } from './endpoint.ts';
import { openLogins, type Logins } from './login.ts';

export interface Distribution {
  /** Digest of the manifest; `undefined` when the registry says that it has none. */
  findManifest(host: string, entry: RegistryEntry, ref: ImageRef): Promise<Answer>;
}

const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Client of the OCI distribution API (distribution-spec 1.1, "Pulling manifests"; docker "Token Authentication
 * Specification"): asks whether a tag exists, and which manifest it names. Never throws.
 */
export function openDistribution(options: { clock: Clock; timeoutMs: number }): Distribution {
  const logins = openLogins(options.clock);
  return {
    findManifest: async (host, entry, ref) => {
      try {
        const endpoint = await endpointOf(host, entry, options);
        return 'kind' in endpoint ? endpoint : await find(endpoint, logins, ref, options.clock);
      } catch (error) {
        if (error instanceof HttpError) {
          const hint =
            error.fault === 'tls'
              ? `Set registries."${host}".ca_cert to the authority that signed its certificate.`
              : 'It is asked again by itself; images that are here go on running.';
          // Its own name need not stand there twice; that of a token server is news.
          const isOwn = [host, `${host}:443`].includes(error.peer);
          const what = isOwn ? ` ${error.message.slice(error.peer.length + 1)}` : `: ${error.message}`;
          return { ...retry(`registry ${host}${what}`, hint), registry: true };
        }
        return retry(`registry ${host}: ${messageOf(error)}`);
      }
    },
  };
}

async function find(endpoint: Endpoint, logins: Logins, ref: ImageRef, clock: Clock): Promise<Answer> {
  const head = await askManifest(endpoint, logins, ref, 'HEAD');
  if ('kind' in head) return head;
  const fromHead = judge(endpoint, ref, head, clock) ?? digestOfHead(endpoint, ref, head);
  if (fromHead !== undefined) return fromHead;
  const get = await askManifest(endpoint, logins, ref, 'GET');
  if ('kind' in get) return get;
  return judge(endpoint, ref, get, clock) ?? digestOfBody(endpoint, ref, get);
}

async function askManifest(
  endpoint: Endpoint,
  logins: Logins,
  ref: ImageRef,
  method: 'HEAD' | 'GET',
): Promise<HttpResponse | Failure> {
  const url = `${endpoint.base}/v2/${ref.repository}/manifests/${ref.digest ?? ref.tag}`;
  const accept = { accept: MANIFEST_TYPES.join(', ') };
  const known = logins.remembered(endpoint.host, ref.repository);
  const first = await endpoint.ask({
    method,
    url,
    headers: { ...accept, ...(known === undefined ? {} : { authorization: known.reveal() }) },
  });
  if (first.status !== 401) return first;
  const login = await logins.login(endpoint, ref.repository, first.headers['www-authenticate'] ?? '');
  if (login.kind !== 'ok') return login;
  return endpoint.ask({ method, url, headers: { ...accept, authorization: login.value.reveal() } });
}

/** `undefined`: there is a manifest, which is to be looked at. */
function judge(endpoint: Endpoint, ref: ImageRef, response: HttpResponse, clock: Clock): Answer | undefined {
  const { status, headers } = response;
  const name = `${ref.repository}:${ref.tag}`;
  if (mediaType(headers) === 'text/html') {
    return retry(
      `${endpoint.host} answers with a web page (status ${status}) when asked for ${name}`,
      'Something else answers under this address, or stands before the registry: is the host right?',
    );
  }
  if (status === 404) return ok(undefined);
  if (status === 401 || status === 403) return denied(endpoint, status, `image ${name}`);
  if (status === 405) return undefined;
  if (status !== 200) return refused(endpoint.host, response, `image ${name}`, clock);
  return undefined;
}

function digestOfHead(
  endpoint: Endpoint,
  ref: ImageRef,
  { status, headers }: HttpResponse,
): Answer | undefined {
  const digest = headers['docker-content-digest'];
  const named = status === 200 && digest !== undefined && DIGEST.test(digest);
  return named && MANIFEST_TYPES.includes(mediaType(headers)) ? matching(endpoint, ref, digest) : undefined;
}

function mediaType(headers: HttpResponse['headers']): string {
  return (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

function digestOfBody(endpoint: Endpoint, ref: ImageRef, response: HttpResponse): Answer {
  if (!isManifest(response.body)) {
    return retry(
      `${endpoint.host} answers with something that is no image manifest when asked for ${ref.repository}:${ref.tag}`,
      'It is asked again by itself; push the image again if this stays.',
    );
  }
  const digest = `sha256:${createHash('sha256').update(response.body).digest('hex')}`;
  const claimed = response.headers['docker-content-digest'];
  if (claimed?.startsWith('sha256:') === true && claimed !== digest) {
    return retry(`${endpoint.host} sends a manifest of ${ref.repository}:${ref.tag} that is not ${claimed}`);
  }
  return matching(endpoint, ref, digest);
}

function isManifest(body: Uint8Array): boolean {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    return (
      typeof value === 'object' && value !== null && 'schemaVersion' in value && value.schemaVersion === 2
    );
  } catch {
    return false;
  }
}

function matching(endpoint: Endpoint, ref: ImageRef, digest: string): Answer {
  if (ref.digest === undefined || ref.digest === digest) return ok(digest);
  return retry(`${endpoint.host} answers with ${digest} when asked for ${ref.repository}@${ref.digest}`);
}
