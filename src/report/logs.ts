import { blocked, ok, type Outcome } from '../base/outcome.ts';
import type { EnvValues } from '../definitions/types.ts';
import type { Observed, ObservedContainer } from '../node/types.ts';
import { visible } from './shown.ts';
import type { LogView } from './types.ts';

const MAX_LINES = 2_000;
const DEFAULT_LINES = 200;
/** Shorter values are words of every day: masking them would make a log unreadable. */
const MIN_SECRET_LENGTH = 6;
const SECRET_NAME = /pass|pwd|secret|token|key|credential|auth|dsn|_url$|^url$/i;

export interface LogQuestion {
  readonly service: string;
  /** Absent: the only component, or the one that has the service's name. */
  readonly component?: string;
  readonly tail?: number;
}

export interface LogSources {
  readonly owner: string;
  readonly observed: Observed | undefined;
  /** Values of variables whose name looks like a secret's are masked. */
  readonly values: EnvValues;
  readonly read: (id: string, tail: number) => Promise<Outcome<{ lines: string[]; driver: string }>>;
}

/** The end of the log of one container of ours, fit to be shown. */
export async function readServiceLog(
  question: LogQuestion,
  { owner, observed, values, read }: LogSources,
): Promise<Outcome<LogView>> {
  const chosen = choose(question, owner, observed);
  if (chosen.kind !== 'ok') return chosen;
  const container = chosen.value;
  const component = container.identity?.component ?? '';
  const tail = Math.min(MAX_LINES, Math.max(1, question.tail ?? DEFAULT_LINES));
  const log = await read(container.id, tail);
  if (log.kind !== 'ok') return log;
  const { driver, lines } = log.value;
  const secrets = secretsOf(values.get(`${question.service}/${component}`) ?? new Map());
  const shown = lines.map((line) =>
    visible(secrets.reduce((text, one) => text.replaceAll(one, '•••'), line)),
  );
  return ok({
    ...{ service: question.service, component, container: container.name, driver, lines: shown },
    ...(shown.length > 0
      ? {}
      : {
          empty: `the log of ${container.name} (driver ${driver}) is empty: the program has written nothing to its standard output or error since the container was made`,
        }),
  });
}

function choose(
  { service, component }: LogQuestion,
  owner: string,
  observed: Observed | undefined,
): Outcome<ObservedContainer> {
  if (observed === undefined) return blocked('the node was not looked at yet', 'Ask again in a moment.');
  if (!observed.engine.known) return blocked(`the engine does not answer: ${observed.engine.why}`);
  const ours = observed.engine.value.containers.filter(
    ({ identity }) => identity?.owner === owner && identity.service === service,
  );
  const names = [...new Set(ours.map(({ identity }) => identity?.component ?? ''))].sort();
  if (names.length === 0)
    return blocked(`no container of a service "${service}" is here`, '`mc-gitops ps` lists the containers.');
  const wanted = component ?? (names.length === 1 ? names[0] : names.find((name) => name === service));
  if (wanted === undefined || !names.includes(wanted))
    return blocked(
      component === undefined
        ? `service ${service} has several components`
        : `service ${service} has no component "${component}" here`,
      `Name one: ${names.map((name) => `${service}/${name}`).join(', ')}.`,
    );
  const found = ours
    .filter(({ identity }) => identity?.component === wanted)
    // What runs, else what ran last: a predecessor that was kept is not what is meant.
    .sort((a, b) => rank(b) - rank(a) || (b.startedAt ?? 0) - (a.startedAt ?? 0))[0];
  return found === undefined ? blocked(`no container of ${service}/${wanted} is here`) : ok(found);
}

function rank({ state }: ObservedContainer): number {
  return state === 'running' || state === 'restarting' ? 1 : 0;
}

function secretsOf(env: ReadonlyMap<string, string>): string[] {
  return [...env]
    .filter(([name, value]) => SECRET_NAME.test(name) && value.length >= MIN_SECRET_LENGTH)
    .map(([, value]) => value)
    .sort((a, b) => b.length - a.length);
}
