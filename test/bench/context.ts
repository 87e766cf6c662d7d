import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { openEngine } from '../../src/node/engine/engine.ts';
import { prepareContext } from '../../src/node/images/context.ts';
import { openSource, workspaceSources } from '../../src/node/images/source.ts';
import { timed, type Bench } from './bench.ts';
import { askChild } from './child.ts';
import type { Row } from './table.ts';

const FILES = 10_000;
const FILE_BYTES = 10_000;
const ROUNDS = 5;
const TAG = 'v1.0.0';
const BUILDERS = ['buildkit', 'classic'] as const;

type Builder = (typeof BUILDERS)[number];

interface Input {
  readonly workspace: string;
  readonly socketPath: string;
  readonly reference: string;
  readonly builder: Builder;
}

interface Measured {
  readonly ms: number;
  /** Greatest resident memory, less what the process had before. */
  readonly residentMiB: number;
}

/** A large build context: from git objects to the engine, against `git archive TAG | docker build -` in the same run. */
export async function measureContext(bench: Bench): Promise<Row[]> {
  const { engine, api } = await bench.docker();
  const workspace = await mkdtemp(join(tmpdir(), 'mcg-bench-context-'));
  bench.onEnd(() => rm(workspace, { recursive: true, force: true }));
  const directory = join(workspace, 'large');
  await makeRepository(directory);
  const ours: Record<Builder, Measured[]> = { buildkit: [], classic: [] };
  const theirs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const reference = (name: string): string => `localhost/${bench.unique}/${name}:v1.0.${round}`;
    // A layer of its own each time, so that no builder has it already.
    const build = async (name: string, work: () => Promise<unknown>): Promise<void> => {
      await retag(directory, `${name} ${round}`);
      bench.onEnd(() => api.getImage(reference(name)).remove({ force: true }));
      // Else it would pay for what the one before has still to write.
      await promisify(execFile)('sync');
      await work();
    };
    const all = [
      ...BUILDERS.map(
        (builder) => () =>
          build(builder, async () => {
            const input: Input = {
              ...{ workspace, socketPath: engine.socketPath, reference: reference(builder), builder },
            };
            ours[builder].push(await askChild<Measured>(bench, 'context', input, 600_000));
          }),
      ),
      () =>
        build('archive', async () => {
          const work = (): Promise<void> =>
            archiveAndBuild(directory, engine.socketPath, reference('archive'));
          theirs.push((await timed(work)).ms);
        }),
    ];
    for (const one of round % 2 === 0 ? all : all.reverse()) await one();
  }
  const row = (what: string, unit: string, values: readonly number[], note: string): Row => ({
    ...{ bench: 'context', what, unit, values, note },
  });
  const what = `${FILES} files, ${(FILES * FILE_BYTES) / 1e6} MB`;
  return [
    row('git archive TAG | docker build -', 'ms', theirs, `${what}; the classic builder`),
    ...BUILDERS.flatMap((builder) => [
      row(
        `ours, from git objects, ${builder}`,
        'ms',
        ours[builder].map(({ ms }) => ms),
        'the same tree, in the same run, no temporary copy',
      ),
      row(
        '  by git archive',
        '×',
        ours[builder].map(({ ms }, at) => ms / (theirs[at] ?? NaN)),
        'aim 1.3',
      ),
    ]),
    row(
      'resident memory beyond the start',
      'MiB',
      BUILDERS.flatMap((builder) => ours[builder].map(({ residentMiB }) => residentMiB)),
      'aim 200',
    ),
  ];
}

/** In a process of its own, whose memory is this build's alone. */
export async function runContext({ workspace, socketPath, reference, builder }: Input): Promise<Measured> {
  const engine = must(
    await openEngine({
      socket: socketPath,
      owner: 'bench/context',
      callDeadlineMs: 30_000,
      log: makeLog('silent'),
    }),
  );
  const before = process.memoryUsage().rss;
  const { ms } = await timed(async () => {
    const request = { path: 'large', tag: TAG, dockerfile: 'Dockerfile', reference };
    const tree = must(await openSource(request, workspaceSources(workspace)));
    const limits = { maxBytes: 2 ** 30, maxFiles: 50_000 };
    const context = must(await prepareContext(tree, { what: 'large', dockerfile: 'Dockerfile', ...limits }));
    must(
      await engine.buildImage(context.stream, {
        ...{ reference, dockerfile: context.dockerfile, buildArgs: {}, labels: {}, builder },
        signal: new AbortController().signal,
        onProgress: () => undefined,
      }),
    );
    await context.close();
  });
  engine.close();
  return { ms, residentMiB: (process.resourceUsage().maxRSS * 1024 - before) / 2 ** 20 };
}

function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(outcome.why);
  return outcome.value;
}

async function git(directory: string, ...args: string[]): Promise<void> {
  await promisify(execFile)(
    'git',
    ['-C', directory, '-c', 'user.name=b', '-c', 'user.email=b@example.net', ...args],
    {
      maxBuffer: 2 ** 26,
    },
  );
}

async function makeRepository(directory: string): Promise<void> {
  for (let at = 0; at < FILES; at += 1) {
    const folder = join(directory, `src/d${at % 100}`);
    if (at < 100) await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `f${at}`), randomBytes(FILE_BYTES));
  }
  await writeFile(join(directory, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
  await git(directory, 'init', '-q', '-b', 'main');
  // One that git starts by itself would be in the way of ours.
  await git(directory, 'config', 'gc.auto', '0');
  await git(directory, 'config', 'maintenance.auto', 'false');
  await git(directory, 'add', '-A');
  await git(directory, 'commit', '-q', '-m', 'large');
  // Random bytes have no deltas: looking for them would take minutes.
  await git(directory, 'repack', '-adq', '--window=0');
}

async function retag(directory: string, round: string): Promise<void> {
  await writeFile(join(directory, 'round'), round);
  await git(directory, 'add', '-A');
  await git(directory, 'commit', '-q', '-m', `round ${round}`);
  await git(directory, 'tag', '-f', TAG);
}

/** By the classic builder: it is what the engine has for a client without plug-ins. */
function archiveAndBuild(directory: string, socketPath: string, reference: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const archive = spawn('git', ['-C', directory, 'archive', TAG], { stdio: ['ignore', 'pipe', 'inherit'] });
    const build = spawn('docker', ['-H', `unix://${socketPath}`, 'build', '-q', '-t', reference, '-'], {
      stdio: ['pipe', 'ignore', 'inherit'],
      env: { PATH: process.env['PATH'], HOME: tmpdir(), DOCKER_BUILDKIT: '0' },
    });
    // A build that ends early is told by its exit code.
    build.stdin.on('error', () => archive.kill());
    archive.stdout.pipe(build.stdin);
    for (const child of [archive, build]) child.once('error', reject);
    build.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`docker build ended with ${code}`)),
    );
  });
}
