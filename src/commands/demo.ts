import { cp, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeLog } from '../base/log.ts';
import { messageOf } from '../base/outcome.ts';
import { buildBaseImage } from '../demo/baseimage.ts';
import { clearSite } from '../demo/clear.ts';
import { ensureEngine } from '../demo/engine.ts';
import { makeSite, type Site } from '../demo/site.ts';
import { tellStory } from '../demo/story.ts';
import { openEngine, type Engine } from '../node/engine/engine.ts';
import { untilTold } from './fail.ts';

interface DemoOptions {
  readonly exit?: boolean;
  readonly port: number;
}

/** `mc-gitops demo`: the whole way on this machine. Exit code 0 when every step was seen, else 1 with the step and the logs' path. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const startedAt = performance.now();
  const say = (what: string, because?: string): void => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1).padStart(6);
    process.stdout.write(
      `${seconds}s  ${what}${because === undefined ? '' : `\n         because: ${because}`}\n`,
    );
  };
  const told = untilTold();
  let step = 'start';
  let failed: unknown;
  let isInterrupted = false;
  const lease = await ensureEngine(say);
  let site: Site | undefined;
  let engine: Engine | undefined;
  try {
    site = await makeSite({ socketPath: lease.socketPath, dashboardPort: options.port });
    engine = await open(lease.socketPath, site.owner);
    say(`everything of this run is in ${site.dir}, and its containers carry the owner ${site.owner}`);
    await buildBaseImage(engine, site.baseImage, await mkdtemp(join(site.dir, 'base-')), site.instance);
    say('base image built from the node of this machine');
    const story = tellStory(site, engine, say, (name) => (step = name));
    // The story goes on polling for a while when it is left: nobody waits for it then.
    story.catch(() => undefined);
    isInterrupted = (await Promise.race([story, told])) !== undefined;
    if (isInterrupted) say('interrupted: everything is removed');
    else say(`done. The dashboard: ${site.dashboard}/`);
    if (options.exit !== true && !isInterrupted) {
      process.stdout.write('Ctrl-C ends the demo and removes everything it made.\n');
      await told;
    }
  } catch (error) {
    failed = error;
  }
  if (failed !== undefined) {
    const logs = site === undefined ? undefined : await keepLogs(site);
    process.stderr.write(`demo: failed at "${step}": ${messageOf(failed)}\n`);
    if (logs !== undefined) process.stderr.write(`demo: the logs are in ${logs}\n`);
    process.exitCode = 1;
  }
  if (site !== undefined && engine !== undefined) await clearSite(site, engine, say);
  engine?.close();
  await lease.stop();
  if (isInterrupted) process.exit(130);
}

async function open(socket: string, owner: string): Promise<Engine> {
  const engine = await openEngine({ socket, owner, callDeadlineMs: 30_000, log: makeLog('silent') });
  if (engine.kind !== 'ok') throw new Error(engine.why);
  return engine.value;
}

async function keepLogs(site: Site): Promise<string> {
  const kept = await mkdtemp(join(tmpdir(), 'mc-gitops-demo-logs-'));
  await cp(join(site.dir, 'logs'), kept, { recursive: true });
  return kept;
}
