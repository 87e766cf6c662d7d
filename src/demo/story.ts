import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { Engine } from '../node/engine/engine.ts';
import type { ServiceView, View } from '../report/types.ts';
import { onWrongPort, sourceFiles } from './services.ts';
import { SUFFIX, type Site } from './site.ts';
import { startTraffic, type Tally, type Target, type Traffic } from './traffic.ts';

const STEP_DEADLINE_MS = 90_000;

/** Says one line: seconds since the start, what happened, and the reason that the agent recorded. */
export type Say = (what: string, because?: string) => void;

interface Stage {
  readonly site: Site;
  readonly engine: Engine;
  readonly say: Say;
  readonly traffic: Traffic;
  agent: ChildProcess;
}

/** The whole way, step by step. Rejects with the step that failed; the site is left to the caller to take down. */
export async function tellStory(
  site: Site,
  engine: Engine,
  say: Say,
  onStep: (name: string) => void,
): Promise<void> {
  site.startProxy();
  const stage: Stage = { site, engine, say, traffic: startTraffic(targets(site)), agent: site.startAgent() };
  try {
    for (const [name, step] of STEPS) {
      onStep(name);
      await step(stage);
      tell(stage.traffic.take(), say);
    }
    const all = [...stage.traffic.total().entries()].map(
      ([name, { asked, lost }]) => `${name} ${lost} of ${asked}`,
    );
    say(`requests lost in all, stops and removals included: ${all.join(', ')}`);
  } finally {
    await stage.traffic.stop();
  }
}

const STEPS: readonly (readonly [string, (stage: Stage) => Promise<void>])[] = [
  ['push hello v1.0.0 and docs', pushFirst],
  ['push hello v1.1.0', pushNext],
  ['make hello inactive, and active again', stopAndStart],
  ['push a version that listens where nobody looks', pushBad],
  ['push a broken file', pushBroken],
  ['remove a container by hand', removeByHand],
  ['kill -9 the agent in the middle of a change', killAgent],
  ['delete docs', deleteDocs],
];

async function pushFirst({ site, say, traffic }: Stage): Promise<void> {
  await site.hello.tag('v1.0.0');
  await site.docs.tag('v0.1.0');
  const commit = await site.push('Add hello v1.0.0 and docs v0.1.0', {
    'services/hello.toml': await site.definition('hello'),
    'services/docs.toml': await site.definition('docs'),
  });
  say(`pushed ${commit.slice(0, 8)}: hello v1.0.0 and docs v0.1.0; neither image exists yet`);
  for (const [name, version] of [
    ['hello web', 'v1.0.0'],
    ['hello api', 'v1.0.0'],
    ['docs', 'v0.1.0'],
  ] as const) {
    const answer = await until(`${name} ${version} to answer through the proxy`, async () => {
      const said = traffic.answer(name);
      return said?.includes(version) === true ? said : undefined;
    });
    say(`${name} answers through the proxy by host name: "${answer}"`);
  }
  for (const service of ['hello', 'docs']) {
    const view = await converged(site, service);
    say(`${service} is recorded as ${view.state}`, reason(view));
  }
}

async function pushNext({ site, say, traffic }: Stage): Promise<void> {
  await site.hello.tag('v1.1.0');
  const before = await container(site, 'hello', 'web');
  await site.push('Raise hello to v1.1.0', {
    'services/hello.toml': await site.definition('hello', version('v1.1.0')),
  });
  say('pushed hello v1.1.0');
  await until(
    'hello v1.1.0 to answer',
    async () =>
      traffic.answer('hello web')?.includes('v1.1.0') === true &&
      traffic.answer('hello api')?.includes('v1.1.0') === true,
  );
  const view = await converged(site, 'hello');
  const after = await container(site, 'hello', 'web');
  say(
    `switched: ${before.image.split(':').at(-1) ?? ''} → ${after.image.split(':').at(-1) ?? ''}, on the same host port`,
    reason(view),
  );
}

