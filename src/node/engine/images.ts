import { blocked, retry } from '../../base/outcome.ts';
import { redact, type Secret } from '../../base/secret.ts';
import { imagePath, type Api } from './api.ts';
import { EngineError, Refusal, brief, isMissing } from './failure.ts';
import { jsonLines } from './events.ts';
import { imageIdOf } from './inspect.ts';
import { engineReference, referenceParts } from './reference.ts';

export interface ImageDetails {
  readonly imageId: string;
  /**
   * `sha256:…` of manifests, those of the reference's own repository only. Podman has one for an image that was only
   * built too, and it is not the one that a push makes: there only the answer of a push or pull counts.
   */
  readonly manifestDigests: readonly string[];
  readonly user: string;
  readonly volumes: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly architecture: string;
  /** `org.opencontainers.image.revision`. */
  readonly revision?: string;
}

export interface Pulled {
  readonly imageId: string;
  readonly manifestDigest?: string;
}

export interface RegistryAuth {
  readonly username: string;
  readonly password: Secret;
  /** `host[:port]` of the registry. */
  readonly serveraddress: string;
}

export interface BuildOptions {
  readonly reference: string;
  /** Path inside the context. */
  readonly dockerfile: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly memoryBytes?: number;
  readonly cpus?: number;
  /** For base images of private registries. */
  readonly auths?: readonly RegistryAuth[];
  /** The only limit of its time: the caller's. */
  readonly signal: AbortSignal;
  readonly onProgress: (line: string) => void;
}

