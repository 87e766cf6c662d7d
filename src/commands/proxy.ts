import { makeLog } from '../base/log.ts';
import { startProxy } from '../mc-proxy/server.ts';
import { loadSettings } from '../settings.ts';
import { fail, untilTold } from './fail.ts';

/** `mc-gitops proxy`: the TLS router, a process of its own, until SIGTERM or Ctrl-C. */
export async function runProxy(options: { config: string }): Promise<void> {
  const settings = loadSettings(options.config, process.env);
  if (settings.kind !== 'ok') {
    fail(settings);
    return;
  }
  const log = makeLog(settings.value.logLevel);
  const told = untilTold();
  const proxy = await startProxy({
    tablePath: settings.value.mcproxy.table,
    statusSocketPath: settings.value.mcproxy.status_socket,
    log,
  });
  if (proxy.kind !== 'ok') {
    fail(proxy);
    return;
  }
  log.info({ signal: await told }, 'stopping');
  await proxy.value.close();
}
