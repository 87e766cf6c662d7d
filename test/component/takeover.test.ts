import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { startAgent } from '../../src/agent.ts';
import { httpRequest } from '../../src/base/http.ts';
import { makeLog } from '../../src/base/log.ts';
import { run } from '../../src/demo/process.ts';
import { makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { openEngineFront, type EngineFront } from '../support/enginefront.ts';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { buildNodeImage } from '../support/images.ts';
import { freePort } from '../support/ports.ts';
import { until } from '../support/until.ts';

const IMAGE = 'localhost/mcg-takeover-test/web:v1.0.0';

describe('the agent and what was there before it, on real Docker', () => {
  let docker: TestEngine;
  let rig: AgentRig;
  const hand: string[] = [];
  const cli = async (...args: string[]): Promise<string> =>
    (await run('docker', ['--host', `unix://${docker.socketPath}`, ...args])).stdout;

  before(async function () {
    this.timeout(300_000);
    docker = await startDocker();
    await buildNodeImage(docker, IMAGE);
  });
  beforeEach(async () => {
    rig = await makeAgentRig(docker);
  });
  afterEach(async () => {
    await rig.close();
    const mine = hand.splice(0).flatMap((name) => ['--filter', `name=${name}`]);
    const all = mine.length === 0 ? '' : await cli('ps', '-aq', ...mine);
    for (const id of all.split('\n').filter((line) => line !== '')) await cli('rm', '-f', id);
  });

  it('L27 observes a node full of containers started by hand, then takes each place once: requests are lost in one gap, as by a restart; the second pass is empty, and so is the one without the field', async () => {
    const ports = [await freePort(), await freePort()];
    const names = ['a', 'b'].map((name) => `${rig.instance}-${name}`);
    for (const [index, name] of names.entries()) {
      hand.push(name);
      const port = String(ports[index]);
      await cli('run', '-d', '--name', name, '-e', `PORT=${port}`, '-p', `127.0.0.1:${port}:${port}`, IMAGE);
    }
    const definitions = (withReplaces: boolean): Record<string, string> =>
      Object.fromEntries(
        names.map((name, index) => {
          const port = ports[index] ?? 0;
          const more = `ports = ["127.0.0.1:${port}:${port}"]\nenv = ["LISTEN=${port}"]\ncmd = ["/bin/node", "-e", "require('http').createServer((q, s) => s.end('new')).listen(${port})"]\n${withReplaces ? `replaces = "${name}"` : ''}`;
          const service = index === 0 ? 'aa' : 'bb';
          return [`services/${service}.toml`, plainDefinition(service, IMAGE, more)];
        }),
      );
    await rig.push({ ...definitions(true), 'nodes/n1.toml': 'mode = "observe"\n' });
    await rig.start();
    const seen = await rig.state('aa', 'waiting');
    expect(seen.waiting.find((entry) => entry.for === 'observe')?.why).to.contain(
      `take-over-container ${names[0] ?? ''}`,
    );
    expect(await answers(ports)).to.deep.equal([false, false]);

    let gaps = 0;
    let wasUp = true;
    let asked = 0;
    const asking = new AbortController();
    const loop = (async () => {
      while (!asking.signal.aborted) {
        asked += 1;
        const isUp = await up(ports[0] ?? 0);
        if (wasUp && !isUp) gaps += 1;
        wasUp = isUp;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    await rig.push({ 'nodes/n1.toml': undefined });
    await rig.state('aa', 'converged');
    await rig.state('bb', 'converged');
    // A container without routes is ready when it runs: its program may need a moment more.
    await until('the first one to answer', () => wasUp);
    asking.abort();
    await loop;
    expect(await answers(ports)).to.deep.equal([true, true]);
    expect(asked).to.be.greaterThan(10);
    expect(wasUp, 'the last request was answered').to.equal(true);
    expect(gaps, 'times that nobody answered').to.be.at.most(1);
    const old = await cli(
      'ps',
      '-a',
      '--filter',
      `name=${names[0] ?? ''}`,
      '--format',
      '{{.Names}} {{.State}}',
    );
    expect(old.trim()).to.match(new RegExp(`^${names[0] ?? ''}\\.prev-[0-9a-f]{8} exited$`));
    const steps = (await rig.view()).passes.flatMap((pass) => pass.steps);
    expect(steps.filter((step) => step.kind === 'take-over-container')).to.have.length(2);

    const { passes, at = 0 } = await rig.view();
    await until('two more passes', async () => ((await rig.view()).at ?? 0) > at + 2_000);
    expect((await rig.view()).passes, 'G2').to.have.length(passes.length);
    const before = (await rig.state('aa', 'converged')).observed;
    await rig.push(definitions(false));
    expect((await rig.state('aa', 'converged')).observed, 'the field removed').to.deep.equal(before);
  });

  describe('a take-over that is late for an outside cause', () => {
    let port: number;
    let old: string;
    let front: EngineFront;
    beforeEach(async () => {
      port = await freePort();
      const name = `${rig.instance}-old`;
      hand.push(name);
      const publish = `127.0.0.1:${port}:${port}`;
      old = (await cli('run', '-d', '--name', name, '-e', `PORT=${port}`, '-p', publish, IMAGE)).trim();
      front = await openEngineFront(join(rig.dir, 'engine.sock'), docker.socketPath);
      const script = `require('http').createServer((q, s) => s.end('new')).listen(${port})`;
      const more = `ports = ["${publish}"]\ncmd = ["/bin/node", "-e", "${script}"]\nreplaces = "${name}"`;
      const deploy = '[deploy]\ntimeout = "5s"\nstable_for = "4s"\n';
      await rig.push({ 'services/aa.toml': plainDefinition('aa', IMAGE, more, deploy) });
    });
    afterEach(() => front.cut());
    const givenBack = async (): Promise<string[]> =>
      (await rig.view()).passes
        .flatMap((pass) => pass.steps)
        .flatMap(({ kind, because }) => (kind === 'give-back-container' ? [because.summary] : []));

    it('L27 no room to start its successor: the old one serves again; when there is room, the place is taken without a commit', async () => {
      const isStart = new RegExp(`^POST .*/containers/(?!${old})[^/]+/start\\b`);
      front.refuse(isStart, 'write /var/lib/docker/x: no space left on device');
      await rig.start({ engine: { socket: front.socketPath } });
      await until('the old one to be back', async () => (await givenBack()).length > 0);
      await until('the old one to answer', () => up(port));
      expect(await answers([port])).to.deep.equal([false]);
      const late = await rig.state('aa', 'degraded');
      const told = late.waiting.find((entry) => entry.why.includes('gave it back'));
      expect(told?.why).to.contain('no space left on device');
      expect(told?.hint).to.equal('Nothing is held back: the cause lies outside the definition.');

      front.refuse(undefined);
      await rig.state('aa', 'converged', 90_000);
      await until('the new one to answer', () => up(port));
      expect(await answers([port])).to.deep.equal([true]);
    });

    it('L27 the engine away until its time is over, and its successor ended with it: nothing is given back or held back, and it is proved without a commit', async () => {
      await rig.start({ engine: { socket: front.socketPath } });
      await until('the trial to run', async () => {
        const aa = (await rig.view()).services.find((service) => service.name === 'aa');
        return (
          aa?.trial?.phase === 'trying' &&
          aa.observed.some(({ name, state }) => name === 'aa' && state === 'running')
        );
      });
      // On a busy machine its first start may have been given up for an outside cause, and tried again.
      const before = await givenBack();
      await front.cut();
      await cli('kill', 'aa');
      const isAway = async (): Promise<boolean> => 'why' in (await rig.view()).engine;
      await until('the agent to miss the engine', isAway);
      const cutAt = Date.now();
      await until(
        'the time of the trial to be over for long',
        async () => Date.now() - cutAt > 27_000 && (await isAway()),
      );
      await front.mend();
      await rig.state('aa', 'converged', 90_000);
      await until('the new one to answer', () => up(port));
      expect(await answers([port])).to.deep.equal([true]);
      expect(await givenBack()).to.deep.equal(before);
    });
  });

  it('G34 G35 a second agent with a registry of its own does nothing; a registry deleted under the running one comes back', async () => {
    await rig.push({ 'services/web.toml': plainDefinition('web', IMAGE) });
    await rig.start();
    const before = await rig.state('web', 'converged');
    const lines: string[] = [];
    const log = makeLog('info', { write: (line: string) => void lines.push(line) });
    const second = await startAgent(
      rig.settings({ database: { path: join(rig.dir, 'second', 'registry.db') } }),
      log,
    );
    if (second.kind !== 'ok') throw new Error(second.why);
    try {
      const url = new URL('/api/v1/status', second.value.dashboard).href;
      await until('the second agent to say who the first is', async () => {
        const answer = await httpRequest({ method: 'GET', url, deadlineMs: 5_000, maxBytes: 10_000_000 });
        return Buffer.from(answer.body).toString('utf8').includes('another agent works for') || undefined;
      });
    } finally {
      await second.value.stop();
    }
    const database = join(rig.dir, 'data', 'registry.db');
    for (const suffix of ['', '-wal', '-shm']) await rm(`${database}${suffix}`, { force: true });
    await until('the registry to be written again', () => existsSync(database) || undefined);
    const after = await rig.state('web', 'converged');
    expect(after.observed).to.deep.equal(before.observed);
    expect(after.ports).to.deep.equal(before.ports);
    expect(rig.lines.join('')).to.contain('was deleted under the running agent');
  });
});

/** Which of the ports is answered by the new program. */
async function answers(ports: readonly number[]): Promise<boolean[]> {
  return Promise.all(
    ports.map(async (port) => {
      const answer = await httpRequest({
        method: 'GET',
        url: `http://127.0.0.1:${port}/`,
        deadlineMs: 5_000,
        maxBytes: 100_000,
      });
      return Buffer.from(answer.body).toString('utf8') === 'new';
    }),
  );
}

/** An answer that comes late on a busy machine is one. */
async function up(port: number): Promise<boolean> {
  try {
    await httpRequest({
      method: 'GET',
      url: `http://127.0.0.1:${port}/`,
      deadlineMs: 30_000,
      maxBytes: 100_000,
    });
    return true;
  } catch {
    return false;
  }
}