export async function inspectImage(api: Api, reference: string): Promise<ImageDetails | undefined> {
  try {
    const path = `/images/${imagePath(engineReference(reference))}/json`;
    return imageDetails(reference, await api.call<RawImage>(`inspect image ${reference}`, 'GET', path));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Builds with the engine's classic builder, from a tar stream, and resolves with the id of the image. */
export async function buildImage(
  api: Api,
  kind: 'docker' | 'podman',
  context: NodeJS.ReadableStream,
  options: BuildOptions,
): Promise<{ imageId: string }> {
  const answer = await api.stream('POST', '/build', {
    query: {
      t: options.reference,
      dockerfile: options.dockerfile,
      buildargs: JSON.stringify(options.buildArgs),
      labels: JSON.stringify(kind === 'podman' ? labelList(options.labels) : options.labels),
      rm: true,
      forcerm: true,
      memory: options.memoryBytes,
      ...(options.cpus === undefined
        ? {}
        : { cpuperiod: CPU_PERIOD_US, cpuquota: Math.round(options.cpus * CPU_PERIOD_US) }),
    },
    headers: {
      'X-Registry-Config': encoded(authTable(options.auths ?? [])),
      'Content-Type': 'application/x-tar',
    },
    upload: context,
    signal: options.signal,
  });
  const end = await follow(answer, `build of ${options.reference}`, options.onProgress);
  const imageId = end.aux['ID'] ?? (await inspectImage(api, options.reference))?.imageId;
  if (imageId === undefined) throw new Refusal(retry(`build of ${options.reference} ended without an image`));
  return { imageId: imageIdOf(imageId) };
}

/** Podman shuffles an object's labels, and then does not find the last step of the same build in its memory. */
function labelList(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels).map(([key, value]) => `${key}=${value}`);
}

/** Pushes and resolves with the digest that the registry now has for the tag. */
export async function pushImage(
  api: Api,
  reference: string,
  auth: RegistryAuth | undefined,
  signal: AbortSignal,
  onProgress: (line: string) => void,
): Promise<{ manifestDigest: string }> {
  const { name, tag } = referenceParts(reference);
  const answer = await api.stream('POST', `/images/${imagePath(name)}/push`, {
    query: { tag },
    headers: { 'X-Registry-Auth': encodedAuth(auth) },
    signal,
  });
  const end = await follow(answer, `push of ${reference}`, onProgress);
  const manifestDigest = end.aux['Digest'] ?? end.digest;
  if (manifestDigest === undefined) {
    throw new Refusal(retry(`push of ${reference} ended without the digest of a manifest`));
  }
  return { manifestDigest };
}

/**
 * Pulls and resolves with what is here now. The digest is missing where Podman has several manifests of the image (one of
 * a build with the same bytes, for example) and does not tell which of them it pulled.
 */
export async function pullImage(
  api: Api,
  reference: string,
  auth: RegistryAuth | undefined,
  signal: AbortSignal,
  onProgress: (line: string) => void,
): Promise<Pulled> {
  const { name, tag, digest } = referenceParts(reference);
  const answer = await api.stream('POST', '/images/create', {
    query: { fromImage: name, tag: digest ?? tag },
    headers: { 'X-Registry-Auth': encodedAuth(auth) },
    signal,
  });
  const end = await follow(answer, `pull of ${reference}`, onProgress);
  const image = await inspectImage(api, reference);
  if (image === undefined) throw new Refusal(retry(`pull of ${reference} ended without an image`));
  const [first, ...others] = image.manifestDigests;
  const manifestDigest = digest ?? end.digest ?? (others.length === 0 ? first : undefined);
  if (manifestDigest === undefined && first === undefined) {
    throw new Refusal(retry(`pull of ${reference} ended without the digest of a manifest`));
  }
  return { imageId: image.imageId, ...(manifestDigest === undefined ? {} : { manifestDigest }) };
}

export async function tagImage(api: Api, source: string, target: string): Promise<void> {
  const { name, tag } = referenceParts(target);
  const path = `/images/${imagePath(engineReference(source))}/tag`;
  await api.call(`tag ${source} as ${target}`, 'POST', path, { query: { repo: name, tag } });
}

/**
 * Takes the reference away, and the image with its last one. Gone is as good; one in use stays (blocked). By a digest
 * Podman would remove the image with all its tags: there an image that still has a tag stays.
 */
export async function removeImage(api: Api, kind: 'docker' | 'podman', reference: string): Promise<void> {
  const path = `/images/${imagePath(engineReference(reference))}`;
  try {
    if (kind === 'podman' && referenceParts(reference).digest !== undefined) {
      const image = await api.call<RawImage>(`inspect image ${reference}`, 'GET', `${path}/json`);
      if ((image.RepoTags ?? []).length > 0) return;
    }
    await api.call(`remove image ${reference}`, 'DELETE', path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Tagged references of the engine's store that begin with `prefix`, sorted. */
export async function listImages(api: Api, prefix: string): Promise<string[]> {
  const listed = await api.call<{ RepoTags?: readonly string[] | null }[]>(
    'list images',
    'GET',
    '/images/json',
  );
  const tags = listed.flatMap((image) => image.RepoTags ?? []);
  return [...new Set(tags)].filter((tag) => tag.startsWith(prefix)).sort();
}

interface RawImage {
  readonly Id: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
  readonly Architecture?: string;
  readonly Config?: {
    readonly User?: string;
    readonly Volumes?: Readonly<Record<string, object>> | null;
    readonly Entrypoint?: readonly string[] | string | null;
    readonly Cmd?: readonly string[] | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
  } | null;
}

function imageDetails(reference: string, raw: RawImage): ImageDetails {
  const repository = plainRepository(referenceParts(reference).name);
  const digests = (raw.RepoDigests ?? [])
    .map(referenceParts)
    .flatMap(({ name, digest }) =>
      digest !== undefined && plainRepository(name) === repository ? [digest] : [],
    );
  const revision = raw.Config?.Labels?.['org.opencontainers.image.revision'];
  return {
    imageId: imageIdOf(raw.Id),
    manifestDigests: [...new Set(digests)],
    user: raw.Config?.User ?? '',
    volumes: Object.keys(raw.Config?.Volumes ?? {}).sort(),
    entrypoint: words(raw.Config?.Entrypoint),
    cmd: words(raw.Config?.Cmd),
    architecture: raw.Architecture ?? '',
    ...(revision === undefined ? {} : { revision }),
  };
}

/** Podman writes out what Docker leaves away. */
function plainRepository(name: string): string {
  return name.replace(/^(docker\.io|localhost)\//, '').replace(/^library\//, '');
}

function words(value: readonly string[] | string | null | undefined): readonly string[] {
  if (value === null || value === undefined || value === '') return [];
  return typeof value === 'string' ? [value] : value;
}

const CPU_PERIOD_US = 100_000;
const KEPT_LINES = 12;
const MAX_LINE = 500;

interface Progress {
  readonly stream?: unknown;
  readonly status?: unknown;
  readonly id?: unknown;
  readonly progress?: unknown;
  readonly error?: unknown;
  readonly errorDetail?: { readonly message?: unknown } | null;
  readonly aux?: Readonly<Record<string, unknown>> | null;
}

interface ProgressEnd {
  readonly aux: Readonly<Partial<Record<string, string>>>;
  readonly digest: string | undefined;
}

/** Reads a progress report to its end. The status was sent before the work: a failure is an item like the others. */
async function follow(
  answer: NodeJS.ReadableStream,
  what: string,
  onProgress: (line: string) => void,
): Promise<ProgressEnd> {
  const aux: Record<string, string> = {};
  const last: string[] = [];
  let digest: string | undefined;
  for await (const item of jsonLines(answer)) {
    const progress = (item ?? {}) as Progress;
    const failed = text(progress.errorDetail?.message) || text(progress.error);
    if (failed !== '') throw progressFailure(what, failed, last);
    for (const [key, value] of Object.entries(progress.aux ?? {})) {
      if (typeof value === 'string') aux[key] = value;
    }
    for (const line of linesOf(progress)) {
      digest = /\bdigest: (sha256:[0-9a-f]{64})/i.exec(line)?.[1] ?? digest;
      if (text(progress.progress) === '') {
        last.push(line);
        if (last.length > KEPT_LINES) last.shift();
      }
      onProgress(line);
    }
  }
  return { aux, digest };
}

function linesOf(progress: Progress): string[] {
  const status = [text(progress.id), text(progress.status), text(progress.progress)].filter(
    (part) => part !== '',
  );
  return [text(progress.stream), status.join(' ')]
    .flatMap((part) => part.split('\n'))
    .map((line) => redact(line.trimEnd()).slice(0, MAX_LINE))
    .filter((line) => line !== '');
}

function progressFailure(what: string, message: string, last: readonly string[]): Error {
  if (!what.startsWith('build')) return new EngineError(500, message);
  const log = last.length === 0 ? '' : `; its last lines: ${last.join(' | ')}`;
  return new Refusal(
    blocked(
      `${what} failed: ${brief(message)}${log}`,
      'Mend the Dockerfile or the source and tag a new version; the same tag is tried again later.',
    ),
  );
}

/** Docker wants the header even without credentials; an empty object is "anonymous" for both engines. */
function encodedAuth(auth: RegistryAuth | undefined): string {
  return encoded(auth === undefined ? {} : authEntry(auth));
}

function authTable(auths: readonly RegistryAuth[]): object {
  return Object.fromEntries(auths.map((auth) => [auth.serveraddress, authEntry(auth)]));
}

function authEntry({ username, password, serveraddress }: RegistryAuth): object {
  return { username, password: password.reveal(), serveraddress };
}

function encoded(value: object): string {
  // URL-safe, but padded: Podman takes nothing else.
  return Buffer.from(JSON.stringify(value)).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
