import { spawn } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { stringifyToml } from '../../src/base/toml.ts';
import { findProcesses, procFile } from '../../src/demo/leftovers.ts';
import { run } from '../../src/demo/process.ts';
import type { HistoryEntry, LogView, ServiceView } from '../../src/report/types.ts';
import { makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { NOBODY } from '../../src/base/nobody.ts';
import { startDocker, startPodman } from '../support/engines.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { until } from '../support/until.ts';

const DOCKERFILE = `FROM scratch
ARG VERSION
COPY busybox /bin/sh
COPY busybox /bin/sleep
CMD ["sleep", "1000000"]
`;

describe('images of a running agent', () => {
  let registry: TestRegistry;
  const rigs: AgentRig[] = [];
  before(async () => {
    registry = await startRegistry();
  });
  after(() => registry.stop());
  afterEach(async () => {
    await registry.restart();
    for (const rig of rigs.splice(0)) {
      await rig.stopAgent();
      const image = `${registry.host}/${rig.instance}/hello:v1.0.0`;
      await rig.close();
      await run('docker', ['-H', `unix://${rig.engine.socketPath}`, 'rmi', '-f', image]).catch(
        () => undefined,
      );
    }
  });

  const rigOn = async (start: typeof startDocker): Promise<AgentRig> => {
    const rig = await makeAgentRig(await start());
    rigs.push(rig);
    return rig;
  };
  /** The source repository `hello` in the rig's workspace, with bytes of its own. */
  const source = async ({ dir, instance }: AgentRig): Promise<void> => {
    const directory = join(dir, 'src', 'hello');
    await mkdir(directory);
    await copyFile('/bin/busybox', join(directory, 'busybox'));
    await writeFile(join(directory, 'Dockerfile'), `${DOCKERFILE}RUN sleep 4; : ${instance}\n`);
    const git = (...args: string[]): Promise<unknown> =>
      run('git', ['-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args]);
    await git('init', '-q', '-b', 'main');
    await git('add', '-A');
    await git('commit', '-q', '-m', 'first');
    await git('tag', '-a', 'v1.0.0', '-m', 'v1.0.0');
  };
  const registries = (): object => ({ registries: { [registry.host]: {} } });
  const definition = (image: string, built: boolean): string =>
    plainDefinition('hello', image, '', built ? '[build.images]\nhello = "Dockerfile"\n' : '');
  const helloOf = async (rig: AgentRig): Promise<ServiceView | undefined> =>
    (await rig.view()).services.find(({ name }) => name === 'hello');

  it('missing → built → runs while its registry is away, ImagePushed=False → pushed → pulled by the second engine → runs there', async () => {
    const first = await rigOn(startDocker);
    await source(first);
    const image = `${registry.host}/${first.instance}/hello:v1.0.0`;
    await first.push({ 'services/hello.toml': definition(image, true) });
    await first.start(registries());
    const building = await until('the build', async () =>
      (await helloOf(first))?.waiting.find(({ why }) => /: building, step \d+ of \d+, \d+ s$/.test(why)),
    );
    expect(building.for).to.equal('image');
    // The registry goes before it can be pushed to.
    await registry.halt();
    const unpushed = await until(
      'the push to fail',
      async () => {
        const hello = await helloOf(first);
        const hasFailed = hello?.conditions?.some(({ reason }) => reason === 'PushFailed') === true;
        // A push begins when the service is ready; it is proved a little later.
        return hasFailed && hello.applied !== undefined ? hello : undefined;
      },
      60_000,
    );
    expect(unpushed.observed[0]?.state).to.equal('running');
    expect(unpushed.applied?.images).to.deep.equal([image]);
    expect(unpushed.state, 'it is no fault of the service').to.equal('converged');
    expect(unpushed.conditions?.[0]).to.include({
      type: 'ImagePushed',
      status: 'False',
      reason: 'PushFailed',
    });
    const { out } = await page(first);
    expect(out).to.contain('ImagePushed=False (PushFailed)');
    const { disk, conditions } = await until('the disk to be measured', async () => {
      const view = await first.view();
      return view.disk === undefined ? undefined : view;
    });
    expect(disk?.imagesBytes).to.be.a('number');
    expect(conditions.find(({ name }) => name === 'disk')?.text).to.match(
      /^images .*, cache .*, logs .*; .* free$/,
    );
    await registry.restart();
    const pushed = await until(
      'the push',
      async () => {
        const hello = await helloOf(first);
        return hello?.conditions?.[0]?.status === 'True' && hello.state === 'converged' ? hello : undefined;
      },
      60_000,
    );
    expect(pushed.observed[0]?.since, 'the same container').to.equal(unpushed.observed[0]?.since);
    expect(pushed.conditions?.[0]?.message).to.match(/ is in its registry as sha256:[0-9a-f]{64}$/);
    expect((await page(first)).out).to.match(/ImagePushed=True.* is in its registry as sha256:/s);

    const second = await rigOn(startPodman);
    await second.push({ 'services/hello.toml': definition(image, false) });
    await second.start(registries());
    const there = await second.state('hello', 'converged');
    expect(there.observed[0]).to.include({ image, state: 'running' });
    expect(there).to.not.have.property('conditions');
  });

  it('G13 an agent that is killed in a build leaves nothing behind; the next one builds again, and the service runs', async () => {
    const rig = await rigOn(startDocker);
    await source(rig);
    const image = `${registry.host}/${rig.instance}/hello:v1.0.0`;
    await rig.push({ 'services/hello.toml': definition(image, true) });
    const steps = (): number[] =>
      findProcesses((pid) => procFile(pid, 'cmdline').includes(`sleep 4; : ${rig.instance}`));
    const killed = await startProcess(rig, registries());
    try {
      await until('a step of the build', () => steps().length > 0, 60_000);
    } finally {
      await killed();
    }
    await until('the engine to end the step', () => steps().length === 0, 30_000);
    await rig.start(registries());
    const hello = await rig.state('hello', 'converged');
    expect(hello.observed[0]).to.include({ image, state: 'running' });
  });

  it('a build whose service is gone is ended and lets the next one begin; one that fails is told by a notice, and `logs` has what it printed', async () => {
    const rig = await rigOn(startDocker);
    await source(rig);
    const directory = join(rig.dir, 'src', 'hello');
    const more: Record<string, string> = {
      endless: `FROM scratch\nCOPY busybox /bin/sh\nRUN while :; do : ${rig.instance}; done\nCMD ["sh"]\n`,
      failing: `FROM scratch\nCOPY busybox /bin/sh\nRUN echo missing-semicolon ${rig.instance}; exit 3\nCMD ["sh"]\n`,
    };
    for (const [name, text] of Object.entries(more)) await writeFile(join(directory, name), text);
    const git = (...args: string[]): Promise<unknown> =>
      run('git', ['-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args]);
    await git('add', '-A');
    await git('commit', '-q', '-m', 'second');
    await git('tag', '-a', 'v1.1.0', '-m', 'v1.1.0');
    const define = (name: string, tag: string): string =>
      plainDefinition(
        name,
        `${rig.instance}/${name}:${tag}`,
        '',
        `path = "hello"\n[build.images]\n${name} = "${name === 'hello' ? 'Dockerfile' : name}"\n`,
      );
    const steps = (): number[] =>
      findProcesses((pid) => procFile(pid, 'cmdline').includes(`do : ${rig.instance}`));
    await rig.push({ 'services/endless.toml': define('endless', 'v1.1.0') });
    await rig.start();
    await until('the endless step', () => steps().length > 0, 60_000);
    await rig.push({
      'services/endless.toml': undefined,
      'services/failing.toml': define('failing', 'v1.1.0'),
      'services/hello.toml': define('hello', 'v1.0.0'),
    });
    await rig.state('hello', 'converged');
    await until('the builder to end the step', () => steps().length === 0, 30_000);
    const told = await until('the notice', async () =>
      (await rig.view()).notices.find(({ kind }) => kind === 'image'),
    );
    expect(told.service).to.equal('failing');
    expect(told.text).to.contain('cannot be had: build of').and.contain('failed at step');
    const logs = await fetch(`${rig.address().dashboard}/api/v1/logs/failing`);
    const { lines, build } = (await logs.json()) as LogView;
    expect(build).to.equal(`${rig.instance}/failing:v1.1.0`);
    expect(lines).to.include(`missing-semicolon ${rig.instance}`);
    const history = await fetch(
      `${rig.address().dashboard}/api/v1/history?service=${encodeURIComponent(NOBODY)}`,
    );
    const [ended] = ((await history.json()) as HistoryEntry[]).flatMap((entry) => entry.steps);
    expect(ended).to.include({ kind: 'cancel-image', subject: `${rig.instance}/endless:v1.1.0` });
  });

  const page = (rig: AgentRig): Promise<{ out: string }> =>
    run('curl', ['-s', `${rig.address().dashboard}/`]).then(({ stdout }) => ({ out: stdout }));
});

/** The agent as a process of its own; what comes back kills it. */
async function startProcess(rig: AgentRig, change: object): Promise<() => Promise<void>> {
  const { owner, dataDir, logLevel, ...file } = rig.settings(change);
  expect(owner, `${dataDir} ${logLevel}`).to.equal(rig.owner);
  const config = join(rig.dir, 'agent.toml');
  await writeFile(config, stringifyToml(file));
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/main.ts', 'agent', '--config', config], {
    stdio: 'ignore',
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  return async () => {
    process.off('exit', kill);
    kill();
    await ended;
  };
}
