import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { startGitServer } from '../../src/demo/gitserver.ts';
import { git, makeRepository } from '../../src/demo/repository.ts';
import { openSource } from '../../src/source/source.ts';
import { timed, type Bench } from './bench.ts';
import type { Row } from './table.ts';

const SAMPLES = 30;
const FILES = 100;

/** A poll without news over smart HTTP, next to what git itself takes to ask for the same branch. */
export async function measurePoll(bench: Bench): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'mcg-poll-'));
  bench.onEnd(() => rm(dir, { recursive: true, force: true }));
  const repository = await makeRepository(join(dir, 'definitions.git'));
  const files = Array.from({ length: FILES }, (_, index) => [`services/svc${index}.toml`, `# ${index}\n`]);
  await repository.commit(Object.fromEntries(files) as Record<string, string>);
  const server = await startGitServer({ root: dir });
  bench.onEnd(() => server.stop());
  const url = `${server.url}/definitions.git`;
  const source = openSource(
    {
      urls: [url],
      path: '',
      branch: 'main',
      deadlineMs: 30_000,
      maxFiles: 1_000,
      maxFileBytes: 65_536,
      maxTotalBytes: 1_048_576,
      dataDir: join(dir, 'data'),
    },
    makeLog('silent'),
    systemClock,
  );
  const poll = async (accepted?: string): Promise<string> => {
    const state = await source.poll(accepted);
    if (state.kind !== 'ok') throw new Error(state.why);
    return state.value.commit.oid;
  };
  const first = await timed(() => poll());
  const head = first.value;
  await poll(head);
  const polls: number[] = [];
  const listed: number[] = [];
  const requests = { poll: 0, git: 0 };
  for (let i = 0; i < SAMPLES; i += 1) {
    const before = server.requests.length;
    polls.push((await timed(() => poll(head))).ms);
    const between = server.requests.length;
    listed.push((await timed(() => git(['ls-remote', url, 'refs/heads/main']))).ms);
    requests.poll += between - before;
    requests.git += server.requests.length - between;
  }
  return [
    {
      bench: 'poll',
      what: 'poll without news',
      unit: 'ms',
      values: polls,
      note: `${requests.poll / SAMPLES} request(s) each; git http-backend, a process a request, is most of it`,
    },
    {
      bench: 'poll',
      what: 'git ls-remote of the branch',
      unit: 'ms',
      values: listed,
      note: `${requests.git / SAMPLES} request(s) each, and the start of git`,
    },
    {
      bench: 'poll',
      what: 'first poll (clone)',
      unit: 'ms',
      values: [first.ms],
      note: `${FILES} small files, one commit`,
    },
  ];
}
