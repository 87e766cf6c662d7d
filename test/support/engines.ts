import { dockerdModule } from '../../src/demo/dockerd.ts';
import { runningEngine } from '../../src/demo/engine.ts';
import { leaseEngine } from '../../src/demo/lease.ts';
import { engineVersion } from '../../src/demo/socket.ts';
import { podmanModule } from './podman.ts';

export type EngineName = 'docker' | 'podman' | 'podman-rootless';

export interface TestEngine {
  readonly name: EngineName;
  readonly kind: 'docker' | 'podman';
  readonly socketPath: string;
  readonly version: string;
  /** From the first call to the first answer; about 0 when it ran already. */
  readonly startMs: number;
  /** Gives it back at once. Tests need not: it is given back after the last test, and when the process dies. */
  readonly stop: () => Promise<void>;
}

const started = new Map<EngineName, Promise<TestEngine>>();

/** The real Docker daemon: the machine's own when one answers, otherwise a private one; one for the whole run. */
export function startDocker(): Promise<TestEngine> {
  return once('docker');
}

/** A private rootful Podman service, one for the whole run. */
export function startPodman(): Promise<TestEngine> {
  return once('podman');
}

/** A private Podman service of a user made for it, one for the whole run. */
function startPodmanRootless(): Promise<TestEngine> {
  return once('podman-rootless');
}

/** All engines, to run the same tests on each: `for (const { name, start } of allEngines) describe(name, …)`. */
export const allEngines: readonly { readonly name: EngineName; readonly start: () => Promise<TestEngine> }[] =
  [
    { name: 'docker', start: startDocker },
    { name: 'podman', start: startPodman },
    { name: 'podman-rootless', start: startPodmanRootless },
  ];

/** Gives back every engine of this process. */
async function stopEngines(): Promise<void> {
  const engines = await Promise.allSettled(started.values());
  started.clear();
  for (const engine of engines) if (engine.status === 'fulfilled') await engine.value.stop();
}

function once(name: EngineName): Promise<TestEngine> {
  const known = started.get(name);
  if (known !== undefined) return known;
  const engine = start(name);
  started.set(name, engine);
  return engine;
}

async function start(name: EngineName): Promise<TestEngine> {
  const begun = performance.now();
  const running = name === 'docker' ? await runningEngine('docker') : undefined;
  const lease =
    running === undefined
      ? await leaseEngine(name, name === 'docker' ? dockerdModule : podmanModule)
      : { socketPath: running, stop: () => Promise.resolve() };
  const version = await engineVersion(lease.socketPath);
  if (version === undefined) throw new Error(`${name} at ${lease.socketPath} does not say its version`);
  const stop = async (): Promise<void> => {
    started.delete(name);
    await lease.stop();
  };
  return { name, ...version, socketPath: lease.socketPath, startMs: performance.now() - begun, stop };
}

// Test files share the engines: the hook belongs to the whole run, wherever this file was loaded first.
if (typeof after === 'function') {
  after('the engines are given back', async function () {
    this.timeout(60_000);
    await stopEngines();
  });
}