async function stopAndStart({ site, say, traffic }: Stage): Promise<void> {
  const inactive = (text: string): string =>
    version('v1.1.0')(text).replace(/^node = .*$/m, '$&\nactive = false');
  await site.push('Stop hello', { 'services/hello.toml': await site.definition('hello', inactive) });
  const stopped = await until('hello to be stopped', async () => state(site, 'hello', 'stopped'));
  say('active = false: routes gone, then containers stopped; ports and data stay', reason(stopped));
  tell(traffic.take(), say, ' while it was being stopped and stood still, as wanted');
  await site.push('Start hello again', {
    'services/hello.toml': await site.definition('hello', version('v1.1.0')),
  });
  say('active again', reason(await converged(site, 'hello')));
}

async function pushBad({ site, say, traffic }: Stage): Promise<void> {
  await site.hello.commit(sourceFiles(site.baseImage, 'hello', onWrongPort), { message: 'hello: port 8000' });
  await site.hello.tag('v1.1.1');
  await site.push('Raise hello to v1.1.1', {
    'services/hello.toml': await site.definition('hello', version('v1.1.1')),
  });
  say('pushed hello v1.1.1, which builds and starts, and whose page listens on port 8000');
  const held = await until('hello v1.1.1 to be held back', async () => state(site, 'hello', 'held back'));
  await until(
    'hello v1.1.0 to answer again',
    async () =>
      traffic.answer('hello web')?.includes('v1.1.0') === true &&
      traffic.answer('hello api')?.includes('v1.1.0') === true,
  );
  say('hello v1.1.0 was put back by itself and serves again; v1.1.1 is held back', held.trial?.why);
  await site.hello.commit(sourceFiles(site.baseImage, 'hello'), { message: 'hello: the port it is given' });
  await site.hello.tag('v1.1.2');
  await site.push('Raise hello to v1.1.2, with its port mended', {
    'services/hello.toml': await site.definition('hello', version('v1.1.2')),
  });
  await until('hello v1.1.2 to answer', async () => traffic.answer('hello web')?.includes('v1.1.2') === true);
  say(
    'a commit mends it: hello v1.1.2 is proved, nothing is held back',
    reason(await converged(site, 'hello')),
  );
}

async function pushBroken({ site, say }: Stage): Promise<void> {
  const broken = (text: string): string => text.replace(/^image = .*$/m, 'image = "docs-site:latest"');
  await site.push('Docs: always the latest', { 'services/docs.toml': await site.definition('docs', broken) });
  const held = await until('docs to be held back', async () => state(site, 'docs', 'held back'));
  const issue = held.issues[0];
  say(
    `docs is held back at its last good state, and goes on serving`,
    `${issue?.file ?? ''}:${issue?.line ?? 0}: ${issue?.message ?? ''}`,
  );
  const hello = (await site.view())?.services.find((service) => service.name === 'hello');
  say(`hello is not touched by it: ${hello?.state ?? 'unknown'}`);
  await site.push('Docs: back to a version', { 'services/docs.toml': await site.definition('docs') });
  await converged(site, 'docs');
}

async function removeByHand({ site, engine, say }: Stage): Promise<void> {
  const { name } = await container(site, 'docs', 'site');
  const facts = await engine.facts();
  const id =
    facts.kind === 'ok' ? facts.value.containers.find((entry) => entry.name === name)?.id : undefined;
  if (id === undefined) throw new Error(`container ${name} is not there`);
  const startedAt = performance.now();
  const removed = await engine.remove(id, 1);
  if (removed.kind !== 'ok') throw new Error(removed.why);
  await until('the container to be back', async () => {
    const now = await engine.facts();
    return (
      now.kind === 'ok' &&
      now.value.containers.some((c) => c.name === name && c.id !== id && c.state === 'running')
    );
  });
  const backMs = Math.round(performance.now() - startedAt);
  const view = await converged(site, 'docs');
  say(`docker rm -f ${name}: running again ${backMs} ms later`, reason(view));
}

