import { existsSync } from 'node:fs';
import { blocked, ok, type Outcome } from '../../base/outcome.ts';
import { quote } from '../../definitions/findings.ts';
import type { LastGood, Resolution } from '../../definitions/resolve.ts';
import type { Desired, DesiredService, EnvValues } from '../../definitions/types.ts';
import { certificatePaths } from '../../node/certs/place.ts';
import type { CertificateState } from '../../node/certs/types.ts';
import type { Facts } from '../../plan/facts.ts';
import { leasesFor, withLeases } from '../../plan/leases.ts';
import { isDefaultHostname } from '../../plan/look.ts';
import { asApplied } from '../../plan/slots.ts';
import { STATE_FORMAT } from '../../report/state.ts';
import type { Settings } from '../../settings.ts';
import { definitionOptions, planSettings } from '../../wiring.ts';
import { nothingRuns, settingsFor } from '../between.ts';
import { readDirectory, type Directory } from '../directory.ts';
import { factsOf, type Standing } from '../foresee.ts';
import { lastGood, readState } from '../state.ts';
import { resolveDirectory } from '../validate.ts';

export interface SubjectOptions {
  readonly dir: string;
  readonly node?: string;
  readonly state?: string;
  readonly config: string;
}

/** What is rendered: services of one node, and everything of the node that their containers depend on. */
export interface Subject {
  /** Every port is leased, and each l7 host name has its certificate files. */
  readonly facts: Facts;
  /** In the order of `after`. */
  readonly services: readonly DesiredService[];
  /** Active services of the node only are rendered when none is named: these were left out. */
  readonly leftOut: readonly string[];
  /** Files of the node that are bad, and of which nothing is rendered: `services/web.toml:3:1: …`. */
  readonly bad: readonly string[];
  /** The node has active services with routes that are not rendered. */
  readonly isPart: boolean;
  readonly values: EnvValues;
  readonly settings: Settings;
  /** The settings are the node's own, not the defaults. */
  readonly hasSettings: boolean;
  readonly hasState: boolean;
  /** What could not be known, one line each. */
  readonly assumptions: readonly string[];
}

/**
 * The definitions of a directory, for one service or all active ones of a node, on the node's state where it is given.
 * `blocked`: there is no such service, or a file of the three is bad; `retry`: the agent does not answer.
 */
export async function subjectOf(
  name: string | undefined,
  options: SubjectOptions,
): Promise<Outcome<Subject>> {
  const given = settingsFor(options.config);
  if (given.kind !== 'ok') return given;
  const hasSettings = existsSync(options.config);
  const state = options.state === undefined ? ok(undefined) : await readState(options.state);
  if (state.kind !== 'ok') return state;
  const root = state.value?.root ?? given.value.source.path;
  const directory = await readDirectory(options.dir, root);
  if (directory.kind !== 'ok') return directory;
  const node = await nodeFor(name, options, directory.value, {
    root,
    ...(state.value === undefined ? {} : { state: state.value.node }),
    ...(hasSettings ? { settings: given.value.node } : {}),
  });
  if (node.kind !== 'ok') return node;
  const settings = { ...given.value, node: node.value, owner: `${node.value}/${given.value.instance}` };
  const isOwn = hasSettings && given.value.node === node.value;
  const standing: Standing = state.value ?? emptyStanding(settings, root, isOwn);
  const before =
    state.value === undefined
      ? new Map<string, LastGood>()
      : (await lastGood(options.dir, state.value)).found;
  const { defaults, policy } = standing;
  const resolved = await resolveDirectory(
    directory.value,
    { node: node.value, defaults, root, hash: noHash, ...(policy === undefined ? {} : { policy }) },
    before,
  );
  if (resolved.kind !== 'ok') return resolved;
  const { desired, values } = resolved.value;
  const chosen = choose(desired, name, options.dir);
  if (chosen.kind !== 'ok') return chosen;
  const facts = leasedFacts(standing, resolved.value, settings);
  if (facts.kind !== 'ok') return facts;
  return ok({
    facts: facts.value.facts,
    services: inOrder(chosen.value),
    leftOut:
      name === undefined
        ? desired.services.filter(({ service }) => !service.active).map(({ service }) => service.name)
        : [],
    bad: badFiles(resolved.value, node.value, name),
    isPart:
      name !== undefined &&
      desired.services.some(
        ({ service }) =>
          service.active &&
          service.name !== name &&
          service.components.some(({ routes }) => routes.length > 0),
      ),
    values,
    settings,
    hasSettings: isOwn,
    hasState: state.value !== undefined,
    assumptions: assumptionsOf(facts.value.assumptions, {
      hasState: state.value !== undefined,
      settings: isOwn ? undefined : hasSettings ? `those of ${given.value.node}` : 'the defaults',
      node: node.value,
    }),
  });
}

