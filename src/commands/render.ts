import { ok, type Outcome } from '../base/outcome.ts';
import type { DesiredService, EnvValues } from '../definitions/types.ts';
import { labelsOf } from '../node/engine/request.ts';
import type { Facts } from '../plan/facts.ts';
import { leasesFor } from '../plan/leases.ts';
import { renderCommands, shellLine } from '../plan/render.ts';
import { specDigest, specOf } from '../plan/spec.ts';
import type { Lease } from '../registry/types.ts';
import type { Settings } from '../settings.ts';
import { planSettings } from '../wiring.ts';
import { nothingRuns, settingsFor } from './between.ts';
import { readDirectory } from './directory.ts';
import { fail } from './fail.ts';
import { askAgent } from './status.ts';
import { resolveDirectory } from './validate.ts';

interface Options {
  readonly dir: string;
  readonly engine: 'docker' | 'podman';
  readonly state?: string;
  readonly withValues?: boolean;
  readonly config: string;
}

/** `mc-gitops render SERVICE`: the engine commands that a definition stands for, without agent and engine (L01). */
export async function runRender(name: string, options: Options): Promise<void> {
  const settings = settingsFor(options.config);
  if (settings.kind !== 'ok') {
    fail(settings);
    return;
  }
  const read = await readDirectory(options.dir);
  if (read.kind !== 'ok') {
    fail(read, 2);
    return;
  }
  const resolved = await resolveDirectory(read.value);
  if (resolved.kind !== 'ok') {
    fail(resolved);
    return;
  }
  const { desired, values } = resolved.value;
  const found = desired.services.find((entry) => entry.service.name === name);
  if (found === undefined) {
    const issue = desired.issues.find((entry) => entry.service === name && entry.severity === 'error');
    const why =
      issue === undefined
        ? `${options.dir} has no service ${name}`
        : `${issue.file}:${issue.line}:${issue.column}: ${issue.message}`;
    fail({
      kind: 'blocked',
      why,
      hint: issue?.hint ?? `It has: ${desired.services.map((entry) => entry.service.name).join(', ')}.`,
    });
    return;
  }
  const leases = await liveLeases(name, options);
  if (leases.kind !== 'ok') fail(leases, 3);
  else
    process.stdout.write(
      `${render(found, values, { ...settings.value, node: found.service.node }, leases.value, options).join('\n')}\n`,
    );
}

function render(
  found: DesiredService,
  values: EnvValues,
  settings: Settings,
  leases: readonly Lease[],
  options: Options,
): string[] {
  const facts = offlineFacts(found, settings, leases);
  const chosen = leasesFor(facts, found.service);
  if (chosen.kind !== 'leased') return [`# ${chosen.why}`];
  const leased: Facts = { ...facts, promised: { ...facts.promised, leases: [...leases, ...chosen.missing] } };
  const { service } = found;
  const lines = [`# ${service.name} (${found.file}) on node ${service.node}`];
  if (chosen.missing.length > 0)
    lines.push(
      '# The host ports are those that a node without other services would choose; --state takes the live ones.',
    );
  const seen = new Set<string>();
  for (const component of service.components) {
    const spec = specOf(leased, service, component);
    const own =
      options.withValues === true
        ? (values.get(`${service.name}/${component.name}`) ?? new Map<string, string>())
        : new Map<string, string>();
    const labels = labelsOf(spec, specDigest(spec, leased.settings.keyId));
    lines.push('', `# component ${component.name}`);
    if (spec.env.length > 0 && options.withValues !== true) {
      lines.push(
        `# taken from this shell: ${spec.env.map((entry) => entry.name).join(', ')} (--with-values prints their values)`,
      );
    }
    for (const command of renderCommands(spec, { engine: options.engine, labels, values: own }).map(
      shellLine,
    )) {
      // A network that two components share is made once.
      if (!seen.has(command)) lines.push(command);
      seen.add(command);
    }
    for (const route of component.routes) {
      const port = spec.leases[route.name] ?? 0;
      lines.push(
        `# route ${route.hostname}:${route.port} (${route.mode}) -> ${leased.settings.publishIp}:${port}`,
      );
    }
  }
  return lines;
}

/** The facts of a node where nothing runs yet. */
function offlineFacts(found: DesiredService, settings: Settings, leases: readonly Lease[]): Facts {
  const commit = { oid: found.commit, author: '', email: '', at: 0, message: '', parents: [] };
  return {
    desired: {
      node: settings.node,
      commit,
      services: [found],
      refused: [],
      unreadable: false,
      removals: [],
      issues: [],
    },
    promised: { applied: [], leases, routes: [], images: [], files: [], failures: [], trials: [] },
    observed: nothingRuns(),
    settings: {
      ...planSettings({ ...settings, owner: `${settings.node}/${settings.instance}` }, 'offline'),
      removable: [],
      windows: [],
    },
    now: 0,
  };
}

async function liveLeases(name: string, options: Options): Promise<Outcome<Lease[]>> {
  if (options.state === undefined) return ok([]);
  const view = await askAgent({ url: options.state, config: options.config });
  if (view.kind !== 'ok') return view;
  const ports = view.value.services.find((service) => service.name === name)?.ports ?? [];
  return ok(
    ports.map(({ component, route, port }) => ({ service: name, component, route, slot: 'a', port })),
  );
}
