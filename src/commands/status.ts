import { httpRequest } from '../base/http.ts';
import { messageOf, retry, type Outcome } from '../base/outcome.ts';
import { formatPs, formatStatus } from '../report/text.ts';
import type { View } from '../report/types.ts';
import { loadSettings } from '../settings.ts';
import { fail } from './fail.ts';

const UNREACHABLE = 3;
const MAX_BYTES = 64 * 1024 * 1024;

interface Options {
  readonly url?: string;
  readonly config: string;
  readonly json?: boolean;
}

/** `mc-gitops status [SERVICE]`: asks the running agent; changes nothing. */
export async function runStatus(service: string | undefined, options: Options): Promise<void> {
  const view = await askAgent(options);
  if (view.kind !== 'ok') {
    fail(view, UNREACHABLE);
    return;
  }
  if (service !== undefined && !view.value.services.some((entry) => entry.name === service)) {
    const names = view.value.services.map((entry) => entry.name).join(', ');
    fail({
      kind: 'blocked',
      why: `this node has no service ${service}`,
      hint: `It has: ${names || 'none'}.`,
    });
    return;
  }
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(view.value, null, 2)}\n`
      : `${formatStatus(view.value, service)}\n`,
  );
}

/** `mc-gitops ps`: the containers of the node. */
export async function runPs(options: Options): Promise<void> {
  const view = await askAgent(options);
  if (view.kind === 'ok') process.stdout.write(`${formatPs(view.value)}\n`);
  else fail(view, UNREACHABLE);
}

/** The view of the agent at `--url`, else at the address of the settings. */
export async function askAgent(options: Pick<Options, 'url' | 'config'>): Promise<Outcome<View>> {
  let base = options.url;
  if (base === undefined) {
    const settings = loadSettings(options.config, process.env);
    if (settings.kind !== 'ok') return settings;
    base = `http://${settings.value.server.listen_addr.replace(/^:/, '127.0.0.1:').replace(/^0\.0\.0\.0:/, '127.0.0.1:')}`;
  }
  try {
    const url = new URL('/api/v1/status', base).href;
    const response = await httpRequest({ method: 'GET', url, deadlineMs: 10_000, maxBytes: MAX_BYTES });
    if (response.status !== 200)
      return retry(`the agent at ${base} answered ${response.status}`, 'Its log says more.');
    return { kind: 'ok', value: JSON.parse(Buffer.from(response.body).toString('utf8')) as View };
  } catch (error) {
    return retry(
      `no agent answers at ${base}: ${messageOf(error)}`,
      'Is `mc-gitops agent` running? Name its address with --url.',
    );
  }
}
