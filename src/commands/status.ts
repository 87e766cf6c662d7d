import type { Outcome } from '../base/outcome.ts';
import { formatPs, formatStatus } from '../report/text.ts';
import type { View } from '../report/types.ts';
import { askJson, UNREACHABLE, type AgentOptions } from './ask.ts';
import { fail } from './fail.ts';

interface Options extends AgentOptions {
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

/** The view of the running agent. */
async function askAgent(options: AgentOptions): Promise<Outcome<View>> {
  return askJson<View>(options, '/api/v1/status');
}
