import { expect } from 'chai';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { askHaproxy } from '../../src/node/proxy/haproxyask.ts';
import { openHaproxy } from '../../src/node/proxy/haproxy.ts';
import { makeLog } from '../../src/base/log.ts';
import { endWithConnections, listen } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { HAPROXY, OWNER, startDriver, type DriverRig } from '../support/proxyrig.ts';
import { ask } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

describe('proxy driver "haproxy", what is its own', () => {
  let rig: DriverRig;
  let port: number;
  let backend: string;
  const say = async (hostname: string): Promise<string> =>
    (await ask({ port, hostname, ca: rig.ca.cert })).body;
  const config = (): string => join(rig.directory, 'haproxy/haproxy.cfg');

  beforeEach(async () => {
    port = await freePort();
    rig = await startDriver('haproxy', port);
    const server = createServer((_req, res) => res.end('a'));
    backend = `127.0.0.1:${await listen(server)}`;
    rig.onStop(endWithConnections(server));
  });
  afterEach(() => rig.stop());

  it('a storm of 100 changes is few reloads, and the last of them is what is served', async () => {
    const driver = openHaproxy({
      program: HAPROXY,
      configPath: config(),
      runtimeSocket: join(rig.directory, 's'),
      masterSocket: join(rig.directory, 'm'),
      listeners: [`127.0.0.1:${port}`],
      owner: OWNER,
      log: makeLog('silent'),
      reloadIntervalMs: 1_000,
    });
    const routes = await Promise.all(
      Array.from({ length: 10 }, (_, index) => rig.route(`s${index}.svc.test`, backend, { mode: 'l4' })),
    );
    const before = await reloads();
    const begun = performance.now();
    const outcomes: Promise<{ kind: string }>[] = [];
    for (let index = 0; index < 100; index += 1) {
      const route = { ...routes[index % 10]!, backend: `127.0.0.1:${20_000 + index}` };
      outcomes.push(driver.put([route]));
      await new Promise((done) => setTimeout(done, 20));
    }
    expect((await Promise.all(outcomes)).filter(({ kind }) => kind !== 'ok')).to.deep.equal([]);
    const seconds = (performance.now() - begun) / 1_000;
    const made = (await reloads()) - before;
    console.log(`      100 changes in ${seconds.toFixed(1)} s: ${made} reloads`);
    // One a second at most, whatever the machine's pace, and the first at once.
    expect(made).to.be.within(1, Math.ceil(seconds) + 1);
    expect((await rig.live()).map((route) => route.backend)).to.deep.equal(
      routes.map((_, index) => `127.0.0.1:${20_090 + index}`),
    );
  });

  it('a worker that dies takes its master with it; started again by its supervisor, everything is served as before', async () => {
    const route = await rig.route('a.svc.test', backend);
    await rig.proxy.put([route]);
    process.kill(await rig.workerPid(), 'SIGKILL');
    await until('HAProxy to be seen as down', async () => !(await rig.facts()).live.known);
    expect((await rig.facts()).table).to.deep.equal([route]);
    await rig.halt();
    await rig.start();
    expect(await rig.live()).to.deep.equal([route]);
    expect(await say('a.svc.test')).to.equal('a');
  });

  it('a file that is not ours is never written over; one that somebody changed by hand is put right', async () => {
    await rig.proxy.put([await rig.route('a.svc.test', backend)]);
    const ours = await readFile(config(), 'utf8');
    await writeFile(config(), 'global\n  maxconn 10\n');
    const outcome = await rig.proxy.put([await rig.route('b.svc.test', backend)]);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome).to.have.property('why').that.includes('was not written by mc-gitops');
    expect((await rig.proxy.observe()).known).to.equal(false);
    expect(await readFile(config(), 'utf8')).to.equal('global\n  maxconn 10\n');
    expect(await say('a.svc.test')).to.equal('a');

    await writeFile(config(), ours.replace('timeout http-keep-alive 75s', 'timeout http-keep-alive 1s'));
    const { stale, table } = await rig.facts();
    expect(stale).to.deep.equal([
      { listenerPort: port, hostname: 'a.svc.test', why: `${config()} was changed by hand` },
    ]);
    expect(await rig.proxy.put(table)).to.have.property('kind', 'ok');
    expect(await readFile(config(), 'utf8')).to.equal(ours);
    expect(await rig.facts()).not.to.have.property('stale');

    // In an empty one nothing is anybody's.
    await writeFile(config(), '');
    expect(await rig.proxy.put(table)).to.have.property('kind', 'ok');
    expect(await readFile(config(), 'utf8')).to.equal(ours);
  });

  it('L09 maps and certificates beside the file that somebody changed are found and put right, also when HAProxy has begun with them', async () => {
    const other = createServer((_req, res) => res.end('b'));
    rig.onStop(endWithConnections(other));
    const routes = [
      await rig.route('a.svc.test', backend),
      await rig.route('b.svc.test', `127.0.0.1:${await listen(other)}`),
    ];
    await rig.proxy.put(routes);
    const directory = join(rig.directory, 'haproxy');
    const [version = ''] = (await readdir(directory)).filter((name) => name.startsWith('v-'));
    const map = join(directory, version, 'routes-0.map');
    const [one = '', two = ''] = (await readdir(join(directory, 'certs'))).map((name) =>
      join(directory, 'certs', name),
    );
    const changes: readonly (readonly [string, () => Promise<void>])[] = [
      [
        map,
        async () => writeFile(map, (await readFile(map, 'utf8')).replace('|0.a.svc.test|', '|0.b.svc.test|')),
      ],
      [one, async () => writeFile(one, await readFile(two))],
    ];
    for (const [path, change] of changes) {
      await change();
      const pid = await rig.workerPid();
      await until(
        'the master to take it',
        async () => (await askHaproxy(join(rig.directory, 'm'), 'reload')).kind === 'answer',
      );
      await until('a worker that has read it', async () => (await rig.workerPid()) !== pid);
      const { stale, live } = await rig.facts();
      expect(stale?.map(({ why }) => why)).to.deep.equal(routes.map(() => `${path} was changed by hand`));
      if (path === map) {
        expect(await say('a.svc.test')).to.equal('b');
        expect(live.known && live.value.find(({ hostname }) => hostname === 'a.svc.test')?.backend).to.equal(
          'l7-0|0.b.svc.test',
        );
      } else {
        const all = await Promise.allSettled([say('a.svc.test'), say('b.svc.test')]);
        expect(all.filter(({ status }) => status === 'rejected')).to.have.length(1);
      }
      expect(await rig.proxy.put([routes[0]!])).to.have.property('kind', 'ok');
      expect([await say('a.svc.test'), await say('b.svc.test')]).to.deep.equal(['a', 'b']);
      expect(await rig.facts()).not.to.have.property('stale');
    }
  });

  it('what somebody changed of one route is said of that route, and of no other', async () => {
    const routes = [
      await rig.route('a.svc.test', backend),
      await rig.route('b.svc.test', '127.0.0.1:10048'),
      await rig.route('c.svc.test', '127.0.0.1:10049', { mode: 'l4' }),
    ];
    await rig.proxy.put(routes);
    const ours = await readFile(config(), 'utf8');
    const why = `what ${config()} says of it was changed by hand`;
    for (const [hostname, edited] of [
      // Table and server, as a search and replace does; the server alone; the table alone.
      ['b.svc.test', ours.replaceAll('127.0.0.1:10048', '127.0.0.1:9')],
      ['b.svc.test', ours.replaceAll('server s 127.0.0.1:10048', 'server s 127.0.0.1:9')],
      ['c.svc.test', ours.replace('127.0.0.1:10049', '127.0.0.1:9')],
    ] as const) {
      expect(edited).not.to.equal(ours);
      await writeFile(config(), edited);
      expect((await rig.facts()).stale).to.deep.equal([{ listenerPort: port, hostname, why }]);
      const route = routes.find((one) => one.hostname === hostname)!;
      expect(await rig.proxy.put([route])).to.have.property('kind', 'ok');
      expect(await readFile(config(), 'utf8')).to.equal(ours);
    }
    await writeFile(config(), ours.replace('timeout connect 1000ms', 'timeout connect 9ms'));
    const whole = (await rig.facts()).stale ?? [];
    expect(whole.map((one) => one.why)).to.deep.equal(routes.map(() => `${config()} was changed by hand`));
    await rig.proxy.put([]);
    expect(await rig.facts()).not.to.have.property('stale');
  });

  it('HAProxy that comes after the agent, and a change that is under way, are no news of any route', async () => {
    await rig.halt();
    const route = await rig.route('a.svc.test', backend);
    expect(await rig.proxy.put([route])).to.have.property('kind', 'wait');
    expect(await rig.facts()).not.to.have.property('stale');
    await rig.start();
    expect(await rig.facts()).not.to.have.property('stale');
    const other = await rig.route('b.svc.test', backend);
    const way = { ended: false };
    const put = rig.proxy.put([other]).finally(() => (way.ended = true));
    const seen: unknown[] = [];
    while (!way.ended) {
      seen.push(...((await rig.facts()).stale ?? []));
      await new Promise((done) => setImmediate(done));
    }
    expect(await put).to.have.property('kind', 'ok');
    expect(seen).to.deep.equal([]);
    expect(await rig.facts()).not.to.have.property('stale');
  });

  it('on all addresses a client of IPv4 has its address as it is, and one of IPv6 too', async () => {
    const all = await freePort();
    const driver = rig.driver(`:${all}`);
    const server = createServer((request, response) => response.end(request.headers['x-forwarded-for']));
    rig.onStop(endWithConnections(server));
    const route = await rig.route('e.svc.test', `127.0.0.1:${await listen(server)}`, { listenerPort: all });
    expect(await driver.put([route])).to.have.property('kind', 'ok');
    const from = async (host: string): Promise<string> =>
      (await ask({ port: all, hostname: 'e.svc.test', ca: rig.ca.cert }, { host })).body;
    expect([await from('127.0.0.1'), await from('::1')]).to.deep.equal(['127.0.0.1', '::1']);
  });

  it('what HAProxy itself refuses is said in its own words, alone, and nothing is left behind', async () => {
    await rig.proxy.put([await rig.route('a.svc.test', backend)]);
    const before = await readFile(config(), 'utf8');
    const bad = { ...(await rig.route('b.svc.test', backend)), backend: 'two words:80' };
    const [refused, taken] = await Promise.all([
      rig.proxy.put([bad]),
      rig.proxy.put([await rig.route('c.svc.test', backend)]),
    ]);
    expect(refused.kind).to.equal('blocked');
    expect(refused)
      .to.have.property('why')
      .that.matches(/HAProxy refuses the configuration: .*two|host:port/);
    expect(taken.kind).to.equal('ok');
    expect(await say('c.svc.test')).to.equal('a');
    expect(await readFile(config(), 'utf8')).not.to.equal(before);
    const files = await readdir(join(rig.directory, 'haproxy'));
    expect(files.filter((name) => name.startsWith('v-'))).to.have.lengthOf(1);
    expect(files.filter((name) => name.endsWith('.next'))).to.deep.equal([]);
    // Copies of keys are for the owner only, and go with their route.
    const bundles = await readdir(join(rig.directory, 'haproxy/certs'));
    expect(bundles).to.have.lengthOf(2);
    expect((await stat(join(rig.directory, 'haproxy/certs', bundles[0]!))).mode & 0o777).to.equal(0o600);
    await rig.proxy.remove([{ listenerPort: port, hostname: 'c.svc.test' }]);
    expect(await readdir(join(rig.directory, 'haproxy/certs'))).to.have.lengthOf(1);
  });

  it('a program that is not there, and a directory that cannot be made, are named (G38)', async () => {
    const options = {
      program: '/nowhere/haproxy',
      configPath: join(rig.directory, 'other/haproxy.cfg'),
      runtimeSocket: join(rig.directory, 's2'),
      masterSocket: join(rig.directory, 'm2'),
      listeners: [`127.0.0.1:${port}`],
      owner: OWNER,
      log: makeLog('silent'),
    };
    const outcome = await openHaproxy(options).put([]);
    expect(outcome).to.deep.include({ kind: 'blocked', why: '/nowhere/haproxy is not there' });
    await mkdir(join(rig.directory, 'file'));
    await writeFile(join(rig.directory, 'file/inside'), '');
    const below = { ...options, configPath: join(rig.directory, 'file/inside/x/haproxy.cfg') };
    expect((await openHaproxy(below).put([])).kind).not.to.equal('ok');
  });

  /** How often the master has been told to reload. */
  async function reloads(): Promise<number> {
    return until('the master to answer', async () => {
      const shown = await askHaproxy(join(rig.directory, 'm'), 'show proc');
      const found = shown.kind === 'answer' ? /^\d+\s+master\s+(\d+)/m.exec(shown.value)?.[1] : undefined;
      // Zero is an answer too.
      return found === undefined ? undefined : { count: Number(found) };
    }).then(({ count }) => count);
  }
});
