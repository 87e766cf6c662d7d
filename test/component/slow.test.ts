import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { run } from '../../src/demo/process.ts';
import { makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { startFakeEngine, type FakeEngine } from '../support/fakeengine.ts';
import { buildBusyboxImage } from '../support/images.ts';
import { until } from '../support/until.ts';

const BOX = 'localhost/mcg-slow-test/box:v1.0.0';
const STUBBORN = `cmd = ["/bin/sh", "-c", "trap '' TERM; while true; do sleep 1; done"]`;
const QUICK = `stop_signal = "SIGKILL"`;
/** Longer than the test takes. */
const GRACE = '[deploy]\nstop_timeout = "5m"\n';

describe('a service that takes its time, on real Docker', function () {
  this.timeout(300_000);
  let engine: TestEngine;
  let rig: AgentRig;

  before(async () => {
    engine = await startDocker();
    await buildBusyboxImage(engine, BOX);
    rig = await makeAgentRig(engine);
  });
  after(() => rig.close());

  const old = async (): Promise<string> => {
    const facts = await rig.engine.facts();
    if (facts.kind !== 'ok') throw new Error(facts.why);
    const found = facts.value.containers.find(
      (one) => one.identity?.owner === rig.owner && one.name === 'slow',
    );
    return found?.id ?? '';
  };

  it('L40 keeps nobody waiting: while one is stopped for minutes, another gets its new version, proved and told', async () => {
    const slow = (version: string): string =>
      plainDefinition('slow', BOX, `${STUBBORN}\nenv = ["VERSION=${version}"]`, GRACE);
    const fast = (version: string): string =>
      plainDefinition('fast', BOX, `${QUICK}\nenv = ["VERSION=${version}"]`);
    await rig.push({ 'services/slow.toml': slow('1'), 'services/fast.toml': fast('1') });
    await rig.start();
    await rig.state('slow', 'converged');
    await rig.state('fast', 'converged');

    await rig.push({ 'services/slow.toml': slow('2') });
    await until('its stop to be under way', async () => {
      const { passes } = await rig.view();
      return passes.some(({ steps }) =>
        steps.some(
          (step) => step.kind === 'retire-container' && step.service === 'slow' && step.result === undefined,
        ),
      );
    });
    await rig.push({ 'services/fast.toml': fast('2') });
    const { applied } = await rig.state('fast', 'converged');
    expect(applied?.commit).to.equal(rig.head());
    const waits = (await rig.state('slow', 'changing')).waiting.map((entry) => [entry.for, entry.why]);
    expect(waits).to.deep.include(['busy', 'retire-container slow is under way']);

    // Whatever it waited for, it goes on with the new version.
    await run('docker', ['--host', `unix://${engine.socketPath}`, 'kill', await old()]);
    await rig.state('slow', 'converged');
    const { passes } = await rig.view();
    const steps = passes.flatMap((pass) => pass.steps).filter((step) => step.service === 'slow');
    expect(steps.filter((step) => step.result !== 'ok')).to.deep.equal([]);
    expect(steps.filter((step) => step.kind === 'retire-container')).to.have.length(1);
    await run('docker', ['--host', `unix://${engine.socketPath}`, 'kill', await old()]);
  });
});

describe('a call that hangs, with a fake engine on a real socket', function () {
  this.timeout(300_000);
  let dir: string;
  let fake: FakeEngine;
  let rig: AgentRig;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mcg-hung-'));
    fake = await startFakeEngine(join(dir, 'engine.sock'));
    fake.addImage(BOX);
    rig = await makeAgentRig(fake);
  });
  after(async () => {
    // What hangs would otherwise be waited for until its deadline.
    await fake.close();
    await rig.close();
    await rm(dir, { recursive: true });
  });

  it('L40 G19 keeps its own service: while a start is not answered, another service gets its new version', async () => {
    const good = (version: string): string =>
      plainDefinition('good', BOX, `cmd = ["/serve"]\nenv = ["VERSION=${version}"]`);
    await rig.push({ 'services/good.toml': good('1') });
    await rig.start();
    await rig.state('good', 'converged');
    fake.hold(/^POST .*\/start$/);
    await rig.push({ 'services/bad.toml': plainDefinition('bad', BOX, 'cmd = ["/serve"]') });
    await until('its start to be under way', async () => {
      const bad = (await rig.view()).services.find(({ name }) => name === 'bad');
      return bad?.waiting.some(({ why }) => why === 'start-container bad is under way');
    });
    fake.hold(undefined);
    await rig.push({ 'services/good.toml': good('2') });
    expect((await rig.state('good', 'converged')).applied?.commit).to.equal(rig.head());
    expect((await rig.state('bad', 'changing')).waiting.map((entry) => entry.for)).to.include('busy');
  });

  it('L40 G9 keeps its own service: a container that the engine lists and does not tell of is left alone, and hides no other', async () => {
    const good = (version: string): string =>
      plainDefinition('good', BOX, `cmd = ["/serve"]\nenv = ["VERSION=${version}"]`);
    // What hangs would be waited for until its deadline.
    fake.drop();
    await rig.stopAgent();
    fake.reset();
    const mute = plainDefinition('mute', BOX, 'cmd = ["/serve"]');
    await rig.push({
      'services/good.toml': good('3'),
      'services/bad.toml': undefined,
      'services/mute.toml': mute,
    });
    await rig.start();
    await rig.state('mute', 'converged');
    await rig.stopAgent();
    const facts = await rig.engine.facts();
    const id = facts.kind === 'ok' && facts.value.containers.find(({ name }) => name === 'mute')?.id;
    fake.hold(new RegExp(`^GET /containers/${String(id)}/json$`));
    await rig.start();
    await rig.push({
      'services/good.toml': good('4'),
      'services/mute.toml': mute.replace('/serve', '/other'),
    });
    expect((await rig.state('good', 'converged')).applied?.commit).to.equal(rig.head());
    const { waiting, observed } = await rig.state('mute', 'waiting');
    expect(waiting.find((entry) => entry.for === 'engine')?.why).to.contain('does not answer');
    expect(observed.map(({ state, why }) => [state, why])).to.deep.equal([
      ['running', 'the engine does not answer when it is asked for it'],
    ]);
    fake.hold(undefined);
    fake.drop();
    expect((await rig.state('mute', 'converged')).applied?.commit).to.equal(rig.head());
  });
});
