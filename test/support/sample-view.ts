import { blocked, ok, retry, type Outcome } from '../../src/base/outcome.ts';
import type { ApiSources } from '../../src/dashboard/api.ts';
import type { Component, Desired, Issue, Route, Service } from '../../src/definitions/types.ts';
import type { ObservedContainer } from '../../src/node/types.ts';
import type { PlanSettings } from '../../src/plan/types.ts';
import type { PassRecord, StepRecord } from '../../src/registry/types.ts';
import type { View } from '../../src/report/types.ts';
import { makeView, type ViewInput } from '../../src/report/view.ts';
import { component, desiredOf, service } from './definitions.ts';
import { World } from './world.ts';

const HOST = 'mcr.svc.mcp.metacircular.net:8443';
const SUFFIX = 'svc.mcp.metacircular.net';
const OLD = 'a41c09e2b7d35f6811c3c1f0a2be77d4950e6a13';
const NEW = 'f83b51cd902e4476be1f0c7a55d0b1e3ad9c2f70';
const HOUR = 3_600_000;

/**
 * A node on which nearly everything that a page can show is so at once: made by the real planner, executor and
 * `makeView` on a world in memory.
 */
export async function sampleView(change: Partial<ViewInput> = {}): Promise<View> {
  return makeView({ ...(await sampleInput()), ...change });
}

/** What a dashboard is asked beyond the view: nothing happened, and there is no log. */
export function quietApi(): ApiSources {
  return {
    history: () => [],
    logs: async () => blocked('no log'),
    events: { recent: () => [], subscribe: () => () => undefined },
  };
}

export async function sampleInput(): Promise<ViewInput> {
  const world = new JournalledWorld();
  const before = [hello('v1.0.0'), docs(), metacrypt(), wiki(), mcns()];
  world.desired = at(desiredOf(before), OLD, 'docs v2.3.1', world.now - 26 * HOUR);
  world.present(...before.flatMap((entry) => entry.components.map((c) => c.image.reference)));
  await world.converge();
  world.now += 2 * HOUR;

  const after = [hello('v1.1.0'), docs(), { ...metacrypt(), active: false }, wiki(), mcns(), paste()];
  world.desired = {
    ...at(desiredOf(after), NEW, 'hello v1.1.0; paste is new\n\nReviewed-by: Mei Tanaka', world.now - 40_000),
    refused: ['mail'],
    unreadable: true,
    issues: ISSUES,
  };
  world.desired = {
    ...world.desired,
    services: world.desired.services.map((entry) =>
      entry.service.name === 'wiki' ? { ...entry, heldBack: true, commit: OLD } : entry,
    ),
  };
  world.present(`${HOST}/mc/hello:v1.1.0`, `${HOST}/mc/hello-api:v1.1.0`, `${HOST}/mc/blog:v1.0.0`);
  world.images[`${HOST}/mc/paste:v0.4.2`] = {
    kind: 'building',
    since: world.now - 18_000,
    progress: 'step 6 of 9',
  };
  await world.settle(12);
  world.now += 20_000;
  world.unready.add('mcns');
  world.kill('docs');
  world.failing.set(
    'start',
    retry('Docker could not start docs: port 53211 is already allocated', PORT_HINT),
  );
  await world.pass();
  world.now += 1_500;
  world.desired = {
    ...world.desired,
    services: [...world.desired.services, ...at(desiredOf([blog()]), NEW, '', 0).services],
  };
  world.containers.push(orphan(world.now), ...foreignContainers(world.now));
  return world.input();
}

/** Records the passes as the registry does, and belongs to another node. */
class JournalledWorld extends World {
  passes: PassRecord[] = [];
  #steps = 0;

  override settings(): PlanSettings {
    return {
      ...super.settings(),
      node: 'rift',
      owner: 'rift/main',
      portRange: [20000, 50000],
      hostnameSuffix: SUFFIX,
    };
  }

  async settle(passes: number): Promise<void> {
    for (let i = 0; i < passes; i += 1) {
      await this.pass();
      this.now += 1_000;
    }
  }

  input(): ViewInput {
    const { observed } = this.facts();
    const passes = this.passes.toReversed();
    return {
      node: 'rift',
      owner: 'rift/main',
      version: '0.1.0',
      startedAt: this.now - 9 * HOUR,
      sourceUrl: 'https://git.metacircular.net/mc/services.git',
      source: { reachable: true, lastContactAt: this.now - 12_000 },
      proxyDriver: 'file',
      seen: { at: this.now, desired: this.desired, promised: this.promised(), observed, plan: this.plan() },
      passes: passes.slice(0, 6),
      history: (name) =>
        passes.flatMap((pass) => pass.steps.toReversed()).find((step) => step.service === name),
    };
  }

  override beginPass(): Outcome<number> {
    const id = this.passes.length + 1;
    const trigger = id === 1 ? 'start' : 'git, steps';
    this.passes.push({ id, startedAt: this.now, commit: this.desired.commit.oid, trigger, steps: [] });
    return ok(id);
  }

