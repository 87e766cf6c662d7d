import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFileAtomic } from '../../base/files.ts';
import { blocked, messageOf, ok, retry, type Failure, type Outcome } from '../../base/outcome.ts';
import type { RouteTable, TerminatedRoute } from '../../base/routetable.ts';
import { checkCertificate, readBounded } from '../certs/check.ts';
import { ensureDirectory, writeFailure } from '../writing.ts';
import {
  bundleKey,
  bundlePath,
  parseHaproxy,
  rootsKey,
  versionPath,
  type HaproxyContent,
  type Rendered,
} from './haproxyconfig.ts';
import type { RouteKey } from './table.ts';
import { parseAddress } from '../../base/routetable.ts';

const KEY_MODE = 0o600;
const CONFIG_MODE = 0o600;
/** What a system trusts is below 300 KB. */
const MAX_ROOTS_BYTES = 1_048_576;

export interface Written extends HaproxyContent {
  /** Absent: there is no file yet. */
  readonly text?: string;
  readonly version?: string;
}

export type BundleFault = RouteKey & { readonly addr: string; readonly why: string };

const NO_FILE: Written = { table: { listeners: [] }, bundles: {} };

/** The configuration file as it stands; an empty table when there is none, or an empty one. */
export async function readWritten(path: string): Promise<Outcome<Written>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ok(NO_FILE);
    return retry(`${path} cannot be read: ${messageOf(error)}`, 'Let the agent read and write it.');
  }
  // There is nothing of anybody's in it.
  if (text.trim() === '') return ok(NO_FILE);
  const parsed = parseHaproxy(text, path);
  if (parsed.kind === 'ok') return ok({ text, ...parsed.value });
  return blocked(parsed.why, parsed.hint);
}

/** Digests of certificate files, read again only when the file has changed. */
export interface Pairs {
  /** Digest of certificate and key together; undefined when one of them cannot be read. */
  digestOf(route: TerminatedRoute): Promise<string | undefined>;
  /** Of what stands in a file of the driver's own, which is named after it. */
  digestIn(path: string): Promise<string | undefined>;
}

export function makePairs(): Pairs {
  const seen = new Map<string, { stamp: string; digest: string }>();
  const remembered = async (
    paths: readonly string[],
    read: () => Promise<string | undefined>,
  ): Promise<string | undefined> => {
    const name = paths.join('\n');
    try {
      const stats = await Promise.all(paths.map((path) => stat(path)));
      const stamp = stats.map(({ ino, size, mtimeMs, ctimeMs }) => [ino, size, mtimeMs, ctimeMs]).join();
      const before = seen.get(name);
      if (before?.stamp === stamp) return before.digest;
      const digest = await read();
      if (digest !== undefined) seen.set(name, { stamp, digest });
      return digest;
    } catch {
      return undefined;
    }
  };
  return {
    digestOf: ({ tlsCert, tlsKey }) =>
      remembered([tlsCert, tlsKey], async () => (await readPair(tlsCert, tlsKey))?.digest),
    digestIn: (path) => remembered([path], async () => digestOfText(await readFile(path, 'utf8'))),
  };
}

/**
 * The bundles of a table's l7 routes. HAProxy gets certificate and key in one file of the driver's own that is named after its content
 * and never changes: what was checked is what is served, and a route whose new files are bad goes on with those of before.
 */
export async function bundlesOf(
  table: RouteTable,
  before: Readonly<Record<string, string>>,
  options: { directory: string; now: number; pairs: Pairs; write: boolean },
): Promise<{ bundles: Record<string, string>; faults: BundleFault[] }> {
  const bundles: Record<string, string> = {};
  const faults: BundleFault[] = [];
  const roots = new Map<string, Promise<Outcome<string>>>();
  const rootsOf = (path: string): Promise<Outcome<string>> => {
    const made = roots.get(path) ?? checkedRoots(path, options);
    roots.set(path, made);
    return made;
  };
  for (const { addr, routes } of table.listeners) {
    for (const route of routes) {
      if (route.mode !== 'l7') continue;
      const { hostname, backendCa } = route;
      const fail = (why: string, old: string | undefined): void => {
        const then =
          old === undefined ? 'it is not served until then' : 'it goes on with the certificate of before';
        const listenerPort = parseAddress(addr)?.port ?? 0;
        faults.push({ addr, listenerPort, hostname, why: `${hostname}: ${why}: ${then}` });
      };
      const keep = (key: string, made: Outcome<string>): void => {
        const old = before[key];
        const digest = made.kind === 'ok' ? made.value : old;
        if (digest !== undefined) bundles[key] = digest;
        if (made.kind !== 'ok') fail(made.why, old);
      };
      const key = bundleKey(addr, hostname);
      const digest = await options.pairs.digestOf(route);
      const isKept =
        digest !== undefined &&
        (!options.write || (await options.pairs.digestIn(bundlePath(options.directory, digest))) === digest);
      const isSame = isKept && digest === before[key];
      keep(key, isSame ? ok(digest) : await checkedPair(route, options));
      if (backendCa !== undefined) keep(rootsKey(addr, hostname), await rootsOf(backendCa));
    }
  }
  return { bundles, faults };
}