/** The label of a container must tell nobody anything of a value; the agent knows such a container by the rest of its label. */
function noHash(): string {
  return '';
}

async function nodeFor(
  name: string | undefined,
  { node: asked, dir }: SubjectOptions,
  directory: Directory,
  known: { readonly root: string; readonly state?: string; readonly settings?: string },
): Promise<Outcome<string>> {
  if (asked !== undefined && known.state !== undefined && asked !== known.state) {
    return blocked(`the state is of the node ${known.state}, and --node asks for ${asked}`);
  }
  const all = await resolveDirectory(directory, { root: known.root });
  if (all.kind !== 'ok') return all;
  const { desired, nodeOf } = all.value;
  const there = desired.services.filter(({ service }) => name === undefined || service.name === name);
  const nodes = [...new Set(there.map(({ service }) => service.node))].sort();
  const told = asked ?? known.state;
  if (told !== undefined) return ok(told);
  const [only] = nodes;
  if (nodes.length === 1 && only !== undefined) return ok(only);
  if (known.settings !== undefined && (nodes.length === 0 || nodes.includes(known.settings)))
    return ok(known.settings);
  if (nodes.length === 0) return chosenFault(desired, name, dir, [...nodeOf.values()]);
  return blocked(
    `${name === undefined ? dir : `the service ${name}`} is of several nodes: ${nodes.join(', ')}`,
    'Name one of them with --node.',
  );
}

