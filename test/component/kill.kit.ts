import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { httpRequest } from '../../src/base/http.ts';
import type { StepKind } from '../../src/plan/types.ts';
import type { View } from '../../src/report/types.ts';
import type { AgentRig } from '../support/agentrig.ts';
import type { TestEngine } from '../support/engines.ts';
import { until } from '../support/until.ts';
import { openScene, type Scene } from './kill.scene.ts';
import type { Chapter, Cut } from './kill.story.ts';

/** Where an agent dies, seen from its journal (G13). */
export const BOUNDARIES = ['before-intent', 'after-intent', 'before-result', 'after-result'] as const;
type Boundary = (typeof BOUNDARIES)[number];

const PATIENCE_MS = 60_000;
/** A job is cut off while the registry has not answered this. */
const JOBS: Readonly<Record<Exclude<Cut, StepKind>, RegExp>> = {
  'a pull under way': /^GET .*\/blobs\//,
  'a push under way': /^(POST|PATCH|PUT) .*\/blobs\//,
};

/** An agent as a process of its own, that can be killed at a boundary of its journal. */
export interface KillRig {
  /** The commit of a chapter, and what is done by hand before it. */
  begin(chapter: Chapter): Promise<void>;
  /** Starts an agent that dies there, and waits until it has. Throws when it comes into line without having met the step. */
  dieAt(boundary: Boundary, cut: Cut): Promise<void>;
  /** Starts one that lives, waits until everything is in line, and examines node and journal. */
  converge(): Promise<void>;
  close(): Promise<void>;
}

export async function makeKillRig(engine: TestEngine): Promise<KillRig> {
  const scene = await openScene(engine);
  const { rig, gate } = scene;
  let agent: ChildProcess | undefined;
  let chapter: Chapter | undefined;
  let dashboard = '';

  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    const child = agent;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  };
  const start = async (env: Readonly<Record<string, string>>): Promise<ChildProcess> => {
    await stop();
    const config = await scene.settingsFile(chapter?.settings?.(scene));
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
  const inLine = async ({ title, states = {}, ends }: Chapter): Promise<void> => {
    await until(
      `${title} to be in line`,
      async () => {
        const seen = await view();
        const told = seen.services.map(({ name, state }) => `${name} ${state}`).join(', ');
        const isFine = seen.services.every(({ name, state }) =>
          states[name] === undefined ? state === 'converged' || state === 'stopped' : state === states[name],
        );
        if (seen.commit?.oid === rig.head() && isFine && (await runs(rig, endsOf(scene, ends)))) return true;
        throw new Error(told);
      },
      PATIENCE_MS,
      50,
    );
  };
  /** While the registry is slow, so that a job is under way. */
  const dieIn = async (): Promise<void> => {
    try {
      await start({});
      await gate.held();
      await stop('SIGKILL');
    } finally {
      gate.release();
    }
  };

  return {
    begin: async (next) => {
      chapter = next;
      // Held from the beginning: a transfer that an earlier life began may not come to its end before it is cut off.
      const job = next.cuts.find(isJob);
      if (job !== undefined) gate.hold(JOBS[job]);
      await next.before?.(scene);
      await rig.push(next.files(scene), next.message);
    },
    dieAt: async (boundary, cut) => {
      if (isJob(cut)) return dieIn();
      const child = await start({ KILL_AT: `${boundary} ${cut}` });
      const died = new Promise<string | null>((resolve) =>
        child.once('exit', (_code, signal) => resolve(signal)),
      );
      await chapter?.amid?.(scene);
      const how = await Promise.race([
        died,
        new Promise<string>((resolve) => setTimeout(() => resolve('lives'), PATIENCE_MS).unref()),
      ]);
      expect(how, `${boundary} ${cut}: ${rig.lines.slice(-3).join('\n')}`).to.equal('SIGKILL');
    },
    converge: async () => {
      if (chapter === undefined) throw new Error('nothing was begun');
      dashboard = '';
      await start({});
      await until('the dashboard', () => dashboard !== '', PATIENCE_MS);
      await inLine(chapter);
      const { isTidy } = chapter;
      if (isTidy !== undefined) {
        await until('what nobody needs to be gone', () => isTidy(scene), PATIENCE_MS);
        // The pass that did it is told when it has ended.
        const { at: done = 0 } = await view();
        await until('the next pass', async () => ((await view()).at ?? 0) > done, PATIENCE_MS, 50);
      }
      const { passes, at = 0 } = await view();
      if (chapter.isRestless !== true) {
        await until('one more pass', async () => ((await view()).at ?? 0) > at, PATIENCE_MS, 50);
        expect((await view()).passes, 'G2 the second pass is empty').to.have.length(passes.length);
      }
      await examineNode(rig, endsOf(scene, chapter.ends), chapter.states);
      await chapter.proved?.(scene);
      await stop();
      examineJournal(rig);
    },
    close: async () => {
      await stop();
      await scene.close();
    },
  };
}

function isJob(cut: Cut): cut is Exclude<Cut, StepKind> {
  return cut in JOBS;
}

type Ends = Readonly<Record<string, string>>;

function endsOf(scene: Scene, ends: Chapter['ends']): Ends {
  return typeof ends === 'function' ? ends(scene) : ends;
}

async function runs(rig: AgentRig, ends: Ends): Promise<boolean> {
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
async function examineNode(rig: AgentRig, ends: Ends, states: Chapter['states'] = {}): Promise<void> {
  const facts = await rig.engine.facts();
  if (facts.kind !== 'ok') throw new Error(facts.why);
  const ours = facts.value.containers.filter(({ identity }) => identity?.owner === rig.owner);
  // What gave a place back is kept aside, for its log.
  const leftOver = ours
    .filter(
      ({ name, identity }) => /\.(next|prev)-/.test(name) && states[identity?.service ?? ''] === undefined,
    )
    .map(({ name }) => name);
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
