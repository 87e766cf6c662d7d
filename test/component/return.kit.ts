import { expect } from 'chai';
import type { Agent } from '../../src/agent.ts';
import { startTraffic } from '../../src/demo/traffic.ts';
import type { ObservedContainer } from '../../src/node/types.ts';
import { definitionOf, makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import type { TestEngine } from '../support/engines.ts';
import { buildNodeImage } from '../support/images.ts';
import { until } from '../support/until.ts';

const GOOD = 'localhost/mcg-return-test/good:v1.0.0';
const NEXT = 'localhost/mcg-return-test/good:v1.1.0';
const PATIENCE_MS = 90_000;
const HOSTNAME = 'web.svc.mcp.metacircular.net';
// A version that is put back has the same time: on a busy machine less would be a failure of its own.
const DEPLOY = { deploy: { timeout_s: 10, stable_for_s: 0.5, stop_timeout_s: 1 } };
const ENDLESS = { deploy: { ...DEPLOY.deploy, timeout_s: 3_600 } };

/** What is promised of a version that is not proved, on one real engine. */
export function returns(name: string, start: () => Promise<TestEngine>): void {
  describe(`a version that is not proved, on ${name}`, function () {
    this.timeout(300_000);
    let engine: TestEngine;
    let rig: AgentRig;

    before(async () => {
      engine = await start();
      await buildNodeImage(engine, GOOD);
      await buildNodeImage(engine, NEXT, undefined, { lines: ['ENV NEXT=yes'] });
    });
    beforeEach(async () => {
      rig = await makeAgentRig(engine);
    });
    afterEach(() => rig.close());

    const inPlace = async (): Promise<ObservedContainer | undefined> => {
      const facts = await rig.engine.facts();
      if (facts.kind !== 'ok') throw new Error(facts.why);
      return facts.value.containers.find(
        (container) => container.identity?.owner === rig.owner && container.name === 'web',
      );
    };
    const definition = (image: string, env: string, strategy = 'recreate'): string =>
      definitionOf(rig, 'web', image, `env = [${env}]`, `[deploy]\nstrategy = "${strategy}"\n`);
    const started = async (strategy?: string, deploy: object = DEPLOY): Promise<Agent> => {
      await rig.startProxy();
      await rig.push({ 'services/web.toml': definition(GOOD, '"VERSION=one"', strategy) });
      const agent = await rig.start(deploy);
      await rig.state('web', 'converged', PATIENCE_MS);
      return agent;
    };
    const traffic = (): ReturnType<typeof startTraffic> =>
      startTraffic([{ name: 'web', hostname: HOSTNAME, port: rig.webPort }], PATIENCE_MS);

    it('L07 L32 gives way to the kept container of the last proved one, is held back over a restart of the agent, and mended by a commit', async () => {
      await started();
      const before = await inPlace();
      await rig.push({ 'services/web.toml': definition(NEXT, '"VERSION=two", "BEHAVIOUR=silent"') });
      const held = await rig.state('web', 'held back', PATIENCE_MS);
      expect(held.trial?.why).to.match(/^not proved within 10 s: web: .*nothing/);
      expect(await inPlace()).to.include({ id: before?.id, state: 'running' });
      expect(held.routes[0]?.served).to.equal(true);
      await rig.stopAgent();
      await rig.start(DEPLOY);
      const after = await rig.state('web', 'held back', PATIENCE_MS);
      expect(after.trial?.since).to.equal(held.trial?.since);
      expect(await inPlace()).to.include({ id: before?.id, startedAt: (await inPlace())?.startedAt });
      await rig.push({ 'services/web.toml': definition(NEXT, '"VERSION=three"') });
      const mended = await rig.state('web', 'converged', PATIENCE_MS);
      expect(mended).to.not.have.property('trial');
      expect(mended.applied?.images).to.deep.equal([NEXT]);
    });

    it('G4 L32 that answers to nobody and ends after a while is watched for its whole time, gives way, and is held back', async () => {
      const plain = (script: string): string =>
        plainDefinition('web', GOOD, `cmd = ["/bin/node", "-e", "${script}"]`);
      await rig.push({ 'services/web.toml': plain('setInterval(() => {}, 1000)') });
      await rig.start({ deploy: { ...DEPLOY.deploy, stable_for_s: 4 } });
      await rig.state('web', 'converged', PATIENCE_MS);
      const before = await inPlace();
      await rig.push({ 'services/web.toml': plain('setTimeout(() => process.exit(1), 1500)') });
      const held = await rig.state('web', 'held back', PATIENCE_MS);
      expect(held.trial?.phase).to.equal('held back');
      expect(await inPlace()).to.include({ id: before?.id, state: 'running' });
    });

    it('is given way to by a new container with the old values when somebody removed the kept one', async () => {
      await started('recreate', ENDLESS);
      const load = traffic();
      try {
        await until(
          'the first version to answer',
          async () => load.answer('web')?.includes('"one"'),
          PATIENCE_MS,
        );
        await rig.push({ 'services/web.toml': definition(NEXT, '"VERSION=two", "BEHAVIOUR=silent"') });
        const kept = await until(
          'the kept container',
          async () => {
            const facts = await rig.engine.facts();
            if (facts.kind !== 'ok') throw new Error(facts.why);
            return facts.value.containers.find(
              (one) => one.identity?.owner === rig.owner && one.name.startsWith('web.prev-'),
            );
          },
          PATIENCE_MS,
        );
        expect(await rig.engine.remove(kept.id, 0)).to.include({ kind: 'ok' });
        await until(
          'its time to run',
          async () =>
            (await rig.view()).services.find((one) => one.name === 'web')?.trial?.phase === 'trying',
          PATIENCE_MS,
        );
        // Its time ends when it is known that nothing is kept, not when this machine gets round to it.
        await rig.stopAgent();
        await rig.start(DEPLOY);
        await rig.state('web', 'held back', PATIENCE_MS);
        expect((await inPlace())?.image).to.contain('good:v1.0.0');
        expect((await inPlace())?.id).to.not.equal(kept.id);
        load.take();
        await until(
          'the old values to be served',
          async () => {
            const { lost = 1, asked = 0 } = load.take().get('web') ?? {};
            return asked > 0 && lost === 0 && load.answer('web')?.includes('"one"') === true;
          },
          PATIENCE_MS,
        );
      } finally {
        await load.stop();
      }
    });

    it('G5 blue-green loses no request: neither of a change, nor of a version that is not proved', async () => {
      await started('blue-green');
      const load = traffic();
      try {
        await until(
          'the first version to answer',
          async () => load.answer('web')?.includes('"one"'),
          PATIENCE_MS,
        );
        await rig.push({ 'services/web.toml': definition(NEXT, '"VERSION=two"', 'blue-green') });
        const next = await rig.state('web', 'converged', PATIENCE_MS);
        expect(next.ports.map((port) => port.slot)).to.deep.equal(['a', 'b']);
        await until(
          'the second version to answer',
          async () => load.answer('web')?.includes('"two"'),
          PATIENCE_MS,
        );
        await rig.push({
          'services/web.toml': definition(GOOD, '"VERSION=three", "BEHAVIOUR=silent"', 'blue-green'),
        });
        await rig.state('web', 'held back', PATIENCE_MS);
        const { asked = 0, lost, why } = load.total().get('web') ?? {};
        expect(asked).to.be.greaterThan(50);
        expect(lost, why).to.equal(0);
        expect(load.answer('web')).to.contain('"two"');
      } finally {
        await load.stop();
      }
    });
  });
}
