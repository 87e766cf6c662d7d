import { retry, type Failure } from '../../base/outcome.ts';
import type { Api } from './api.ts';
import { openTrace } from './buildkit.ts';
import { LIBPOD } from './create.ts';
import { Refusal } from './failure.ts';
import { authTable, encoded, inspectImage, removeImage, type RegistryAuth } from './images.ts';
import { imageIdOf } from './inspect.ts';
import { unlessAborted, type Lingering } from './lingering.ts';
import { follow, type OnProgress, type ProgressEnd } from './progress.ts';
import { openSession } from './session.ts';

export interface BuildOptions {
  readonly reference: string;
  /** Path inside the context. */
  readonly dockerfile: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Of Docker's two builders; absent: BuildKit. Only `classic` holds the two limits. Podman has one, and it does all of it. */
  readonly builder?: 'buildkit' | 'classic';
  /** The time that stands in the image, milliseconds since the epoch, where the builder can be told (Podman, BuildKit of Docker 23). */
  readonly createdAt?: number;
  readonly memoryBytes?: number;
  readonly cpus?: number;
  /** For base images of private registries. */
  readonly auths?: readonly RegistryAuth[];
  /** Every step anew, whatever the builder remembers. */
  readonly noCache?: true;
  /** The only limit of its time: the caller's. */
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

const CPU_PERIOD_US = 100_000;
/** Podman's own call: the one for Docker's clients cannot make this format, and a rebuild would have another id each time. */
const PATHS = { docker: '/build', podman: `${LIBPOD}/build` } as const;
/** Docker's format has the id of the build's container in it. */
const OCI = 'application/vnd.oci.image.manifest.v1+json';

/** Builds from a tar stream, with BuildKit on Docker unless told otherwise, and resolves with the id of the image. */
export async function buildImage(
  api: Api,
  kind: 'docker' | 'podman',
  context: NodeJS.ReadableStream,
  options: BuildOptions,
  lingering: Lingering,
): Promise<{ imageId: string }> {
  const isBuildKit = kind === 'docker' && options.builder !== 'classic';
  const { auths = [], reference, signal } = options;
  if (lingering.has(reference)) throw new Refusal(stillUnderWay(reference));
  const session = isBuildKit && auths.length > 0 ? await openSession(api, auths, signal) : undefined;
  const sending = new AbortController();
  const cut = (): void => sending.abort(signal.reason);
  signal.addEventListener('abort', cut, { once: true });
  try {
    signal.throwIfAborted();
    const answer = await api.stream('POST', PATHS[kind], {
      query: {
        ...queryOf(kind, options),
        ...(isBuildKit ? { version: '2' } : {}),
        ...(session === undefined ? {} : { session: session.id }),
      },
      headers: {
        'X-Registry-Config': encoded(authTable(auths)),
        'Content-Type': 'application/x-tar',
      },
      upload: context,
      signal: sending.signal,
    });
    // Podman has begun: from here on its answer is read to the end.
    if (kind === 'podman') signal.removeEventListener('abort', cut);
    const tell: OnProgress = (line, step) => {
      if (!signal.aborted) options.onProgress(line, step);
    };
    const end = follow(answer, `build of ${reference}`, tell, isBuildKit ? openTrace : undefined);
    const { aux } = await unlessAborted(end, signal).catch((error: unknown) => {
      if (kind === 'podman' && signal.aborted)
        lingering.keep(reference, end, (late) => dropLate(api, reference, late));
      else end.catch(() => undefined);
      throw error;
    });
    const imageId = aux['ID'] ?? (await inspectImage(api, reference))?.imageId;
    if (imageId === undefined) throw new Refusal(retry(`build of ${reference} ended without an image`));
    return { imageId: imageIdOf(imageId) };
  } finally {
    signal.removeEventListener('abort', cut);
    session?.close();
  }
}

/** What came after its deadline was not waited for: an image that nobody reckons with must not be there. */
async function dropLate(api: Api, reference: string, { aux }: ProgressEnd): Promise<void> {
  const there = await inspectImage(api, reference);
  const made = aux['ID'];
  if (there === undefined || made === undefined || there.imageId !== imageIdOf(made)) return;
  await removeImage(api, 'podman', reference);
}

function stillUnderWay(reference: string): Failure {
  return retry(
    `build of ${reference}: the step of the try before is still under way: Podman does not end it`,
    'It is tried again by itself when that step has ended. One that never ends goes with the Podman service: mend the Dockerfile and tag a new version.',
  );
}

function queryOf(
  kind: 'docker' | 'podman',
  options: BuildOptions,
): Record<string, string | number | boolean | undefined> {
  const { createdAt, cpus } = options;
  const seconds = createdAt === undefined ? undefined : Math.floor(createdAt / 1000);
  const isBuildKit = kind === 'docker' && options.builder !== 'classic';
  const buildArgs =
    seconds === undefined || !isBuildKit
      ? options.buildArgs
      : { SOURCE_DATE_EPOCH: String(seconds), ...options.buildArgs };
  return {
    t: options.reference,
    dockerfile: options.dockerfile,
    buildargs: JSON.stringify(buildArgs),
    labels: JSON.stringify(kind === 'podman' ? labelList(options.labels) : options.labels),
    rm: true,
    forcerm: true,
    nocache: options.noCache,
    memory: options.memoryBytes,
    ...(kind === 'podman' ? { timestamp: seconds, layers: true, outputformat: OCI } : {}),
    ...(cpus === undefined ? {} : { cpuperiod: CPU_PERIOD_US, cpuquota: Math.round(cpus * CPU_PERIOD_US) }),
  };
}

/** Podman shuffles an object's labels, and then does not find the last step of the same build in its memory. */
function labelList(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels).map(([key, value]) => `${key}=${value}`);
}
