import { expect } from 'chai';
import { writeFile } from 'node:fs/promises';
import { createServer as createHttp } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { join } from 'node:path';
import type { ObservedRoute } from '../../src/node/types.ts';
import { endWithConnections, listen } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { startDriver, type Driver, type DriverRig } from '../support/proxyrig.ts';
import { ask, connectTo } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';
import { heldTo, namedService } from './conformance.kit.ts';

heldTo('table', tables);

function tables(kind: Driver): void {
  let rig: DriverRig;
  let port: number;
  let backend: string;
  const say = async (hostname: string, at = port): Promise<string> =>
    (await ask({ port: at, hostname, ca: rig.ca.cert })).body;
  const kinds = (outcomes: readonly { kind: string }[]): string[] => outcomes.map(({ kind: what }) => what);

  beforeEach(async () => {
    port = await freePort();
    rig = await startDriver(kind, port, { started: false });
    backend = await namedService(rig, 'a');
  });
  afterEach(() => rig.stop());

  it('ok means served: the next request gets an answer, and it is read back (L09); gone means gone', async () => {
    await rig.start();
    const routes = [
      await rig.route('a.svc.test', backend),
      await rig.route('p.svc.test', backend, { mode: 'l4' }),
    ];
    const begun = performance.now();
    expect(await rig.proxy.put(routes)).to.have.property('kind', 'ok');
    console.log(`        table write to served: ${(performance.now() - begun).toFixed(0)} ms`);
    expect(await say('a.svc.test')).to.equal('a');
    expect(await rig.live()).to.deep.equal(routes);
    expect((await rig.facts()).stale ?? []).to.deep.equal([]);
    expect(await rig.proxy.remove(routes)).to.have.property('kind', 'ok');
    expect(await rig.live()).to.deep.equal([]);
    expect(await say('a.svc.test').catch(() => 'closed')).to.equal('closed');
  });

  it('routes that were written while the proxy was down are served when it comes (L02), and again after a restart', async () => {
    const route = await rig.route('a.svc.test', backend);
    expect(await rig.proxy.put([route])).to.have.property('kind', 'wait');
    expect((await rig.facts()).live.known).to.equal(false);
    await rig.start();
    expect(await rig.proxy.put([route])).to.have.property('kind', 'ok');
    expect(await say('a.svc.test')).to.equal('a');
    await rig.halt();
    expect((await rig.facts()).live.known).to.equal(false);
    await rig.start();
    await until('the route to be served again', async () => (await rig.live()).length === 1);
    expect(await say('a.svc.test')).to.equal('a');
  });

  it('a proxy that was restarted with an empty table is seen as empty, and has every route again by one write (G38)', async () => {
    await rig.start();
    const routes = await Promise.all(['a', 'b'].map((name) => rig.route(`${name}.svc.test`, backend)));
    await rig.proxy.put(routes);
    await rig.halt();
    await rig.emptyTable();
    await rig.start();
    expect((await rig.facts()).table).to.deep.equal([]);
    expect(await rig.live()).to.deep.equal([]);
    expect(await rig.proxy.put(routes)).to.have.property('kind', 'ok');
    expect(await rig.live()).to.deep.equal(routes);
    expect(await say('b.svc.test')).to.equal('a');
  });

  it('a disk that is full at each write of a change: the old table serves and stays whole, the reason is told, and it goes on when there is room (G40)', async () => {
    await rig.limitDisk();
    await rig.start();
    const old = await rig.route('a.svc.test', backend);
    expect(await rig.proxy.put([old])).to.have.property('kind', 'ok');
    const next = await rig.route('b.svc.test', backend);
    const written = await rig.written();
    let refusals = 0;
    for (let room = 0; ; room += 1) {
      expect(room, 'enough room at last').to.be.lessThan(40);
      await rig.leaveRoom(room);
      const outcome = await rig.proxy.put([next]);
      if (outcome.kind === 'ok') break;
      refusals += 1;
      expect(outcome).to.have.property('why').that.includes('ENOSPC');
      expect(await rig.written()).to.equal(written);
      expect(await rig.live()).to.deep.equal([old]);
      expect(await say('a.svc.test')).to.equal('a');
      expect(await rig.leftOver()).to.deep.equal([]);
    }
    expect(refusals).to.be.greaterThan(0);
    expect(await rig.live()).to.deep.equal([old, next]);
    expect(await say('b.svc.test')).to.equal('a');
  });

  it('a table that the proxy refuses leaves the old one serving, with the reason; the next change is taken (G38)', async () => {
    await rig.start();
    await rig.proxy.put([await rig.route('a.svc.test', backend)]);
    const squatter = createTcp().listen(0, '127.0.0.1');
    await new Promise((done) => squatter.once('listening', done));
    const taken = (squatter.address() as { port: number }).port;
    rig.onStop(() => squatter.close());
    const wider = rig.driver(`127.0.0.1:${port}`, `127.0.0.1:${taken}`);
    const refused = await wider.put([await rig.route('b.svc.test', backend)]);
    expect(refused.kind).to.equal('blocked');
    expect(refused).to.have.property('why').that.includes(String(taken)).and.includes('EADDRINUSE');
    expect(await say('a.svc.test')).to.equal('a');
    expect((await rig.facts()).table).to.have.lengthOf(1);
    expect(await rig.proxy.put([await rig.route('b.svc.test', backend)])).to.have.property('kind', 'ok');
    expect(await say('b.svc.test')).to.equal('a');
  });

  it('a route at fault is blocked with its own reason and holds up no other (L33); it is served once its files are good', async () => {
    await rig.start();
    const [a, b] = [await rig.route('a.svc.test', backend), await rig.route('b.svc.test', backend)];
    const outcomes = await Promise.all([
      rig.proxy.put([a]),
      rig.proxy.put([{ ...b, tlsKey: '/nowhere' }]),
      rig.proxy.put([{ ...b, hostname: 'no host name' }]),
      rig.proxy.put([await rig.route('c.svc.test', backend)]),
    ]);
    expect(kinds(outcomes)).to.deep.equal(['ok', 'blocked', 'blocked', 'ok']);
    expect(outcomes[1]).to.have.property('why').that.includes('b.svc.test').and.includes('nowhere');
    expect((await rig.live()).map(({ hostname }) => hostname)).to.deep.equal(['a.svc.test', 'c.svc.test']);
    expect((await rig.facts()).faults?.map(({ hostname }) => hostname)).to.deep.equal(['b.svc.test']);
    expect(await rig.proxy.put([b])).to.have.property('kind', 'ok');
    expect(await say('b.svc.test')).to.equal('a');
    expect((await rig.facts()).faults).to.deep.equal([]);
  });

  it('a certificate that was replaced is taken up without a dropped connection; a bad one never is (L10, L15)', async () => {
    await rig.start();
    const route = await rig.route('a.svc.test', backend);
    await rig.proxy.put([route]);
    const shown = async (): Promise<string | undefined> => {
      const socket = await connectTo({ port, hostname: 'a.svc.test', ca: rig.ca.cert });
      const found = socket.getPeerX509Certificate()?.fingerprint256;
      socket.destroy();
      return found;
    };
    const before = await shown();
    const keptOpen = await connectTo({ port, hostname: 'a.svc.test', ca: rig.ca.cert });
    keptOpen.write('GET / HTTP/1.1\r\nHost: a.svc.test\r\n\r\n');
    await new Promise((done) => keptOpen.once('data', done));
    await writeFile(route.tlsCert!, 'rubbish');
    await until('the fault', async () => ((await rig.facts()).faults ?? []).length === 1);
    expect((await rig.facts()).faults?.[0]?.why).to.match(/goes on with the certificate of before/);
    expect(await shown()).to.equal(before);
    await rig.certify('a.svc.test');
    // As the planner does: a proxy that does not take it up by itself says that it is to be put again.
    await until('the new certificate', async () => {
      const { stale } = await rig.facts();
      if (stale !== undefined) expect(await rig.proxy.put([route])).to.have.property('kind', 'ok');
      return (await shown()) !== before;
    });
    expect((await rig.facts()).stale ?? []).to.deep.equal([]);
    keptOpen.write('GET / HTTP/1.1\r\nHost: a.svc.test\r\nConnection: close\r\n\r\n');
    expect(String(await new Promise((done) => keptOpen.once('data', done)))).to.match(/^HTTP\/1\.1 200/);
    keptOpen.destroy();
  });

  it('listeners follow the settings, and the same name on two of them is routed separately', async () => {
    await rig.start();
    const second = await freePort();
    const both = rig.driver(`127.0.0.1:${port}`, `127.0.0.1:${second}`);
    await rig.proxy.put([]);
    expect(await rig.facts(both)).to.have.deep.nested.property('listeners.missing', [`127.0.0.1:${second}`]);
    const outcome = await both.put([
      await rig.route('a.svc.test', backend),
      await rig.route('a.svc.test', await namedService(rig, 'b'), { listenerPort: second }),
    ]);
    expect(outcome).to.have.property('kind', 'ok');
    expect([await say('a.svc.test'), await say('a.svc.test', second)]).to.deep.equal(['a', 'b']);
    expect(await rig.facts(both)).not.to.have.property('listeners');
    expect(await rig.proxy.remove([{ listenerPort: second, hostname: 'a.svc.test' }])).to.have.property(
      'kind',
      'ok',
    );
    await until('the listener to be let go', async () =>
      say('a.svc.test', second).then(
        () => false,
        () => true,
      ),
    );
    expect(await say('a.svc.test')).to.equal('a');
  });

  it('what a CA asks for in the clear is handed on to the agent, and nothing else; without it the address is free for TLS', async () => {
    const clear = `127.0.0.1:${await freePort()}`;
    const asked: string[] = [];
    const agent = createHttp((req, res) => {
      asked.push(`${req.method ?? ''} ${req.headers.host ?? ''} ${req.url ?? ''}`);
      res.writeHead(req.url?.endsWith('unknown') === true ? 404 : 200).end('token.thumbprint');
    });
    const answering = `127.0.0.1:${await listen(agent)}`;
    rig.onStop(endWithConnections(agent));
    const own = await startDriver(kind, await freePort(), {
      challenges: { addr: clear, backend: answering },
    });
    rig.onStop(() => own.stop());
    expect(await own.proxy.put([])).to.have.property('kind', 'ok');
    const get = async (path: string, method = 'GET'): Promise<string> => {
      const response = await fetch(`http://${clear}${path}`, { method });
      const text = await response.text();
      return `${response.status} ${response.status === 200 ? text : ''}`.trim();
    };
    const at = '/.well-known/acme-challenge';
    expect(await get(`${at}/abc_-9`)).to.equal('200 token.thumbprint');
    expect(await get(`${at}/unknown`)).to.equal('404');
    for (const path of ['/', at, `${at}/`, `${at}/a/b`, `${at}/a?b`, `${at}/%2e%2e`, '/.well-known/x'])
      expect(await get(path), path).to.equal('404');
    expect(await get(`${at}/abc`, 'POST')).to.equal('404');
    expect(asked).to.deep.equal([`GET ${clear} ${at}/abc_-9`, `GET ${clear} ${at}/unknown`]);
    expect(await own.facts()).not.to.have.property('listeners');
    agent.close();
    agent.closeAllConnections();
    expect(await get(`${at}/abc`)).to.equal('502');
    // Settings that have the address for TLS: seen, and mended by the next write.
    const tls = own.withoutChallenges(clear);
    expect((await own.facts(tls)).listeners?.surplus).to.include(`${clear} (http-01, to ${answering})`);
    const route = {
      ...(await own.route('tls.svc.test', backend)),
      listenerPort: Number(clear.split(':')[1]),
    };
    expect(await tls.put([route])).to.have.property('kind', 'ok');
    const answer = await ask({ port: route.listenerPort, hostname: 'tls.svc.test', ca: own.ca.cert });
    expect(answer.body).to.equal('a');
    expect(await get(`${at}/abc`).catch(() => 'closed')).to.equal('closed');
  });

  it('500 routes of 500 certificates, written by 500 changes at once, are served', async () => {
    await rig.start();
    const names = Array.from({ length: 500 }, (_, index) => `s${index}.svc.test`);
    const { cert, key } = await rig.ca.issue(names);
    const routes = await Promise.all(
      names.map(async (hostname): Promise<ObservedRoute> => {
        const [tlsCert, tlsKey] = ['pem', 'key'].map((end) => join(rig.directory, `${hostname}.${end}`));
        await writeFile(tlsCert!, `${cert}\n${rig.ca.cert}\n`);
        await writeFile(tlsKey!, key, { mode: 0o600 });
        const mark = `rift/main/${hostname.split('.')[0] ?? ''}/web/`;
        return {
          listenerPort: port,
          hostname,
          backend,
          mode: 'l7',
          tlsCert: tlsCert!,
          tlsKey: tlsKey!,
          backendTls: false,
          mark,
        };
      }),
    );
    const begun = performance.now();
    const outcomes = await Promise.all(routes.map((route) => rig.proxy.put([route])));
    expect(outcomes.filter((outcome) => outcome.kind !== 'ok')).to.deep.equal([]);
    console.log(`        500 routes: ${(performance.now() - begun).toFixed(0)} ms`);
    expect(await rig.live()).to.have.lengthOf(500);
    for (const hostname of [names[0]!, names[250]!, names[499]!]) expect(await say(hostname)).to.equal('a');
    expect(await rig.proxy.remove([{ listenerPort: port, hostname: names[0]! }])).to.have.property(
      'kind',
      'ok',
    );
    expect(await say(names[499]!)).to.equal('a');
  }).timeout(300_000);
}
