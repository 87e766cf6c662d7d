import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { httpRequest } from '../../src/base/http.ts';
import { stringifyToml } from '../../src/base/toml.ts';
import type { StepKind } from '../../src/plan/types.ts';
import type { View } from '../../src/report/types.ts';
import { definitionOf, makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import type { TestEngine } from '../support/engines.ts';
import { until } from '../support/until.ts';

/** Where an agent dies, seen from its journal (G13). */
export const BOUNDARIES = ['before-intent', 'after-intent', 'before-result', 'after-result'] as const;
type Boundary = (typeof BOUNDARIES)[number];

/** One change of the node, and the kinds of steps it takes, in the order in which they come. */
export interface Chapter {
  readonly title: string;
  readonly files: (rig: AgentRig) => Readonly<Record<string, string | undefined>>;
  readonly message?: string;
  readonly kinds: readonly StepKind[];
  /** What runs in the end, by name, with its image. */
  readonly ends: Readonly<Record<string, string>>;
}

export const GOOD = 'localhost/mcg-kill-test/good:v1.0.0';
export const NEXT = 'localhost/mcg-kill-test/good:v1.1.0';
const PATIENCE_MS = 60_000;
const DEPLOY = { timeout_s: 300, stable_for_s: 0.2, stop_timeout_s: 1, drain_s: 1 };

/** From nothing to nothing: created, replaced, replaced with both running, stopped, removed. */
export const STORY: readonly Chapter[] = [
  {
    title: 'a new service',
    files: (rig) => ({ 'services/web.toml': definitionOf(rig, 'web', GOOD) }),
    kinds: [
      'lease-ports',
      'record-image',
      'issue-certificate',
      'create-network',
      'create-container',
      'record-trial',
      'start-container',
      'put-routes',
      'record-applied',
    ],
    ends: { web: GOOD },
  },
  {
    title: 'a new version',
    files: (rig) => ({ 'services/web.toml': definitionOf(rig, 'web', NEXT) }),
    kinds: ['create-container', 'retire-container', 'start-container', 'record-applied', 'remove-container'],
    ends: { web: NEXT },
  },
  {
    title: 'a new version with blue-green',
    files: (rig) => ({
      'services/web.toml': definitionOf(rig, 'web', GOOD, '', '[deploy]\nstrategy = "blue-green"\n'),
    }),
    kinds: ['lease-ports', 'set-aside-container', 'put-routes', 'remove-container'],
    ends: { web: GOOD },
  },
  {
    title: 'a service of two components, and a stop',
    files: (rig) => ({
      'services/web.toml': definitionOf(
        rig,
        'web',
        GOOD,
        '',
        'active = false\n[deploy]\nstrategy = "blue-green"\n',
      ),
      'services/pair.toml': `${plainDefinition('pair', GOOD)}[[components]]\nname = "second"\nimage = "${GOOD}"\n`,
    }),
    kinds: ['remove-routes', 'stop-container'],
    ends: { pair: GOOD, 'pair-second': GOOD },
  },
  {
    title: 'a removal',
    files: () => ({
      'services/web.toml': undefined,
      'services/pair.toml': undefined,
      'README.md': 'empty\n',
    }),
    message: 'Away with them\n\nRemove-Services: web, pair',
    kinds: ['remove-container', 'remove-network', 'forget-service'],
    ends: {},
  },
];

/** An agent as a process of its own, that can be killed at a boundary of its journal. */
export interface KillRig {
  readonly rig: AgentRig;
  /** Starts an agent that dies there, and waits until it has. Throws when it comes into line without having met the step. */
  dieAt(boundary: Boundary, kind: StepKind, nth?: number): Promise<void>;
  /** Starts one that lives, waits until everything is in line, and examines node and journal. */
  converge(chapter: Chapter): Promise<void>;
  close(): Promise<void>;
}

export async function makeKillRig(engine: TestEngine): Promise<KillRig> {
  const rig = await makeAgentRig(engine);
  await rig.startProxy();
  const config = join(rig.dir, 'agent.toml');
  await writeFile(config, settingsFile(rig));
  let agent: ChildProcess | undefined;
  let dashboard = '';

  const start = async (env: Readonly<Record<string, string>>): Promise<ChildProcess> => {
    const child = spawn(process.execPath, [...programArguments(), 'agent', '--config', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    });
    agent = child;
    createInterface({ input: child.stderr }).on('line', (line) => {
      rig.lines.push(line);
      dashboard = /"address":"([^"]+)".*"msg":"dashboard"/.exec(line)?.[1] ?? dashboard;
    });
    return child;
  };
  const view = async (): Promise<View> => {
    const url = new URL('/api/v1/status', dashboard).href;
    const answer = await httpRequest({ method: 'GET', url, deadlineMs: 5_000, maxBytes: 10_000_000 });
    return JSON.parse(Buffer.from(answer.body).toString('utf8')) as View;
  };
  const stop = async (): Promise<void> => {
    const child = agent;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  };
  const inLine = async (chapter: Chapter): Promise<void> => {
    await until(
      `${chapter.title} to be in line`,
      async () => {
        const seen = await view();
        const states = seen.services.map(({ name, state }) => `${name} ${state}`).join(', ');
        const isFine = seen.services.every(({ state }) => state === 'converged' || state === 'stopped');
        if (seen.commit?.oid === rig.head() && isFine && (await runs(rig, chapter))) return true;
        throw new Error(states);
      },
      PATIENCE_MS,
      50,
    );
  };

  return {
    rig,
    dieAt: async (boundary, kind, nth = 1) => {
      await stop();
      const child = await start({ KILL_AT: `${boundary} ${kind}`, KILL_NTH: String(nth) });
      const how = await Promise.race([
        new Promise<string | null>((resolve) => child.once('exit', (_code, signal) => resolve(signal))),
        new Promise<string>((resolve) => setTimeout(() => resolve('lives'), 30_000).unref()),
      ]);
      expect(how, `${boundary} ${kind}: ${rig.lines.slice(-3).join('\n')}`).to.equal('SIGKILL');
    },
    converge: async (chapter) => {
      dashboard = '';
      await start({});
      await until('the dashboard', () => dashboard !== '', PATIENCE_MS);
      await inLine(chapter);
      const { passes, at = 0 } = await view();
      await until('one more pass', async () => ((await view()).at ?? 0) > at, PATIENCE_MS, 50);
      expect((await view()).passes, 'G2 the second pass is empty').to.have.length(passes.length);
      await examineNode(rig, chapter);
      await stop();
      examineJournal(rig);
    },
    close: async () => {
      await stop();
      await rig.close();
    },
  };
}