/** Of files whose last good state is not known: that of a service is named by the file. */
function badFiles({ desired, nodeOf }: Resolution, node: string, name: string | undefined): string[] {
  const rendered = new Set(desired.services.map(({ file }) => file));
  const errors = desired.issues.filter(
    ({ severity, file, service }) =>
      severity === 'error' &&
      !rendered.has(file) &&
      (nodeOf.get(file) ?? node) === node &&
      (name === undefined || service === name),
  );
  return errors.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`);
}

function choose(desired: Desired, name: string | undefined, dir: string): Outcome<DesiredService[]> {
  const found = desired.services.filter(({ service }) =>
    name === undefined ? service.active : service.name === name,
  );
  return found.length === 0 ? chosenFault(desired, name, dir, [desired.node]) : ok(found);
}

function chosenFault(
  { services, issues }: Desired,
  name: string | undefined,
  dir: string,
  nodes: readonly string[],
): Outcome<never> {
  const issue = issues.find(
    ({ severity, service }) => severity === 'error' && (name === undefined || service === name),
  );
  if (issue !== undefined)
    return blocked(`${issue.file}:${issue.line}:${issue.column}: ${issue.message}`, issue.hint);
  const names = services.map(({ service }) => service.name).join(', ');
  return blocked(
    name === undefined
      ? `${dir} has no active service of ${[...new Set(nodes)].filter((node) => node !== '').join(', ') || 'any node'}`
      : `${dir} has no service ${quote(name)}`,
    names === '' ? 'Name another directory, or another node with --node.' : `It has: ${names}.`,
  );
}

/** A node where nothing runs yet, as its settings have it. */
function emptyStanding(settings: Settings, root: string, isOwn: boolean): Standing {
  const { defaults, policy } = definitionOptions(settings, noHash);
  return {
    format: STATE_FORMAT,
    node: settings.node,
    commit: '',
    settings: { ...planSettings(settings, 'offline'), proxy: true },
    defaults,
    ...(isOwn && policy !== undefined ? { policy } : {}),
    root,
    promised: { applied: [], leases: [], routes: [], images: [], files: [], failures: [], trials: [] },
    observed: nothingRuns(),
  };
}

/** Ports for all services of the node, in the order of their names: what one gets does not depend on which are rendered. */
function leasedFacts(
  standing: Standing,
  resolution: Resolution,
  settings: Settings,
): Outcome<{ facts: Facts; assumptions: readonly string[] }> {
  const made = factsOf(standing, resolution.desired, resolution);
  let facts = made.facts;
  for (const desired of resolution.desired.services) {
    const own = asApplied(facts, desired.service.name);
    const chosen = leasesFor(own, desired.service);
    if (chosen.kind !== 'leased') return blocked(chosen.why, chosen.hint);
    const slotB = new Set([...(facts.slotB ?? []), ...(own.slotB ?? [])]);
    facts = { ...withLeases(facts, chosen.missing), ...(slotB.size === 0 ? {} : { slotB }) };
  }
  const certificates = certificatesOf(standing, resolution.desired, settings);
  return ok({
    facts: { ...facts, observed: { ...facts.observed, certificates } },
    assumptions: made.assumptions,
  });
}

/** Where the certificate of each l7 host name is, or will be. */
function certificatesOf(
  { observed, settings: { hostnameSuffix } }: Standing,
  desired: Desired,
  settings: Settings,
): Record<string, CertificateState> {
  const routes = desired.services.flatMap(({ service }) =>
    service.components.flatMap((component) => component.routes.map((route) => ({ service, route }))),
  );
  return Object.fromEntries(
    routes
      .filter(({ route }) => route.mode === 'l7')
      .map(({ service: { name }, route: { hostname } }): [string, CertificateState] => {
        const seen = observed.certificates[hostname];
        if (seen?.kind === 'valid') return [hostname, seen];
        const isDefault = isDefaultHostname(hostname, name, hostnameSuffix);
        const guess = certificatePaths(settings.mcproxy.cert_dir, isDefault ? name : hostname);
        const certPath = seen?.kind === 'absent' || seen?.kind === 'invalid' ? seen.certPath : guess.certPath;
        const keyPath = certPath.replace(/\.pem$/, '.key');
        return [hostname, { kind: 'valid', certPath, keyPath, notAfter: 0, fingerprint256: '' }];
      }),
  );
}

function assumptionsOf(
  foreseen: readonly string[],
  { hasState, settings, node }: { hasState: boolean; settings: string | undefined; node: string },
): string[] {
  return [
    ...(hasState
      ? []
      : [
          'the host ports: those that this node would choose if nothing listened on it (--state FILE|URL takes the leased ones)',
          'what stands in the proxy and in DNS: nothing (--state FILE|URL)',
        ]),
    ...(settings === undefined
      ? []
      : [`the settings of the node: ${settings} (--config FILE of ${node} has its own)`]),
    // What is missing of mounts, images and certificates shows when the commands are run.
    ...foreseen.filter((text) => !text.startsWith('whether ')),
  ];
}

/** Whoever others wait for comes first. The rules hold that there is no ring; of last good states one may be: its order is that of the names. */
function inOrder(services: readonly DesiredService[]): DesiredService[] {
  return sorted(services, ({ service }) => ({ name: service.name, after: service.after ?? [] }));
}

export function sorted<T>(
  items: readonly T[],
  of: (item: T) => { readonly name: string; readonly after: readonly string[] },
): T[] {
  const left = new Map(items.map((item) => [of(item).name, item]));
  const done: T[] = [];
  while (left.size > 0) {
    const next = [...left.values()].find((item) => !of(item).after.some((name) => left.has(name)));
    const [first] = left.values();
    const taken = next ?? first;
    if (taken === undefined) break;
    left.delete(of(taken).name);
    done.push(taken);
  }
  return done;
}
