import { startAgent } from '../agent.ts';
import { makeLog } from '../base/log.ts';
import { loadSettings } from '../settings.ts';
import { VERSION } from '../version.ts';
import { fail, untilTold } from './fail.ts';

/** `mc-gitops agent`: until SIGTERM or Ctrl-C. Containers go on running. */
export async function runAgent(options: { config: string }): Promise<void> {
  const settings = loadSettings(options.config, process.env);
  if (settings.kind !== 'ok') {
    fail(settings);
    return;
  }
  const log = makeLog(settings.value.logLevel);
  const told = untilTold();
  log.info({ version: VERSION, owner: settings.value.owner }, 'mc-gitops agent starts');
  const agent = await startAgent(settings.value, log);
  if (agent.kind !== 'ok') {
    log.fatal({ why: agent.why, hint: agent.hint }, 'the agent cannot start');
    fail(agent);
    return;
  }
  log.info({ signal: await told }, 'stopping; containers go on running');
  await agent.value.stop();
  // A poll of git that hangs must not keep the process: what it would have brought is fetched by the next start.
  process.exit(0);
}