async function runs(rig: AgentRig, { ends }: Chapter): Promise<boolean> {
  const facts = await rig.engine.facts();
  if (facts.kind !== 'ok') throw new Error(facts.why);
  const ours = facts.value.containers.filter(({ identity }) => identity?.owner === rig.owner);
  const up = ours.filter(({ state }) => state === 'running').map(({ name, image }) => [name, image]);
  return (
    JSON.stringify(Object.fromEntries(up.sort())) ===
    JSON.stringify(Object.fromEntries(Object.entries(ends).sort()))
  );
}

/** No container twice, none left over, one port for one route, and the routes of what runs. */
async function examineNode(rig: AgentRig, { ends }: Chapter): Promise<void> {
  const facts = await rig.engine.facts();
  if (facts.kind !== 'ok') throw new Error(facts.why);
  const ours = facts.value.containers.filter(({ identity }) => identity?.owner === rig.owner);
  const leftOver = ours.filter(({ name }) => /\.(next|prev)-/.test(name)).map(({ name }) => name);
  expect(leftOver, 'left over').to.deep.equal([]);
  const ports = ours
    .filter(({ state }) => state === 'running')
    .flatMap(({ publish }) => publish.map(({ host }) => host));
  expect(new Set(ports).size, 'G4 one port for one container').to.equal(ports.length);
  if (Object.keys(ends).length > 0) return;
  expect(ours, 'nothing is left').to.deep.equal([]);
  expect(facts.value.networks.filter((name) => name.startsWith(`mcg-${rig.instance}-`))).to.deep.equal([]);
}

/** Every step has an end, and those that were cut off say so (G11). */
function examineJournal(rig: AgentRig): void {
  const database = new Database(join(rig.dir, 'data', 'registry.db'), { readonly: true });
  try {
    expect(database.pragma('integrity_check', { simple: true })).to.equal('ok');
    expect(database.prepare('SELECT kind FROM steps WHERE result IS NULL').all(), 'open steps').to.deep.equal(
      [],
    );
  } finally {
    database.close();
  }
}

/** The compiled program where it is up to date, as people run it; else from TypeScript. */
function programArguments(): string[] {
  const hook = ['--require', join(import.meta.dirname, '..', 'support', 'killhook.cjs')];
  const program = join('dist', 'main.js');
  const times = (directory: string): number[] =>
    readdirSync(directory, { recursive: true, encoding: 'utf8' }).map(
      (path) => statSync(join(directory, path)).mtimeMs,
    );
  const isCompiled = existsSync(program) && statSync(program).mtimeMs >= Math.max(...times('src'));
  return [...hook, ...(isCompiled ? [program] : ['--import', 'tsx', join('src', 'main.ts')])];
}

function settingsFile(rig: AgentRig): string {
  const settings = rig.settings({
    source: { urls: [rig.definitions.path], branch: 'main', poll: '* * * * * *' },
    deploy: DEPLOY,
  });
  // What the settings say besides the file is worked out from it again.
  const derived = new Set(['owner', 'dataDir', 'logLevel']);
  return stringifyToml(
    JSON.parse(
      JSON.stringify(settings, (key, value: unknown) => (derived.has(key) ? undefined : value)),
    ) as Record<string, unknown>,
  );
}
