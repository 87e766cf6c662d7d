import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { startAgent } from '../../src/agent.ts';
import { makeLog } from '../../src/base/log.ts';
import { makeRepository } from '../../src/demo/repository.ts';
import { definitionOf, makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { buildBusyboxImage, buildNodeImage } from '../support/images.ts';
import { listen } from '../support/mcproxy.ts';
import { ask } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

const GOOD = 'localhost/mcg-agent-test/good:v1.0.0';
const GOOD_NEXT = 'localhost/mcg-agent-test/good:v1.1.0';
const IDLE = 'localhost/mcg-agent-test/idle:v1.0.0';

describe('the agent, on real Docker', () => {
  let docker: TestEngine;
  let rig: AgentRig;

  before(async function () {
    this.timeout(300_000);
    docker = await startDocker();
    await buildNodeImage(docker, GOOD);
    await buildNodeImage(docker, GOOD_NEXT, undefined, { lines: ['ENV NEXT=yes'] });
    await buildBusyboxImage(docker, IDLE);
  });
  beforeEach(async () => {
    rig = await makeAgentRig(docker);
  });
  afterEach(() => rig.close());

  it('runs the whole way: a pushed commit becomes a running, routed and recorded service; a second pass writes nothing', async () => {
    await rig.startProxy();
    await rig.push({ 'services/web.toml': definitionOf(rig, 'web', GOOD) });
    await rig.start();
    const view = await rig.state('web', 'converged');
    const hostname = 'web.svc.mcp.metacircular.net';
    const answer = await ask({ port: rig.webPort, hostname, ca: '' }, { rejectUnauthorized: false });
    expect(answer.status).to.equal(200);
    expect(view.routes[0]).to.include({ hostname, port: rig.webPort, served: true });
    expect(view.applied?.images).to.deep.equal([GOOD]);

    const database = new Database(join(rig.dir, 'data', 'registry.db'), { readonly: true });
    const version = database.pragma('data_version', { simple: true });
    const at = (await rig.view()).at ?? 0;
    await until('two more passes', async () => ((await rig.view()).at ?? 0) > at + 2_000);
    expect(database.pragma('data_version', { simple: true })).to.equal(version);
    database.close();
  });

  it('sees a push to a local repository at once, and replaces only what changed (L37)', async () => {
    await rig.push({
      'services/aa.toml': plainDefinition('aa', IDLE),
      'services/bb.toml': plainDefinition('bb', IDLE),
    });
    await rig.start({ source: { urls: [rig.definitions.path], branch: 'main', poll: '0 0 1 1 *' } });
    const before = await rig.state('aa', 'converged');
    await rig.state('bb', 'converged');
    await rig.push({ 'services/bb.toml': plainDefinition('bb', IDLE, 'cmd = ["sleep", "5000"]') });
    const changed = await rig.state('bb', 'converged');
    expect(changed.lastReason?.patch?.map((operation) => operation.path)).to.deep.equal([
      '/components/bb/cmd',
    ]);
    const after = await rig.state('aa', 'converged');
    expect(after.observed).to.deep.equal(before.observed);
  });

  it('G8 tells each fault of a service on the page, and the others converge', async () => {
    const taken = createServer();
    const port = await listen(taken);
    try {
      await rig.startProxy();
      await rig.push({
        'services/good.toml': definitionOf(rig, 'good', GOOD),
        'services/missing.toml': plainDefinition('missing', 'localhost/mcg-agent-test/none:v9.9.9'),
        'services/mount.toml': plainDefinition(
          'mount',
          IDLE,
          `volumes = ["${join(rig.dir, 'srv', 'mount')}:/data"]`,
        ),
        'services/loops.toml': definitionOf(rig, 'loops', GOOD, 'env = ["BEHAVIOUR=exit"]'),
        'services/port.toml': plainDefinition('port', IDLE, `ports = ["127.0.0.1:${port}:80"]`),
        'services/broken.toml': 'name = "broken"\nnode = \n',
      });
      await rig.start();
      await rig.state('good', 'converged');
      expect((await rig.state('missing', 'refused')).refused[0]?.why).to.contain(
        'no registry is configured for',
      );
      const mount = await rig.state('mount', 'waiting');
      expect(mount.waiting[0]?.why).to.contain('does not exist on this node');
      expect(existsSync(join(rig.dir, 'srv', 'mount')), 'L24: never created').to.equal(false);
      await until('the loop to be told', async () => {
        const loops = (await rig.view()).services.find((service) => service.name === 'loops');
        return loops?.waiting.some(
          (entry) => entry.for === 'ready' && /exit code 1|restarted/.test(entry.why),
        );
      });
      expect((await rig.state('port', 'waiting')).waiting[0]?.why).to.contain(
        `port ${port}/tcp is held by a process`,
      );
      const broken = await rig.state('broken', 'refused');
      expect(broken.issues[0]).to.include({ file: 'services/broken.toml', line: 2 });
      expect(rig.lines.some((line) => line.includes('services/broken.toml:2'))).to.equal(true);
    } finally {
      taken.close();
    }
  });

  it('L33 keeps the last good state of a file that became bad, also over a restart', async () => {
    await rig.push({ 'services/web.toml': plainDefinition('web', IDLE) });
    await rig.start();
    const before = await rig.state('web', 'converged');
    await rig.push({ 'services/web.toml': plainDefinition('web', 'localhost/mcg-agent-test/idle:latest') });
    await rig.state('web', 'held back');
    await rig.stopAgent();
    await rig.start();
    const after = await rig.state('web', 'held back');
    expect(after.observed.map((c) => c.name)).to.deep.equal(before.observed.map((c) => c.name));
    expect(after.issues[0]?.rule).to.match(/^image\//);
  });

  it('keeps the last good state of the node file, and takes host names from it', async () => {
    const node = 'hostname_suffix = "n1.example.net"\n';
    await rig.startProxy();
    await rig.push({ 'nodes/n1.toml': node, 'services/web.toml': definitionOf(rig, 'web', GOOD) });
    await rig.start({ policy: { hostnames: ['n1.example.net'] } });
    const before = await rig.state('web', 'converged');
    expect(before.routes[0]?.hostname).to.equal('web.n1.example.net');
    expect(
      existsSync(join(rig.dir, 'certs', 'web.pem')),
      "the default host name has the service's file",
    ).to.equal(true);
    await rig.push({ 'nodes/n1.toml': 'hostname_suffix = 5\n' });
    const after = await rig.state('web', 'converged');
    expect(after.routes).to.deep.equal(before.routes);
    expect((await rig.view()).issues[0]).to.include({ file: 'nodes/n1.toml', line: 1 });
  });

  it('waits for an engine that is down, says so, and converges when it answers', async () => {
    await rig.push({ 'services/web.toml': plainDefinition('web', IDLE) });
    const agent = await rig.start({ engine: { socket: join(rig.dir, 'nobody.sock') } });
    expect(agent.dashboard).to.be.a('string');
    const down = await rig.state('web', 'unknown');
    expect(down.waiting[0]).to.include({ for: 'engine' });
    await rig.stopAgent();
    await rig.start();
    await rig.state('web', 'converged');
  });

  it('L02 G24 goes on with the last accepted commit while the repository is gone, also after a restart, heals, and says since when', async () => {
    await rig.push({ 'services/web.toml': plainDefinition('web', IDLE) });
    await rig.start();
    await rig.state('web', 'converged');
    await rm(rig.definitions.path, { recursive: true });
    await until('the source to be known as gone', async () => (await rig.view()).source.since !== undefined);
    const heals = async (): Promise<void> => {
      const containers = async (): Promise<string[]> => {
        const facts = await rig.engine.facts();
        const all = facts.kind === 'ok' ? facts.value.containers : [];
        return all
          .filter((one) => one.identity?.owner === rig.owner && one.state === 'running')
          .map(({ id }) => id);
      };
      const [before = ''] = await containers();
      await rig.engine.remove(before, 0);
      await until(
        'another container',
        async () => {
          const [after = before] = await containers();
          return after !== before;
        },
        30_000,
      );
    };
    await heals();
    await rig.stopAgent();
    await rig.start();
    await heals();
    await until('the source to be known as gone', async () => (await rig.view()).source.since !== undefined);
  });

  it('waits for a repository that is not there yet, with the reason', async () => {
    const late = join(rig.dir, 'late.git');
    await rig.start({ source: { urls: [late], branch: 'main', poll: '* * * * * *' } });
    await until('the reason', async () => (await rig.view()).idle?.why);
    const repository = await makeRepository(late);
    await repository.commit({ 'services/web.toml': plainDefinition('web', IDLE) });
    await until('the service', async () => (await rig.view()).services[0]?.state === 'converged', 30_000);
  });

  it('tells a route table that cannot be written, and serves as soon as it can', async function () {
    await rig.startProxy();
    const blocker = join(rig.dir, 'table');
    await mkdir(join(blocker, 'routes.toml'), { recursive: true });
    const { mcproxy } = rig.settings();
    const config = { mcproxy: { ...mcproxy, table: join(blocker, 'routes.toml') } };
    await rig.push({ 'services/web.toml': definitionOf(rig, 'web', GOOD) });
    await rig.start(config);
    await until('the reason', async () => {
      const web = (await rig.view()).services.find((service) => service.name === 'web');
      return [...(web?.waiting ?? []), ...(web?.refused ?? [])].some((entry) =>
        entry.why.includes('routes.toml'),
      );
    });
    const web = (await rig.view()).services.find((service) => service.name === 'web');
    expect(web?.observed[0]?.state).to.equal('running');
  });

  it('says that no port is left, and only for the services that need one', async () => {
    // The kernel gives those away itself.
    const low = Number.parseInt(await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10);
    await rig.push({
      'services/web.toml': definitionOf(rig, 'web', GOOD),
      'services/idle.toml': plainDefinition('idle', IDLE),
    });
    await rig.start({ ports: { range: [low, low + 1] } });
    await rig.state('idle', 'converged');
    const web = (await rig.view()).services.find((service) => service.name === 'web');
    expect(web?.refused[0]?.why).to.contain('no host port is free');
  });

  it('G34 refuses to be the second agent of a registry', async () => {
    await rig.push({ 'services/web.toml': plainDefinition('web', IDLE) });
    await rig.start();
    const second = await startAgent(rig.settings(), makeLog('silent'));
    expect(second).to.include({ kind: 'blocked' });
  });

  it('G16 stops, leaves everything running, and takes no step when it is started again', async () => {
    await rig.push({ 'services/web.toml': plainDefinition('web', IDLE) });
    await rig.start();
    const before = await rig.state('web', 'converged');
    const passes = (await rig.view()).passes.length;
    await rig.stopAgent();
    await rig.start();
    const after = await rig.state('web', 'converged');
    expect(after.observed).to.deep.equal(before.observed);
    expect((await rig.view()).passes).to.have.length(passes);
  });

  it('L06 rebuilds its registry from the labels when it was deleted: no restart, same ports', async () => {
    await rig.startProxy();
    await rig.push({ 'services/web.toml': definitionOf(rig, 'web', GOOD) });
    await rig.start();
    const before = await rig.state('web', 'converged');
    await rig.stopAgent();
    for (const suffix of ['', '-wal', '-shm'])
      await rm(join(rig.dir, 'data', `registry.db${suffix}`), { force: true });
    await rig.start();
    const after = await rig.state('web', 'converged');
    expect(after.observed).to.deep.equal(before.observed);
    expect(after.ports).to.deep.equal(before.ports);
  });

  it('changes, stops, starts and undeploys by commits alone', async () => {
    await rig.startProxy();
    const ask200 = (): Promise<boolean> =>
      ask(
        { port: rig.webPort, hostname: 'web.svc.mcp.metacircular.net', ca: '' },
        { rejectUnauthorized: false },
      ).then(
        (answer) => answer.status === 200,
        () => false,
      );
    await rig.push({ 'services/web.toml': definitionOf(rig, 'web', GOOD) });
    await rig.start();
    const first = await rig.state('web', 'converged');
    await rig.push({ 'services/web.toml': definitionOf(rig, 'web', GOOD_NEXT) });
    const second = await rig.state('web', 'converged');
    expect(second.ports).to.deep.equal(first.ports);
    expect(second.observed.map((c) => c.image)).to.deep.equal([GOOD_NEXT]);
    expect(await ask200()).to.equal(true);
    await rig.push({ 'services/web.toml': definitionOf(rig, 'web', GOOD_NEXT, '', 'active = false') });
    await rig.state('web', 'stopped');
    expect(await ask200()).to.equal(false);
    await rig.push({ 'services/web.toml': definitionOf(rig, 'web', GOOD_NEXT) });
    await rig.state('web', 'converged');
    expect(await ask200()).to.equal(true);
    await rig.push(
      { 'services/web.toml': undefined, 'README.md': 'x' },
      'Away with it\n\nRemove-Services: web',
    );
    await until('web to be gone', async () => (await rig.view()).services.length === 0);
    const facts = await rig.engine.facts();
    const left =
      facts.kind === 'ok' ? facts.value.containers.filter((c) => c.identity?.owner === rig.owner) : [{}];
    expect(left).to.deep.equal([]);
  });

  it('G7 L31 removes nothing when the repository becomes empty', async () => {
    await rig.push({
      'services/aa.toml': plainDefinition('aa', IDLE),
      'services/bb.toml': plainDefinition('bb', IDLE),
    });
    await rig.start();
    await rig.state('aa', 'converged');
    await rig.state('bb', 'converged');
    await rig.push({ 'services/aa.toml': undefined, 'services/bb.toml': undefined, 'README.md': 'empty' });
    const refused = await rig.state('aa', 'refused');
    expect(refused.refused[0]?.hint).to.contain('Remove-Services: aa, bb');
    expect(refused.observed[0]?.state).to.equal('running');
  });

  it('G10 shows no value of an environment variable anywhere', async () => {
    const canary = 'canary-7f3a9c-secret';
    await rig.push({ 'services/web.toml': plainDefinition('web', IDLE, `env = ["API_TOKEN=${canary}"]`) });
    await rig.start();
    await rig.state('web', 'converged');
    const seen = [JSON.stringify(await rig.view()), rig.lines.join('\n')];
    const database = new Database(join(rig.dir, 'data', 'registry.db'), { readonly: true });
    for (const { name } of database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all() as {
      name: string;
    }[]) {
      seen.push(JSON.stringify(database.prepare(`SELECT * FROM ${name}`).all()));
    }
    database.close();
    expect(seen.some((text) => text.includes('API_TOKEN'))).to.equal(true);
    expect(seen.some((text) => text.includes(canary))).to.equal(false);
  });
});