/** HAProxy gets a copy: it would refuse its whole configuration for one file that is not there. */
async function checkedRoots(
  path: string,
  { directory, write }: { directory: string; write: boolean },
): Promise<Outcome<string>> {
  const read = await readBounded(path, MAX_ROOTS_BYTES);
  if (read.kind === 'missing') return blocked(`there are no roots at ${path} ([mcproxy] edge_ca)`);
  if (read.kind !== 'text') return blocked(`${path} cannot be read ([mcproxy] edge_ca)`);
  if (!read.text.includes('-----BEGIN CERTIFICATE-----'))
    return blocked(`${path} holds no certificate ([mcproxy] edge_ca)`);
  const digest = digestOfText(read.text);
  return write ? kept(directory, { digest, text: read.text }) : ok(digest);
}

async function checkedPair(
  { hostname, tlsCert, tlsKey }: TerminatedRoute,
  { directory, now, write }: { directory: string; now: number; write: boolean },
): Promise<Outcome<string>> {
  const verdict = await checkCertificate({ certPath: tlsCert, keyPath: tlsKey, hostname }, now);
  if (verdict.kind === 'absent') return blocked(`there is no certificate at ${tlsCert}`);
  if (verdict.kind !== 'valid') return blocked(verdict.why);
  const pair = await readPair(tlsCert, tlsKey);
  if (pair === undefined) return blocked(`${tlsCert} or ${tlsKey} cannot be read`);
  return write ? kept(directory, pair) : ok(pair.digest);
}

async function kept(
  directory: string,
  { digest, text }: { readonly digest: string; readonly text: string },
): Promise<Outcome<string>> {
  const path = bundlePath(directory, digest);
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    if ((await readFile(path, 'utf8').catch(() => undefined)) !== text)
      await writeFileAtomic(path, text, KEY_MODE);
    return ok(digest);
  } catch (error) {
    return writeFailure(error, path);
  }
}

async function readPair(cert: string, key: string): Promise<{ digest: string; text: string } | undefined> {
  const [one, two] = [await readBounded(cert), await readBounded(key)];
  if (one.kind !== 'text' || two.kind !== 'text') return undefined;
  const text = `${one.text.trimEnd()}\n${two.text.trimEnd()}\n`;
  return { digest: digestOfText(text), text };
}

function digestOfText(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** Writes the files of a version, and the configuration beside the one in force, to be checked. */
export async function writeCandidate(rendered: Rendered, configPath: string): Promise<Failure | undefined> {
  const directory = dirname(configPath);
  const below = versionPath(directory, rendered.version);
  const made = await ensureDirectory(directory);
  if (made.kind !== 'ok') return made;
  try {
    await mkdir(below, { recursive: true, mode: 0o700 });
    for (const [name, content] of Object.entries(rendered.files))
      await writeFileAtomic(join(below, name), content, CONFIG_MODE);
    await writeFileAtomic(candidatePath(configPath), rendered.config, CONFIG_MODE);
    return undefined;
  } catch (error) {
    return writeFailure(error, configPath);
  }
}

/** In words, which file of a version, or which of its bundles, is not what was written; undefined when all of them are. */
export async function changedFile(
  { version, files }: Rendered,
  bundles: Readonly<Record<string, string>>,
  { directory, pairs }: { readonly directory: string; readonly pairs: Pairs },
): Promise<string | undefined> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(versionPath(directory, version), name);
    if ((await readFile(path, 'utf8').catch(() => undefined)) !== content)
      return `${path} was changed by hand`;
  }
  for (const digest of new Set(Object.values(bundles))) {
    const path = bundlePath(directory, digest);
    if ((await pairs.digestIn(path)) !== digest) return `${path} was changed by hand`;
  }
  return undefined;
}

export function candidatePath(configPath: string): string {
  return `${configPath}.next`;
}

export async function writeConfig(path: string, text: string): Promise<Failure | undefined> {
  try {
    await writeFileAtomic(path, text, CONFIG_MODE);
    await rm(candidatePath(path), { force: true });
    return undefined;
  } catch (error) {
    return writeFailure(error, path);
  }
}

/** Removes a candidate that was not taken (G40), and versions and bundles that no configuration names any more. What cannot be removed is tried again at the next write. */
export async function sweep(configPath: string, keep: Written): Promise<void> {
  const directory = dirname(configPath);
  const versions = await readdir(directory).catch(() => []);
  const bundles = await readdir(join(directory, 'certs')).catch(() => []);
  const kept = new Set(Object.values(keep.bundles).map((digest) => `${digest}.pem`));
  await Promise.all([
    rm(candidatePath(configPath), { force: true }).catch(() => undefined),
    ...versions
      .filter((name) => name.startsWith('v-') && name !== `v-${keep.version ?? ''}`)
      .map((name) => rm(join(directory, name), { recursive: true, force: true }).catch(() => undefined)),
    ...bundles
      .filter((name) => !kept.has(name))
      .map((name) => rm(join(directory, 'certs', name), { force: true }).catch(() => undefined)),
  ]);
}
