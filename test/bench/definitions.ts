import { createHash } from 'node:crypto';
import { keyedHash } from '../../src/base/secret.ts';
import { parseToml } from '../../src/base/toml.ts';
import { resolve, type DefinitionsInput } from '../../src/definitions/resolve.ts';
import { openReader, readSafely } from '../../src/reading.ts';
import type { DefinitionFile } from '../../src/source/types.ts';
import { timed, type Bench } from './bench.ts';
import { askChild } from './child.ts';
import type { Row } from './table.ts';

const COUNT = 10_000;
const NODES = 20;
const CHANGES = 10;
const BENCH = 'definitions';

interface Measured {
  readonly parseMs: number;
  readonly coldMs: number;
  readonly changedMs: readonly number[];
  readonly threadMs: number;
  readonly afterThreadMs: number;
  readonly residentMiB: number;
  readonly emptyMiB: number;
}

/** 10,000 definitions of two components each: from bytes to what is in force, cold and after one file changed. */
export async function measureDefinitions(bench: Bench): Promise<Row[]> {
  const all = await askChild<Measured>(bench, 'definitions', {}, 300_000);
  const measured = await askChild<Measured>(bench, 'definitions', { node: 'n0' }, 300_000);
  const row = (what: string, unit: string, values: readonly number[], note = ''): Row => ({
    bench: BENCH,
    what,
    unit,
    values,
    note,
  });
  return [
    row(`parse the TOML of ${COUNT}`, 'ms', [measured.parseMs], 'after all the others'),
    row(
      `resolve ${COUNT}, cold`,
      'ms',
      [measured.coldMs],
      `parse, validate, resolve as the agent of one of ${NODES} nodes; aim 2,000`,
    ),
    row('the same, one file changed', 'ms', measured.changedMs, 'aim 50'),
    row(`resolve ${COUNT}, cold, for all nodes`, 'ms', [all.coldMs], 'a digest of each as well'),
    row(`read ${COUNT} on their own thread`, 'ms', [measured.threadMs], 'as the agent does after its start'),
    row('and resolve what was read there', 'ms', [measured.afterThreadMs]),
    row(
      'resident memory with all of them',
      'MiB',
      [measured.residentMiB],
      `after ten changes; ${Math.round(measured.emptyMiB)} of it before the first file, with the TypeScript loader; aim 300`,
    ),
  ];
}

/** In a process of its own, which nothing else has warmed or filled. */
export async function runDefinitions({ node }: { readonly node?: string }): Promise<Measured> {
  const emptyMiB = process.memoryUsage().rss / 2 ** 20;
  const inputOf = (files: readonly DefinitionFile[]): DefinitionsInput => inputFor(files, node);
  const texts = Array.from({ length: COUNT }, (_, at) => textOf(at));
  let files = texts.map((text, at) => fileOf(at, text));
  const { ms: coldMs, value } = await timed(() => resolve(inputOf(files)));
  const inForce = value.desired.services.length;
  const expected = node === undefined ? COUNT : COUNT / NODES;
  if (inForce !== expected) throw new Error(`${inForce} of ${expected} definitions are in force`);
  const changedMs: number[] = [];
  for (let change = 0; change < CHANGES; change += 1) {
    files = files.with(change * 7, fileOf(change * 7, `${textOf(change * 7)}# change ${change}\n`));
    changedMs.push((await timed(() => resolve(inputOf(files)))).ms);
  }
  const residentMiB = process.memoryUsage().rss / 2 ** 20;
  // Only now: it would have warmed the parser, and its garbage would count as memory of the rest.
  const { ms: parseMs } = await timed(() => texts.map((text) => parseToml(text)));
  const reader = openReader();
  const input = inputOf(texts.map((text, at) => fileOf(at, text)));
  const { ms: threadMs, value: read } = await timed(() => readSafely(input, '', reader));
  if (read.kind !== 'ok') throw new Error(read.why);
  const { ms: afterThreadMs } = await timed(() => resolve({ ...input, ...read.value }));
  await reader.close();
  return { parseMs, coldMs, changedMs, threadMs, afterThreadMs, residentMiB, emptyMiB };
}

function inputFor(files: readonly DefinitionFile[], node: string | undefined): DefinitionsInput {
  return {
    ...(node === undefined ? {} : { node }),
    files,
    refusedFiles: [],
    commit: { oid: 'c'.repeat(40), author: '', email: '', at: 0, message: '', parents: [] },
    lastGood: new Map(),
    defaults: { network: 'mcpnet', restart: 'unless-stopped', hostnameSuffix: 'svc.example.net' },
    hash,
  };
}

const KEY = Buffer.alloc(32, 1);

function hash(value: string): string {
  return keyedHash(KEY, value);
}

function fileOf(at: number, text: string): DefinitionFile {
  const bytes = new TextEncoder().encode(text);
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  return { path: `services/svc${at}.toml`, oid, bytes };
}

function textOf(at: number): string {
  return `name = "svc${at}"
node = "n${at % NODES}"

[build.images]
svc${at} = "Dockerfile.api"
svc${at}-web = "Dockerfile.web"

[[components]]
name = "api"
image = "mcr.svc.example.net:8443/svc${at}:v1.${at % 7}.0"
volumes = ["/srv/svc${at}:/srv/svc${at}"]
cmd = ["server", "--config", "/srv/svc${at}/svc${at}.toml"]
env = ["LOG_LEVEL=info", "REGION=r${at % 5}"]

[[components.routes]]
name = "rest"
port = 8443
mode = "l4"

[[components.routes]]
name = "grpc"
port = 9443
mode = "l4"

[[components]]
name = "web"
image = "mcr.svc.example.net:8443/svc${at}-web:v1.1.0"

[[components.routes]]
port = 443
mode = "l7"
`;
}
