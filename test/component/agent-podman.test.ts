import { expect } from 'chai';
import { callEngine } from '../../src/demo/socket.ts';
import { definitionOf, makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { allEngines, type TestEngine } from '../support/engines.ts';
import { buildBusyboxImage, buildNodeImage } from '../support/images.ts';
import { ask } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

const WEB = 'localhost/mcg-agent-podman/web:v1.0.0';
const WEB_NEXT = 'localhost/mcg-agent-podman/web:v1.1.0';
const IDLE = 'localhost/mcg-agent-podman/idle:v1.0.0';

for (const { name, start } of allEngines.filter((engine) => engine.name !== 'docker')) {
  describe(`the agent, on ${name}`, function () {
    this.timeout(300_000);
    let engine: TestEngine;
    let rig: AgentRig;

    before(async () => {
      engine = await start();
      await buildNodeImage(engine, WEB);
      await buildNodeImage(engine, WEB_NEXT, undefined, { lines: ['ENV NEXT=yes'] });
      await buildBusyboxImage(engine, IDLE);
    });
    beforeEach(async () => {
      rig = await makeAgentRig(engine);
    });
    afterEach(() => rig.close());

    it('runs, changes, heals and undeploys a service by commits alone, on the same port', async () => {
      await rig.startProxy();
      const status = (): Promise<number> =>
        ask(
          { port: rig.webPort, hostname: 'web.svc.mcp.metacircular.net', ca: '' },
          { rejectUnauthorized: false },
        ).then(
          (answer) => answer.status,
          () => 0,
        );
      await rig.push({
        'services/web.toml': definitionOf(rig, 'web', WEB),
        'services/idle.toml': plainDefinition('idle', IDLE, `volumes = ["${rig.instance}-data:/data"]`),
      });
      await rig.start();
      const first = await rig.state('web', 'converged', 90_000);
      await rig.state('idle', 'converged');
      expect(await status()).to.equal(200);

      await rig.push({ 'services/web.toml': definitionOf(rig, 'web', WEB_NEXT) });
      const second = await rig.state('web', 'converged', 90_000);
      expect(second.ports).to.deep.equal(first.ports);
      expect(second.observed.map((container) => container.name)).to.deep.equal(['web']);
      expect(await status()).to.equal(200);

      const facts = await rig.engine.facts();
      const id = facts.kind === 'ok' ? facts.value.containers.find((c) => c.name === 'web')?.id : undefined;
      await rig.engine.remove(id ?? '', 0);
      await until(
        'the service to answer again',
        async () => {
          const answer = await status();
          if (answer === 200) return true;
          const web = (await rig.view()).services.find((service) => service.name === 'web');
          const { state, waiting, refused, lastError, observed } = web ?? {};
          throw new Error(JSON.stringify({ answer, state, waiting, refused, lastError, observed }));
        },
        60_000,
      );

      await rig.push({ 'services/web.toml': undefined });
      await until(
        'web to be gone',
        async () => (await rig.view()).services.every((service) => service.name !== 'web'),
        60_000,
      );
      expect(await status()).to.equal(0);
    });

    it('makes again what somebody removes by force, and begins nothing that is just being removed; what is killed is begun again', async () => {
      await rig.startProxy();
      await rig.push({ 'services/web.toml': definitionOf(rig, 'web', WEB) });
      await rig.start();
      await rig.state('web', 'converged', 90_000);
      const web = async (): Promise<{ id: string; state: string; startedAt?: number } | undefined> => {
        const facts = await rig.engine.facts();
        return facts.kind === 'ok' ? facts.value.containers.find((c) => c.name === 'web') : undefined;
      };
      for (let round = 0; round < 4; round += 1) {
        const { id = '' } = (await web()) ?? {};
        rig.lines.length = 0;
        await callEngine(engine.socketPath, 'DELETE', `/v1.40/containers/${id}?force=true`, 60_000);
        await until('another container', async () => {
          const now = await web();
          return now?.state === 'running' && now.id !== id;
        });
        await until('its steps to be told', () => Promise.resolve(stepsIn(rig.lines).length > 1));
        await rig.state('web', 'converged');
        expect(stepsIn(rig.lines), `round ${round}`).to.deep.equal(['create-container', 'start-container']);
      }
      const before = await web();
      rig.lines.length = 0;
      await callEngine(engine.socketPath, 'POST', `/v1.40/containers/${before?.id ?? ''}/kill`);
      await until('the same container to run again', async () => {
        const now = await web();
        return now?.state === 'running' && now.id === before?.id && now.startedAt !== before.startedAt;
      });
      // It runs before its step is told.
      await until('the step to be told', () => Promise.resolve(stepsIn(rig.lines).length > 0));
      await rig.state('web', 'converged');
      expect(stepsIn(rig.lines)).to.deep.equal(['start-container']);
    });
  });
}

/** Kinds of the steps that concern containers, as the log has them, those that failed too. */
function stepsIn(lines: readonly string[]): string[] {
  const kinds = lines.map((line) => (JSON.parse(line) as { step?: string }).step ?? '');
  return kinds.filter((kind) => kind.endsWith('-container'));
}
