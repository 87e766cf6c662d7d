import { fork, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Bench } from './bench.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Runs `main.ts --child NAME` in a process of its own; it gets `input` and answers with one message. */
export function askChild<T>(bench: Bench, name: string, input: unknown, timeoutMs: number): Promise<T> {
  const child = startChild(name, input);
  bench.onEnd(() => stopped(child));
  return firstMessage<T>(child, name, timeoutMs).finally(() => stopped(child));
}

/** The same for one that goes on: resolves with its first message, and it runs until the bench ends. */
export function keepChild<T>(bench: Bench, name: string, input: unknown, timeoutMs: number): Promise<T> {
  const child = startChild(name, input);
  bench.onEnd(() => stopped(child));
  return firstMessage<T>(child, name, timeoutMs);
}

export interface AgentProcess {
  readonly dashboard: string;
  /** Resident memory now, in MiB. */
  residentMiB(): number;
  stop(): Promise<void>;
}

/** The agent as people run it: a process of its own, compiled where the compiled program is up to date. */
export async function startAgentProcess(bench: Bench, settingsPath: string): Promise<AgentProcess> {
  const child = spawn(process.execPath, [...programArguments(), 'agent', '--config', settingsPath], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  bench.onEnd(() => stopped(child));
  const dashboard = await new Promise<string>((resolve, reject) => {
    const last: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => {
      last.splice(0, last.length - 4, line);
      const found = /"address":"([^"]+)".*"msg":"dashboard"/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`the agent ended:\n${last.join('\n')}`)));
  });
  return {
    dashboard,
    residentMiB: () => residentMiB(child.pid ?? 0),
    stop: () => stopped(child),
  };
}

/** How the agent's process was started, for a note. */
export function programName(): string {
  return isCompiled() ? 'compiled program' : 'from TypeScript, with its loader';
}

/** Resident set of a process in MiB (proc(5), VmRSS). */
export function residentMiB(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib ?? NaN) / 1024;
}

function programArguments(): string[] {
  return isCompiled() ? [join(ROOT, 'dist', 'main.js')] : [...process.execArgv, join(ROOT, 'src', 'main.ts')];
}

function isCompiled(): boolean {
  const program = join(ROOT, 'dist', 'main.js');
  if (!existsSync(program)) return false;
  const source = join(ROOT, 'src');
  const times = readdirSync(source, { recursive: true, encoding: 'utf8' }).map(
    (path) => statSync(join(source, path)).mtimeMs,
  );
  return statSync(program).mtimeMs >= Math.max(...times);
}

function startChild(name: string, input: unknown): ChildProcess {
  const child = fork(join(import.meta.dirname, 'main.ts'), ['--child', name], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  child.send({ input });
  return child;
}

function firstMessage<T>(child: ChildProcess, name: string, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the process ${name} did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const settle = (work: () => void): void => {
      clearTimeout(timer);
      work();
    };
    child.once('message', (message) => settle(() => resolve(message as T)));
    child.once('error', (error) => settle(() => reject(error)));
    child.once('exit', (code) => settle(() => reject(new Error(`the process ${name} ended with ${code}`))));
  });
}

function stopped(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve();
      return;
    }
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}
