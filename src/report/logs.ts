import { blocked, ok, type Outcome } from '../base/outcome.ts';
import { masked, secretsOf } from '../base/masked.ts';
import { redact } from '../base/secret.ts';
import type { EnvValues, Service } from '../definitions/types.ts';
import type { ImageState } from '../node/images/state.ts';
import type { Observed, ObservedContainer } from '../node/types.ts';
import { visible } from './shown.ts';
import type { LogView } from './types.ts';

const MAX_LINES = 2_000;
const DEFAULT_LINES = 200;

export interface LogQuestion {
  readonly service: string;
  /** Absent: the only component, or the one that has the service's name. */
  readonly component?: string;
  readonly tail?: number;
  /** What the build of its image printed, although it has a container. */
  readonly build?: boolean;
}

export interface LogSources {
  readonly owner: string;
  readonly observed: Observed | undefined;
  /** As git has the services; absent before the first pass. */
  readonly services?: readonly Pick<Service, 'name' | 'components'>[];
  /** What the newest build of an image printed, as far as it is kept. */
  readonly buildLog: (reference: string) => readonly string[];
  /** Services of whose failed version the last lines are kept. */
  readonly printed?: ReadonlySet<string>;
  /** Values of variables whose name looks like a secret's are masked. */
  readonly values: EnvValues;
  readonly read: (id: string, tail: number) => Promise<Outcome<{ lines: string[]; driver: string }>>;
}

/**
 * The end of the log of one container of ours, fit to be shown. Of a service without a container it is the log of the build that
 * failed or is under way, and so it is for `build`.
 */
export async function readServiceLog(question: LogQuestion, sources: LogSources): Promise<Outcome<LogView>> {
  const { owner, observed, values, read } = sources;
  const builds = buildsOf(question, sources);
  const chosen = question.build === true ? noBuild(question) : choose(question, owner, observed);
  if (chosen.kind !== 'ok') {
    const [build] = question.build === true || !hasContainer(question, owner, observed) ? builds : [];
    return build === undefined ? chosen : ok(buildView(question, build, values));
  }
  const container = chosen.value;
  const component = container.identity?.component ?? '';
  const log = await read(container.id, tailOf(question));
  if (log.kind !== 'ok') return log;
  const { driver, lines } = log.value;
  const secrets = secretsOf(values.get(`${question.service}/${component}`) ?? new Map());
  const shown = lines.map((line) => visible(masked(line, secrets)));
  const note = noteOn(question.service, builds, sources);
  return ok({
    ...{ service: question.service, component, container: container.name, driver, lines: shown },
    ...(note === undefined ? {} : { note }),
    ...(shown.length > 0
      ? {}
      : {
          empty: `the log of ${container.name} (driver ${driver}) is empty: the program has written nothing to its standard output or error since the container was made`,
        }),
  });
}

/** This log says nothing of the version that is in question: where something of it is. */
function noteOn(
  service: string,
  builds: readonly Build[],
  { printed }: Pick<LogSources, 'printed'>,
): string | undefined {
  const failed = builds.find(({ why }) => why !== undefined);
  if (failed !== undefined)
    return `the build of ${failed.reference} failed: \`mc-gitops logs ${service} --build\` has its log`;
  if (printed?.has(service) !== true) return undefined;
  return `a newer version gave way: \`mc-gitops status ${service}\` has what it printed last`;
}

interface Build {
  readonly component: string;
  readonly reference: string;
  readonly lines: readonly string[];
  /** Why it failed; absent: it did not. */
  readonly why?: string;
}

/** Of what failed or is under way, and of what was built and is still remembered; what failed first. */
function buildsOf(
  { service, component }: LogQuestion,
  { services, observed, buildLog }: LogSources,
): Build[] {
  const wanted = services?.find(({ name }) => name === service);
  const builds = (wanted?.components ?? [])
    .filter(({ name, dockerfile }) => dockerfile !== undefined && (component ?? name) === name)
    .map(({ name, image: { reference } }): Build => {
      const why = failureIn(observed?.images[reference]);
      return {
        ...{ component: name, reference, lines: buildLog(reference) },
        ...(why === undefined ? {} : { why }),
      };
    });
  const told = builds.filter(({ lines, why }) => lines.length > 0 || why !== undefined);
  return [...told.filter(({ why }) => why !== undefined), ...told.filter(({ why }) => why === undefined)];
}

function failureIn(state: ImageState | undefined): string | undefined {
  if (state?.kind === 'failed') return state.why;
  return state?.kind === 'building' ? state.failed?.why : undefined;
}

function buildView(question: LogQuestion, build: Build, values: EnvValues): LogView {
  const { component, reference, why } = build;
  const of = [...values].filter(([name]) => name.startsWith(`${question.service}/`));
  const secrets = of.flatMap(([, env]) => secretsOf(env));
  const lines = build.lines.slice(-tailOf(question)).map((line) => visible(masked(redact(line), secrets)));
  const failed = why === undefined ? '' : `, which failed: ${visible(redact(why))}`;
  return {
    ...{ service: question.service, component, build: reference, lines },
    note: `this is the log of the build of ${reference}${failed}`,
    ...(lines.length > 0
      ? {}
      : { empty: `the build of ${reference} ended before its first step: nothing was printed` }),
  };
}

function noBuild({ service }: LogQuestion): Outcome<ObservedContainer> {
  return blocked(
    `no log of a build for service ${service} is kept`,
    'The logs of the newest 20 builds since the start of the agent are; `mc-gitops history` has the steps of all.',
  );
}

function hasContainer({ service }: LogQuestion, owner: string, observed: Observed | undefined): boolean {
  if (observed?.engine.known !== true) return true;
  return observed.engine.value.containers.some(
    ({ identity }) => identity?.owner === owner && identity.service === service,
  );
}

function tailOf({ tail }: LogQuestion): number {
  return Math.min(MAX_LINES, Math.max(1, tail ?? DEFAULT_LINES));
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