  override intend(
    pass?: number,
    step?: Pick<StepRecord, 'service' | 'kind' | 'subject' | 'because' | 'startedAt'>,
  ): Outcome<number> {
    const id = (this.#steps += 1);
    const index = (pass ?? 1) - 1;
    const found = this.passes[index];
    if (found !== undefined && step !== undefined)
      this.passes[index] = { ...found, steps: [...found.steps, { id, pass: found.id, ...step }] };
    return ok(id);
  }

  override conclude(
    id?: number,
    end?: { result: NonNullable<StepRecord['result']>; message?: string; endedAt: number },
  ): Outcome<undefined> {
    this.passes = this.passes.map((pass) => ({
      ...pass,
      steps: pass.steps.map((step) =>
        step.id === id && end !== undefined
          ? { ...step, ...end, endedAt: end.endedAt + 90 + (id % 7) * 210 }
          : step,
      ),
    }));
    return ok();
  }

  override endPass(): Outcome<undefined> {
    const last = this.passes.at(-1);
    if (last !== undefined) {
      const took = last.steps.reduce(
        (sum, step) => sum + (step.endedAt ?? step.startedAt) - step.startedAt,
        0,
      );
      this.passes[this.passes.length - 1] = { ...last, endedAt: last.startedAt + took };
    }
    return ok();
  }
}

const PORT_HINT = 'See who listens there: ss -ltnp.';

const ISSUES: readonly Issue[] = [
  {
    rule: 'toml/syntax',
    severity: 'error',
    file: 'services/mail.toml',
    line: 14,
    column: 9,
    path: '',
    message: 'unclosed list: a "]" is missing',
    hint: 'Close the list that begins in line 12.',
    service: 'mail',
  },
  {
    rule: 'image/semver-tag',
    severity: 'error',
    file: 'services/wiki.toml',
    line: 8,
    column: 9,
    path: 'components[0].image',
    message: `"${HOST}/mc/wiki:latest" has no version: "latest" means something else every day`,
    hint: 'Name the version, for example v3.0.1.',
    service: 'wiki',
  },
  {
    rule: 'image/user',
    severity: 'warning',
    file: 'services/docs.toml',
    line: 6,
    column: 1,
    path: 'components[0].user',
    message: 'the image sets USER 1000, and the definition does not',
    hint: 'Set user, or drop USER from the Dockerfile.',
    service: 'docs',
  },
];

function hello(version: string): Service {
  const env = [
    { name: 'DATABASE_URL', hash: version === 'v1.0.0' ? '0123456789abcdef' : 'fedcba9876543210' },
    { name: 'LOG_LEVEL', hash: '1111111111111111' },
  ];
  const web = part('web', `hello`, version, { routes: [route('hello', '', 443, 'l7')], env });
  const api = part('api', 'hello-api', version, { routes: [route('hello', 'grpc', 9443, 'l4')] });
  return service('hello', [web, api]);
}

function docs(): Service {
  return service('docs', [
    part('docs', 'docs', 'v2.3.1', { routes: [{ ...route('docs', '', 443, 'l7'), containerPort: 8080 }] }),
  ]);
}

function metacrypt(): Service {
  return service('metacrypt', [
    part('api', 'metacrypt-api', 'v1.9.0', { routes: [route('metacrypt', '', 8443, 'l4')] }),
    part('web', 'metacrypt-web', 'v1.9.0', { routes: [route('metacrypt', '', 443, 'l7')] }),
  ]);
}

function wiki(): Service {
  const silenced = [{ rule: 'image/unbuilt', reason: 'its supplier pushes it to our registry' }];
  const components = [part('wiki', 'wiki', 'v3.0.0', { routes: [route('wiki', '', 443, 'l7')] })];
  return { ...service('wiki', components), silenced };
}

function mcns(): Service {
  const ports = (['tcp', 'udp'] as const).map((protocol) => ({
    ip: '100.64.0.7',
    host: 53,
    container: 53,
    protocol,
  }));
  return service('mcns', [part('mcns', 'mcns', 'v1.2.0', { ports })]);
}

function paste(): Service {
  return service('paste', [
    part('paste', 'paste', 'v0.4.2', { dockerfile: 'Dockerfile', routes: [route('paste', '', 443, 'l7')] }),
  ]);
}

function blog(): Service {
  return service('blog', [part('blog', 'blog', 'v1.0.0', { routes: [route('blog', '', 443, 'l7')] })]);
}

function orphan(now: number): ObservedContainer {
  return {
    id: 'o1',
    name: 'forum',
    image: `${HOST}/mc/forum:v0.9.0`,
    imageId: 'sha256:o',
    state: 'running',
    startedAt: now - 70 * 24 * HOUR,
    restartCount: 2,
    labels: {},
    publish: [],
    identity: {
      owner: 'rift/main',
      service: 'forum',
      component: 'forum',
      spec: '1:x',
      leases: {},
      format: '1',
    },
  };
}

function part(name: string, repository: string, tag: string, change: Partial<Component>): Component {
  const image = {
    reference: `${HOST}/mc/${repository}:${tag}`,
    host: HOST,
    repository: `mc/${repository}`,
    tag,
  };
  return component(name, { image, ...change });
}

function route(host: string, name: string, port: number, mode: 'l4' | 'l7'): Route {
  return { name, port, mode, hostname: `${host}.${SUFFIX}`, backendTls: false };
}

function at(desired: Desired, oid: string, message: string, time: number): Desired {
  return {
    ...desired,
    node: 'rift',
    commit: { oid, author: 'Kyle Isom', email: 'kyle@example.net', at: time, message, parents: [OLD] },
    services: desired.services.map((entry) => ({ ...entry, commit: oid })),
  };
}

function foreignContainers(now: number): ObservedContainer[] {
  const common = {
    imageId: 'sha256:f',
    restartCount: 0,
    labels: {},
    publish: [],
    startedAt: now - 9 * 24 * HOUR,
  };
  return [
    {
      id: 'f1',
      name: 'buildx_buildkit_default0',
      image: 'moby/buildkit:buildx-stable-1',
      state: 'running',
      ...common,
    },
    {
      id: 'f2',
      name: 'postgres-test',
      image: 'docker.io/library/postgres:17',
      state: 'exited',
      exitCode: 0,
      ...common,
    },
  ];
}
