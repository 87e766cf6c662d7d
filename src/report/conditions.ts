import { dayOf, expiryStep, expiryWords, isLate } from './expiry.ts';
import type { Condition, ServiceState, View } from './types.ts';

/** States in which nobody needs to look at a service. */
const FINE: readonly ServiceState[] = ['converged', 'changing', 'stopped', 'paused', 'removing'];

type Facts = Pick<View, 'source' | 'engine' | 'proxy' | 'dns' | 'disk' | 'services' | 'issues'> & {
  readonly node?: string;
  readonly mode?: 'observe' | undefined;
  /** The registry was lost, and the file beside it too, under this commit. */
  readonly isLost?: boolean;
  /** What is refused or awaited and belongs to no service. */
  readonly tidying?: readonly { readonly why: string; readonly hint?: string; readonly for?: string }[];
};

/** The node at a glance. Derived at every look, never latched: what is mended is well again with the next pass. */
export function conditionsOf(facts: Facts, looked: boolean, at = 0): Condition[] {
  return [
    ...(facts.mode === undefined ? [] : [observing(facts.node ?? '')]),
    ...(facts.isLost === true ? [LOST] : []),
    git(facts.source, looked),
    ...(looked ? [definitions(facts.issues), engine(facts.engine)] : []),
    ...(looked && facts.proxy.driver !== 'none' ? [proxy(facts.proxy)] : []),
    ...certificates(facts.services, at),
    ...(facts.dns === undefined ? [] : [dns(facts.dns, facts.services)]),
    ...(facts.disk === undefined ? [] : [disk(facts.disk, at)]),
    ...tidying(facts.tidying ?? []),
    ...(looked ? [services(facts.services)] : []),
  ];
}

const NOTHING_YET = 'No commit was accepted yet: nothing is done before its first answer.';

/** Nobody knows what was held back, or is to go (L34). */
const LOST: Condition = {
  ...{ name: 'registry', ok: false },
  text: 'it was lost, and the file beside it too: under this commit only what is missing is made, and nothing is stopped or removed',
  hint: 'All goes on with the next commit.',
};

/** Whoever looks at a node on which nothing is done must see why, before anything else. */
function observing(node: string): Condition {
  return {
    name: 'mode',
    ok: false,
    text: 'observe: everything is planned and shown, and nothing is touched',
    hint: `Take mode = "observe" out of nodes/${node}.toml to have the node converged.`,
  };
}

function git(source: View['source'], looked: boolean): Condition {
  if (source.reachable) return { name: 'git', ok: true, text: 'answers' };
  return {
    name: 'git',
    ok: false,
    text: `does not answer: ${source.why ?? 'not asked yet'}`,
    hint: looked ? 'The last accepted commit goes on being enforced.' : NOTHING_YET,
  };
}

function definitions(issues: View['issues']): Condition {
  const errors = issues.filter((issue) => issue.severity === 'error').length;
  const warnings = issues.length - errors;
  const parts = [
    ...(errors > 0 ? [count(errors, 'error')] : []),
    ...(warnings > 0 ? [count(warnings, 'warning')] : []),
  ];
  return { name: 'definitions', ok: errors === 0, text: parts.join(', ') || 'no issues' };
}

function engine(state: View['engine']): Condition {
  return 'kind' in state
    ? { name: 'engine', ok: true, text: `${state.kind} ${state.version}` }
    : { name: 'engine', ok: false, text: state.why, hint: 'What runs goes on running.' };
}

function proxy(state: View['proxy']): Condition {
  if (!('routes' in state)) return { name: 'proxy', ok: true, text: 'none' };
  const { routes, served = routes } = state;
  if (state.serving && served < routes)
    return { name: 'proxy', ok: false, text: `serves ${served} of ${count(routes, 'route')}` };
  if (state.serving) return { name: 'proxy', ok: true, text: `serves ${count(routes, 'route')}` };
  return { name: 'proxy', ok: false, text: state.why ?? 'does not answer' };
}

/** Every certificate that a route uses, also those that are not ours to renew. */
function certificates(all: View['services'], at: number): Condition[] {
  const ends = all
    .flatMap(({ routes }) => routes)
    .flatMap(({ hostname, notAfter, renewsAt }) =>
      notAfter === undefined ? [] : [{ hostname, notAfter, renewsAt }],
    )
    .sort((a, b) => a.notAfter - b.notAfter);
  const [soonest] = ends;
  if (soonest === undefined) return [];
  const ending = ends.filter((one) => isLate(one, at) && expiryStep(one.notAfter, at) !== undefined);
  const [first] = ending;
  const step = first === undefined ? undefined : expiryStep(first.notAfter, at);
  if (first === undefined || step === undefined) {
    const text = `the first of ${count(ends.length, 'certificate')} ends on ${dayOf(soonest.notAfter)}`;
    return [{ name: 'certificates', ok: true, text }];
  }
  const more = ending.length === 1 ? '' : `, and ${ending.length - 1} more`;
  return [
    {
      name: 'certificates',
      ok: false,
      text: `the certificate of ${first.hostname} ${expiryWords(first.notAfter, step)}${more}`,
      hint: 'Those of the agent renew by themselves; of others put the renewed full chain in place.',
    },
  ];
}

