import type { Condition, ServiceState, View } from './types.ts';

/** States in which nobody needs to look at a service. */
const FINE: readonly ServiceState[] = ['converged', 'changing', 'stopped', 'paused', 'removing'];

type Facts = Pick<View, 'source' | 'engine' | 'proxy' | 'services' | 'issues'>;

/** The node at a glance. Derived at every look, never latched: what is mended is well again with the next pass. */
export function conditionsOf(facts: Facts, looked: boolean): Condition[] {
  return [
    git(facts.source),
    ...(looked ? [definitions(facts.issues), engine(facts.engine)] : []),
    ...(looked && facts.proxy.driver !== 'none' ? [proxy(facts.proxy)] : []),
    ...(looked ? [services(facts.services)] : []),
  ];
}

function git(source: View['source']): Condition {
  if (source.reachable) return { name: 'git', ok: true, text: 'answers' };
  return {
    name: 'git',
    ok: false,
    text: `does not answer: ${source.why ?? 'not asked yet'}`,
    hint: 'The last accepted commit goes on being enforced.',
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
  if (state.serving) return { name: 'proxy', ok: true, text: `serves ${count(state.routes, 'route')}` };
  return { name: 'proxy', ok: false, text: state.why ?? 'does not answer' };
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
