import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeHttp } from '../../../src/base/http.ts';
import { openDistribution } from '../../../src/node/images/distribution.ts';
import type { Answer, RegistryEntry } from '../../../src/node/images/endpoint.ts';
import { openLookup, type Lookup } from '../../../src/node/images/lookup.ts';
import { imageRef, serve, steppedClock, type Double } from './images-support.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Doubles of registries and token servers, which end with each test. */
export interface RegistryDoubles {
  /** A folder of this test. */
  readonly folder: string;
  readonly start: (handler: Handler) => Promise<Double>;
  /** The path of a file with this account. */
  readonly credentials: (text: string) => Promise<string>;
  readonly ask: (host: string, entry?: RegistryEntry, digest?: string, timeoutMs?: number) => Promise<Answer>;
}

/** Called inside `describe`. */
export function registryDoubles(): RegistryDoubles {
  let folder: string;
  let doubles: Double[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mc-registry-'));
    doubles = [];
  });
  afterEach(async () => {
    await closeHttp();
    await Promise.all(doubles.map((double) => double.close()));
    await rm(folder, { recursive: true, force: true });
  });
  return {
    get folder() {
      return folder;
    },
    start: async (handler) => {
      const double = await serve(handler);
      doubles.push(double);
      return double;
    },
    credentials: async (text) => {
      const path = join(folder, 'credentials');
      await writeFile(path, text, { mode: 0o600 });
      return path;
    },
    ask: (host, entry = {}, digest, timeoutMs = 5_000) =>
      openDistribution({ clock: steppedClock(), timeoutMs }).findManifest(
        host,
        entry,
        imageRef(host, 'mc/hello', 'v1.0.0', digest),
      ),
  };
}

export function whyOf(answer: Answer): string {
  return answer.kind === 'ok' ? 'ok' : `${answer.kind}: ${answer.why}`;
}

export function lookupOf(
  registries: Record<string, RegistryEntry>,
  clock = steppedClock(),
  more: { timeoutMs?: number; patienceMs?: number; onLate?: () => void } = {},
): Lookup {
  return openLookup({
    registries,
    clock,
    timeoutMs: 2_000,
    answerTtlMs: 30_000,
    patienceMs: 2_000,
    onLate: () => undefined,
    retryMs: { first: 10_000, longest: 300_000 },
    ...more,
  });
}
