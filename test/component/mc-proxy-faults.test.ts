import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeFileAtomic } from '../../src/base/files.ts';
import { makeLog } from '../../src/base/log.ts';
import { routeTableDigest, type Route, type TerminatedRoute } from '../../src/base/routetable.ts';
import type { RouteFault } from '../../src/mc-proxy/certificates.ts';
import { startProxy } from '../../src/mc-proxy/server.ts';
import { listen, startRig, type ProxyRig } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { ask, connectTo, type Target } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

const run = promisify(execFile);
const GOOD = 'good.svc.test';
const BAD = 'bad.svc.test';
// RFC 8446, section 6: unrecognized_name.
const UNKNOWN_NAME = /unrecognized name/i;

describe('mc-proxy, a certificate at fault', () => {
  let rig: ProxyRig;
  let addr: string;
  let target: Target;
  let backend: string;

  beforeEach(async () => {
    // No slow look here: what is promised has to come by events.
    rig = await startRig({ recheckMs: 3_600_000 });
    const port = await freePort();
    addr = `127.0.0.1:${port}`;
    target = { port, hostname: BAD, ca: rig.ca.cert };
    backend = await service('a');
  });
  afterEach(() => rig.stop());

  const service = async (name: string): Promise<string> => {
    const server = createServer((_req, res) => res.end(name));
    rig.onStop(() => {
      server.close();
      server.closeAllConnections();
    });
    return `127.0.0.1:${await listen(server)}`;
  };
  const l7 = async (hostname: string, to = backend): Promise<TerminatedRoute> => {
    const route = await rig.l7(hostname, to);
    if (route.mode !== 'l7') throw new Error('not l7');
    return route;
  };
  const said = async (hostname: string): Promise<string> => {
    try {
      return (await ask({ ...target, hostname })).body;
    } catch (error) {
      return String(error);
    }
  };
  const fingerprint = async (): Promise<string | undefined> => {
    const socket = await connectTo(target);
    const found = socket.getPeerX509Certificate()?.fingerprint256;
    socket.destroy();
    return found;
  };
  const faults = async (): Promise<readonly RouteFault[]> => (await rig.status()).faults;
  const served = async (): Promise<readonly Route[]> =>
    (await rig.status()).live.listeners.flatMap(({ routes }) => routes);
  const told = (message: string): number => rig.log.filter((line) => line.includes(message)).length;

  it('takes out its own host name only: closed with the alert, the others are served (L33)', async () => {
    const good = await l7(GOOD);
    const bad = await l7(BAD);
    await writeFile(join(rig.directory, 'large.pem'), Buffer.alloc(2_000_000, 'x'));
    await run('mkfifo', [join(rig.directory, 'pipe')]);
    const cases: [Partial<TerminatedRoute>, RegExp][] = [
      [{ tlsCert: '/nowhere.pem' }, /bad\.svc\.test.*nowhere\.pem.*ENOENT/],
      [{ tlsKey: good.tlsKey }, /belongs to another certificate/],
      [{ tlsCert: good.tlsCert, tlsKey: good.tlsKey }, /it is not for bad\.svc\.test/],
      [{ tlsCert: rig.tablePath }, /PEM|no start line/],
      [{ tlsKey: join(rig.tablePath, 'below') }, /ENOTDIR/],
      [{ tlsCert: rig.directory }, /is not a file/],
      [{ tlsKey: join(rig.directory, 'pipe') }, /is not a file/],
      [{ tlsCert: join(rig.directory, 'large.pem') }, /larger than/],
    ];
    for (const [files, why] of cases) {
      // The name is new each time: nothing was served before.
      await rig.serve({ addr, routes: [] });
      const table = { listeners: [{ addr, routes: [good, { ...bad, ...files }] }] };
      await rig.serve(...table.listeners);
      const status = await rig.status();
      expect(status.faults, String(why)).to.have.lengthOf(1);
      expect(status.faults[0]).to.include({ addr, hostname: BAD });
      expect(status.faults[0]?.why)
        .to.match(why)
        .and.match(/not served until/);
      expect(Date.now() - Date.parse(status.faults[0]?.since ?? '')).to.be.within(0, 60_000);
      expect(status.tableDigest).to.equal(routeTableDigest(table));
      expect(status.live.listeners).to.deep.equal([{ addr, routes: [good] }]);
      expect(status.certificates.map(({ hostname }) => hostname)).to.deep.equal([GOOD]);
      expect(await said(GOOD)).to.equal('a');
      expect(await said(BAD)).to.match(UNKNOWN_NAME);
    }
  });

  it('takes out its own host name only at a cold start too: nothing of the last run is needed', async () => {
    const [good, bad] = [await l7(GOOD), await l7(BAD)];
    await rig.serve({ addr, routes: [good, bad] });
    await rig.proxy.close();
    await rm(bad.tlsCert);
    const started = await startProxy({
      tablePath: rig.tablePath,
      statusSocketPath: rig.socketPath,
      log: makeLog('silent'),
      limits: { drainTimeoutMs: 500 },
    });
    if (started.kind !== 'ok') throw new Error(started.why);
    rig.proxy = started.value;
    expect(await said(GOOD)).to.equal('a');
    expect(await said(BAD)).to.match(UNKNOWN_NAME);
    expect(await faults()).to.have.lengthOf(1);
  });

  it('heals by itself as soon as the files are good, and is told once, however often they are looked at', async () => {
    const route = await l7(BAD);
    const routes = [route, await l7(GOOD)];
    await rename(route.tlsKey, `${route.tlsKey}.away`);
    await rig.serve({ addr, routes });
    const [first] = await faults();
    for (let round = 0; round < 3; round += 1) await rig.serve({ addr, routes });
    expect(await faults()).to.deep.equal([first]);
    expect(told('certificate of a route at fault')).to.equal(1);
    await rename(`${route.tlsKey}.away`, route.tlsKey);
    await until('the fault to be gone', async () => (await faults()).length === 0);
    expect(await said(BAD)).to.equal('a');
    expect(await served()).to.have.lengthOf(2);
    expect(told('good again')).to.equal(1);
  });

  it('a route that was served goes on with its certificate, and follows its service', async () => {
    const route = await l7(BAD);
    await rig.serve({ addr, routes: [route] });
    const before = await fingerprint();
    await rm(route.tlsCert);
    await rm(route.tlsKey);
    const [fault] = await until('the fault', async () =>
      (await faults()).length > 0 ? faults() : undefined,
    );
    expect(fault?.why).to.match(/ENOENT.*goes on with the certificate of before/);
    const moved = { ...route, backend: await service('b') };
    await rig.serve({ addr, routes: [moved] });
    expect(await said(BAD)).to.equal('b');
    expect(await fingerprint()).to.equal(before);
    expect((await faults())[0]?.since).to.equal(fault?.since);
    // The listener has another address: still the same route.
    await rig.serve({ addr: `:${target.port}`, routes: [moved] });
    expect(await fingerprint()).to.equal(before);
    // Taken away it is forgotten: a key that nobody names any more is not kept.
    await rig.serve({ addr, routes: [] });
    await rig.serve({ addr, routes: [moved] });
    expect(await said(BAD)).to.match(UNKNOWN_NAME);
  });

  it('an expired certificate in the place of a good one is told, and not shown; where nothing better was it is (L10)', async () => {
    const route = await l7(BAD);
    await rig.serve({ addr, routes: [route] });
    const before = await fingerprint();
    const over = await rig.ca.issue([BAD], {
      notAfter: new Date(Date.now() - 1_000),
    });
    await writeFile(route.tlsKey, over.key);
    await writeFileAtomic(route.tlsCert, over.cert);
    const why = await until('the fault', async () =>
      (await faults()).map((fault) => fault.why).find((text) => text.includes('expired')),
    );
    expect(why).to.match(
      /expired at .* GMT; it goes on with the certificate of before until the files are good/,
    );
    expect(await fingerprint()).to.equal(before);
    await rig.serve({ addr, routes: [] });
    await rig.serve({ addr, routes: [route] });
    expect(await said(BAD)).to.match(/certificate has expired/);
    expect(await faults()).to.deep.equal([]);
  });

  it('shows the files that a route is served from, when the table names others that are bad', async () => {
    const route = await l7(BAD);
    await rig.serve({ addr, routes: [route] });
    const elsewhere = { ...route, tlsCert: join(rig.directory, 'new.pem') };
    await rig.serve({ addr, routes: [elsewhere] });
    expect(await served()).to.deep.equal([route]);
    const next = await rig.ca.issue([BAD]);
    await writeFile(route.tlsKey, next.key);
    await writeFileAtomic(elsewhere.tlsCert, next.cert);
    await until('the new files', async () => (await faults()).length === 0);
    expect(await served()).to.deep.equal([elsewhere]);
    expect(await fingerprint()).to.equal(new X509Certificate(next.cert).fingerprint256);
  });

  it('two routes of one file: the one that it no longer names keeps its certificate, the other takes the new one', async () => {
    const one = await rig.ca.issue([GOOD, BAD]);
    const [tlsCert, tlsKey] = [join(rig.directory, 'both.pem'), join(rig.directory, 'both.key')];
    await writeFile(tlsCert, one.cert);
    await writeFile(tlsKey, one.key);
    const route = (hostname: string): Route => ({
      hostname,
      backend,
      mode: 'l7',
      tlsCert,
      tlsKey,
      backendTls: false,
    });
    await rig.serve({ addr, routes: [route(GOOD), route(BAD)] });
    const before = await fingerprint();
    const next = await rig.ca.issue([GOOD]);
    await writeFile(tlsKey, next.key);
    await writeFileAtomic(tlsCert, next.cert);
    await until('the fault of one', async () => /it is not for bad/.test((await faults())[0]?.why ?? ''));
    expect(await faults()).to.have.lengthOf(1);
    expect(await fingerprint()).to.equal(before);
    const young = await connectTo({ ...target, hostname: GOOD });
    expect(young.getPeerX509Certificate()?.fingerprint256).to.equal(
      new X509Certificate(next.cert).fingerprint256,
    );
    young.destroy();
  });

  it('certificates are followed while the table in the file is refused (L15)', async () => {
    const route = await l7(BAD);
    await rig.serve({ addr, routes: [route] });
    await rig.refuse('[[listeners', /line 1/);
    const next = await rig.ca.issue([BAD]);
    await writeFile(route.tlsKey, next.key);
    await writeFileAtomic(route.tlsCert, next.cert);
    const wanted = new X509Certificate(next.cert).fingerprint256;
    await until('the new certificate', async () => (await fingerprint()) === wanted);
    expect((await rig.status()).refused?.why).to.match(/line 1/);
  });
});