/** Not configured is said, never skipped in silence (L14). */
function dns(state: NonNullable<View['dns']>, all: View['services']): Condition {
  if (state.driver === 'none') {
    const routes = all.reduce((sum, service) => sum + service.routes.length, 0);
    const text = 'records are not managed: no driver is configured';
    return {
      name: 'dns',
      ok: true,
      text,
      ...(routes === 0 ? {} : { hint: 'Set [mcns] driver to have them managed.' }),
    };
  }
  if (state.keyFault !== undefined)
    return { name: 'dns', ok: false, text: state.keyFault.why, hint: state.keyFault.hint };
  if (state.why !== undefined)
    return { name: 'dns', ok: false, text: state.why, hint: 'What is served goes on being served.' };
  const [first, ...more] = state.elsewhere;
  const [foreign, ...moreForeign] = state.foreign ?? [];
  const managed = `manages ${count(state.names, 'name')} in ${state.zones.join(', ')}`;
  const away =
    first === undefined ? '' : `; ${first.why}${more.length === 0 ? '' : `, and ${more.length} more`}`;
  if (state.failed !== undefined)
    return {
      ...{ name: 'dns', ok: false, text: `not all of ${count(state.names, 'name')}: ${state.failed}${away}` },
      hint: 'Look at the name server, its zone and [mcns] key_file. What is served goes on being served.',
    };
  if (foreign !== undefined)
    return {
      name: 'dns',
      ok: false,
      text: `${managed}; ${foreign.why}${moreForeign.length === 0 ? '' : `, and ${moreForeign.length} more`}${away}`,
      hint: 'Remove it there, or give the route another host name; foreign records are never written over.',
    };
  if (first === undefined && state.unsearched !== undefined) {
    const text = `${managed}; records that nobody knows any more are not looked for: ${state.unsearched}`;
    return {
      name: 'dns',
      ok: true,
      text,
      hint: 'See that the key of [mcns] key_file is right, and that it may transfer the zone.',
    };
  }
  if (first === undefined) return { name: 'dns', ok: true, text: managed };
  return {
    name: 'dns',
    // A balancer or a NAT in front of the node is right as well.
    ok: true,
    text: `${managed}${away}`,
    hint: 'Those names are managed elsewhere: where no balancer or NAT stands in between, mend them there.',
  };
}

/** Images, cache and logs, and what is left: a full disk stops everything that runs on it. */
function disk(state: NonNullable<View['disk']>, at: number): Condition {
  const { imagesBytes, cacheBytes, logsBytes, freeBytes, minFreeBytes } = state;
  const parts = [
    `images ${size(imagesBytes)}`,
    cacheBytes === undefined ? 'cache not told by this engine' : `cache ${size(cacheBytes)}`,
    logsBytes === undefined ? 'logs not seen' : `logs ${size(logsBytes)}`,
  ];
  const minutes = Math.floor((at - state.at) / 60_000);
  // Measured beside the passes: what was done since is not in it.
  const age = minutes < 1 ? '' : ` (measured ${minutes} min ago)`;
  const text = `${parts.join(', ')}${freeBytes === undefined ? '' : `; ${size(freeBytes)} free`}${age}`;
  if (freeBytes === undefined || freeBytes >= minFreeBytes) return { name: 'disk', ok: true, text };
  return {
    ...{ name: 'disk', ok: false, text },
    hint: `No image is built with less than ${size(minFreeBytes)} free ([build] min_free_mib); what runs is not touched.`,
  };
}

/** Images, certificates, records and caches that nobody needs any more: while they stay, no service suffers, and somebody must hear of it. */
function tidying(left: NonNullable<Facts['tidying']>): Condition[] {
  const shown = left.find((entry) => entry.for === 'observe');
  if (shown !== undefined) return [{ name: 'tidying', ok: true, text: shown.why }];
  // What is under way is no trouble.
  const troubles = left.filter((entry) => entry.for !== 'busy');
  const [first] = troubles;
  if (first === undefined) return [];
  const more = troubles.length === 1 ? '' : `, and ${troubles.length - 1} more`;
  return [
    {
      ...{
        name: 'tidying',
        ok: false,
        text: `what nobody needs any more is still there: ${first.why}${more}`,
      },
      hint: first.hint ?? 'It is tried again, less often each time; nothing that runs is touched.',
    },
  ];
}

/** `312 MiB`, `1.4 GiB`. */
function size(bytes: number): string {
  const mib = bytes / 1_048_576;
  return mib < 1_024 ? `${Math.round(mib)} MiB` : `${(mib / 1_024).toFixed(1)} GiB`;
}

function services(all: View['services']): Condition {
  const bad = all.filter((service) => !FINE.includes(service.state));
  if (bad.length === 0) return { name: 'services', ok: true, text: `${all.length} in line` };
  return {
    name: 'services',
    ok: false,
    text: `${bad.length} of ${all.length} need a look: ${tally(bad)}`,
  };
}

function tally(all: View['services']): string {
  return [...new Set(all.map(({ state }) => state))]
    .sort()
    .map((state) => `${all.filter((service) => service.state === state).length} ${state}`)
    .join(', ');
}

function count(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? '' : 's'}`;
}