async function killAgent(stage: Stage): Promise<void> {
  const { site, say, traffic } = stage;
  await site.hello.tag('v1.2.0');
  await site.push('Raise hello to v1.2.0', {
    'services/hello.toml': await site.definition('hello', version('v1.2.0')),
  });
  const words = await until('the change to begin', async () => {
    const view = await site.view();
    return view?.passes.find((pass) => pass.commit === site.head())?.steps.at(-1);
  });
  const gone = new Promise((resolve) => stage.agent.once('exit', resolve));
  stage.agent.kill('SIGKILL');
  await gone;
  say(`kill -9 of the agent in the middle of the change, after it began "${words.kind} ${words.subject}"`);
  stage.agent = site.startAgent();
  await until('hello v1.2.0 to answer', async () => traffic.answer('hello web')?.includes('v1.2.0'));
  const view = await converged(site, 'hello');
  say('the next agent looked, and finished it', reason(view));
}

async function deleteDocs({ site, say, engine }: Stage): Promise<void> {
  await site.push('Remove docs', { 'services/docs.toml': undefined });
  await until('docs to be gone', async () => {
    const facts = await engine.facts();
    const view = await site.view();
    return (
      facts.kind === 'ok' &&
      !facts.value.containers.some(
        (c) => c.identity?.owner === site.owner && c.identity.service === 'docs',
      ) &&
      view?.services.some((service) => service.name === 'docs') === false
    );
  });
  const view = await site.view();
  const step = view?.passes.flatMap((pass) => pass.steps).find((entry) => entry.service === 'docs');
  say('docs is undeployed: routes, containers, leases; data stays', step?.because.summary);
}

function targets(site: Site): Target[] {
  return [
    { name: 'hello web', hostname: `hello.${SUFFIX}`, port: site.webPort },
    { name: 'hello api', hostname: `hello.${SUFFIX}`, port: site.apiPort },
    { name: 'docs', hostname: `docs.${SUFFIX}`, port: site.webPort },
  ];
}

function version(tag: string): (text: string) => string {
  return (text) => text.replaceAll(/hello:v[\d.]+/g, `hello:${tag}`);
}

function tell(tallies: ReadonlyMap<string, Tally>, say: Say, words = ''): void {
  const parts = [...tallies].map(([name, { asked, lost }]) => `${name} lost ${lost} of ${asked}`);
  if (parts.length > 0) say(`  requests${words}: ${parts.join(', ')}`);
}

function reason(view: ServiceView): string {
  const { lastReason } = view;
  if (lastReason === undefined) return 'no step was taken';
  return `${lastReason.summary}${lastReason.commit === undefined ? '' : ` (commit ${lastReason.commit.slice(0, 8)}, ${lastReason.file ?? ''})`}`;
}

async function converged(site: Site, service: string): Promise<ServiceView> {
  return until(`${service} to converge`, async () => {
    const view = await site.view();
    // A change that was only just pushed is not seen yet: what is asked for is the newest commit's state.
    return view === undefined ? undefined : state(site, service, 'converged', view);
  });
}

async function state(
  site: Site,
  service: string,
  wanted: ServiceView['state'],
  seen?: View,
): Promise<ServiceView | undefined> {
  const view = seen ?? (await site.view());
  if (view === undefined || view.commit?.oid !== site.head()) return undefined;
  const found = view.services.find((entry) => entry.name === service);
  return found?.state === wanted ? found : undefined;
}

async function container(
  site: Site,
  service: string,
  component: string,
): Promise<ServiceView['observed'][number]> {
  return until(`a container of ${service}`, async () => {
    const view = await site.view();
    const all = view?.services.find((entry) => entry.name === service)?.observed;
    return all?.find((entry) => entry.component === component && entry.state === 'running');
  });
}

/** Polls until there is something, or says what was waited for. */
async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<NonNullable<T>> {
  const deadline = performance.now() + STEP_DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`waited ${STEP_DEADLINE_MS / 1000} s for ${what}`);
    await delay(20);
  }
}
