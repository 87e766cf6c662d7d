import { expect } from 'chai';
import { X509Certificate } from 'node:crypto';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttp, type Server } from 'node:http';
import { Agent } from 'node:https';
import { connect as connectTcp, createServer as createTcp } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { join } from 'node:path';
import { writeFileAtomic } from '../../src/base/files.ts';
import { makeLog } from '../../src/base/log.ts';
import { formatRouteTable, routeTableDigest, type Route } from '../../src/base/routetable.ts';
import { startProxy } from '../../src/mc-proxy/server.ts';
import { listen, startRig, type ProxyRig } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { ask, connectTo, type Target } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

const NAME = 'hello.svc.test';
const silent = makeLog('silent');

describe('mc-proxy, its table', () => {
  let rig: ProxyRig;
  let target: Target;
  let addr: string;

  beforeEach(async () => {
    rig = await startRig({ recheckMs: 200, backendKeepAliveMs: 50 });
    const port = await freePort();
    addr = `127.0.0.1:${port}`;
    target = { port, hostname: NAME, ca: rig.ca.cert };
  });
  afterEach(() => rig.stop());

  /** A service that answers with its own name, after `delayMs`. */
  const service = async (name: string, delayMs = 0): Promise<{ backend: string; server: Server }> => {
    const server = createHttp((_req, res) => void setTimeout(() => res.end(name), delayMs));
    const backend = `127.0.0.1:${await listen(server)}`;
    rig.onStop(() => {
      server.close();
      server.closeAllConnections();
    });
    return { backend, server };
  };
  const fingerprint = async (): Promise<string | undefined> => {
    const socket = await connectTo(target);
    const found = socket.getPeerX509Certificate()?.fingerprint256;
    socket.destroy();
    return found;
  };

  it('is read back by the status socket, which only the owner may use: generation, digest, certificates, no keys', async () => {
    const { backend } = await service('a');
    const route = await rig.l7(NAME, backend);
    await rig.serve({ addr, routes: [route] });
    const status = await rig.status();
    const leaf = new X509Certificate(await readFile(join(rig.directory, `${NAME}.pem`)));
    expect(status).to.deep.include({
      pid: process.pid,
      generation: '1',
      tableDigest: routeTableDigest({ listeners: [{ addr, routes: [route] }] }),
      live: { generation: '1', listeners: [{ addr, routes: [route] }] },
      connections: 0,
      backends: {},
      listeners: [{ addr, bound: true }],
      certificates: [
        {
          hostname: NAME,
          fingerprint256: leaf.fingerprint256,
          notAfter: new Date(leaf.validTo).toISOString(),
        },
      ],
    });
    expect(JSON.stringify(status)).not.to.contain('PRIVATE');
    expect((await stat(rig.socketPath)).mode & 0o777).to.equal(0o600);
    expect(rig.proxy.addresses()).to.deep.equal([addr]);
    const socket = await connectTo(target);
    await until('the connection to be counted', async () => (await rig.status()).connections === 1);
    socket.destroy();
    await until('the connection to be gone', async () => (await rig.status()).connections === 0);
  });

  it('may be missing at the start and come later; nothing is served until then, and the status says why', async () => {
    expect((await rig.status()).refused?.why).to.match(/routes\.toml.*ENOENT/);
    const { backend } = await service('a');
    await rig.serve({ addr, routes: [await rig.l7(NAME, backend)] });
    expect((await ask(target)).body).to.equal('a');
    expect((await rig.status()).refused).to.equal(undefined);
  });

  it('keeps serving the old one when a new one is itself at fault, says why in status and log, and takes the next good one (G38)', async () => {
    const [a, b] = [await service('a'), await service('b')];
    const good = await rig.l7(NAME, a.backend);
    await rig.serve({ addr, routes: [good] });
    const taken = createTcp();
    const busy = `127.0.0.1:${await listen(taken)}`;
    rig.onStop(() => taken.close());
    const changed: Route = { ...good, backend: b.backend };
    const busyTable = { listeners: [{ addr: busy, routes: [changed] }] };
    const table = formatRouteTable({ listeners: [{ addr, routes: [changed] }] });
    const unreadable = null;
    const bad: [string, RegExp, string | null][] = [
      ['[[listeners', /line 1/, unreadable],
      [`port = 443\n${table}`, /port/, unreadable],
      [table.replace('backend =', 'unknown_key = 1\nbackend ='), /unknown_key/, unreadable],
      [
        formatRouteTable({ listeners: [{ addr, routes: [changed, changed] }] }),
        /there twice on the listener/,
        unreadable,
      ],
      [formatRouteTable(busyTable), /EADDRINUSE/, routeTableDigest(busyTable)],
      [
        formatRouteTable({
          listeners: [
            { addr, routes: [changed] },
            { addr: busy, routes: [] },
          ],
        }),
        /EADDRINUSE/,
        routeTableDigest({
          listeners: [
            { addr, routes: [changed] },
            { addr: busy, routes: [] },
          ],
        }),
      ],
    ];
    for (const [text, why, digest] of bad) {
      await rig.refuse(text, why);
      await until('the digest of the refused table', async () => {
        return (await rig.status()).refused?.tableDigest === digest;
      });
      expect((await ask(target)).body, text).to.equal('a');
      expect((await rig.status()).generation).to.equal('1');
      expect((await rig.status()).live.listeners).to.deep.equal([{ addr, routes: [good] }]);
      expect(rig.proxy.addresses()).to.deep.equal([addr]);
      expect(rig.log.some((line) => line.includes('refused') && why.test(line))).to.equal(true);
    }
    await rig.serve({ addr, routes: [changed] });
    expect((await ask(target)).body).to.equal('b');
  });

  it('is taken as soon as the address that was in use is free, without being written again', async () => {
    const { backend } = await service('a');
    const taken = createTcp();
    await new Promise<void>((done) => taken.listen(target.port, '127.0.0.1', done));
    await rig.refuse(
      formatRouteTable({ generation: 'x', listeners: [{ addr, routes: [await rig.l7(NAME, backend)] }] }),
      /EADDRINUSE/,
    );
    taken.close();
    await until('the table to be taken', async () => (await rig.status()).generation === 'x');
    expect((await ask(target)).body).to.equal('a');
  });

  it('takes up a certificate that was replaced, and never a certificate with the key of another; meanwhile the old one serves (L10, L15)', async () => {
    const { backend } = await service('a');
    const route = await rig.l7(NAME, backend);
    await rig.serve({ addr, routes: [route] });
    const before = await fingerprint();
    const kept = await connectTo(target);
    const next = await rig.ca.issue([NAME]);
    if (route.mode !== 'l7') throw new Error('not l7');
    await writeFileAtomic(route.tlsCert, next.cert);
    const fault = await until(
      'the half replaced pair to be a fault',
      async () => (await rig.status()).faults[0],
    );
    expect(fault).to.include({ addr, hostname: NAME });
    expect(fault.why)
      .to.match(/belongs to another certificate/)
      .and.match(/goes on with the certificate of before/);
    expect((await rig.status()).live.listeners).to.deep.equal([{ addr, routes: [route] }]);
    expect(await fingerprint()).to.equal(before);
    await writeFileAtomic(route.tlsKey, next.key);
    const wanted = new X509Certificate(next.cert).fingerprint256;
    await until('the new certificate', async () => (await fingerprint()) === wanted);
    const status = await rig.status();
    expect(status.faults).to.deep.equal([]);
    expect(status.refused).to.equal(undefined);
    expect(status.certificates[0]?.fingerprint256).to.equal(wanted);
    kept.write(`GET / HTTP/1.1\r\nHost: ${NAME}\r\nConnection: close\r\n\r\n`);
    expect(String(await new Promise((done) => kept.once('data', done)))).to.match(/^HTTP\/1\.1 200/);
  });

  it('switches a route at 200 requests a second and loses none, on new and on kept connections; the old service stops when it is drained', async () => {
    const services = [await service('a', 15), await service('b', 15)];
    const routes = [await rig.l7(NAME, services[0]!.backend), await rig.l7(NAME, services[1]!.backend)];
    await rig.serve({ addr, routes: [routes[0]!] });
    const agent = new Agent({ keepAlive: true });
    rig.onStop(() => agent.destroy());
    const answers: Record<string, number> = {};
    const pending: Promise<void>[] = [];
    let asked = 0;
    const timer = setInterval(() => {
      asked += 1;
      pending.push(
        ask(target, asked % 2 === 0 ? { agent } : {}).then(
          ({ status, body }) => {
            const what = status === 200 ? body : String(status);
            answers[what] = (answers[what] ?? 0) + 1;
          },
          (error: unknown) => {
            answers[String(error)] = (answers[String(error)] ?? 0) + 1;
          },
        ),
      );
    }, 5);
    for (let round = 1; round <= 8; round += 1) {
      await until('some answers', () => asked > round * 50);
      await rig.serve({ addr, routes: [routes[round % 2]!] });
      // As in a deployment: once nothing is under way there any more, the old service stops for good.
      const old = services[(round + 1) % 2]!;
      await until(
        'the old service to be drained',
        async () => (await rig.status()).backends[old.backend] === undefined,
      );
      old.server.close();
      old.server.closeAllConnections();
      await new Promise<void>((done) => old.server.once('close', done));
      await new Promise<void>((done) =>
        old.server.listen(Number(old.backend.split(':')[1]), '127.0.0.1', done),
      );
    }
    clearInterval(timer);
    await Promise.all(pending);
    expect(Object.keys(answers).sort(), JSON.stringify(answers)).to.deep.equal(['a', 'b']);
    expect((answers['a'] ?? 0) + (answers['b'] ?? 0)).to.equal(asked);
  }).timeout(300_000);

  it('leaves l4 connections with the service that they have, while new ones go to the new one', async () => {
    const echo = async (name: string): Promise<string> => {
      const server = createTls(await rig.ca.issue([NAME]), (socket) => {
        socket.on('error', () => undefined).on('data', () => socket.write(name));
      });
      rig.onStop(() => server.close());
      return `127.0.0.1:${await listen(server)}`;
    };
    const [a, b] = [await echo('a'), await echo('b')];
    const says = async (socket: Awaited<ReturnType<typeof connectTo>>): Promise<string> => {
      socket.write('?');
      return String(await new Promise((done) => socket.once('data', done)));
    };
    await rig.serve({ addr, routes: [{ hostname: NAME, backend: a, mode: 'l4' }] });
    const old = await connectTo(target);
    await rig.serve({ addr, routes: [{ hostname: NAME, backend: b, mode: 'l4' }] });
    const young = await connectTo(target);
    expect([await says(old), await says(young)]).to.deep.equal(['a', 'b']);
    expect((await rig.status()).backends).to.deep.equal({ [a]: 1, [b]: 1 });
    await rig.serve();
    expect([await says(old), await says(young)]).to.deep.equal(['a', 'b']);
    const refused = await new Promise((done) => connectTcp(target.port, '127.0.0.1').once('error', done));
    expect((refused as NodeJS.ErrnoException).code).to.equal('ECONNREFUSED');
    old.destroy();
    young.destroy();
  });

  it('moves a listener from one address to all addresses of the same port, and back', async () => {
    const { backend } = await service('a');
    const routes = [await rig.l7(NAME, backend)];
    for (const at of [addr, `:${target.port}`, addr]) {
      await rig.serve({ addr: at, routes });
      expect((await ask(target)).body, at).to.equal('a');
    }
  });

  it('routes the same name on two listeners separately', async () => {
    const [a, b] = [await service('a'), await service('b')];
    const second = await freePort();
    await rig.serve(
      { addr, routes: [await rig.l7(NAME, a.backend)] },
      { addr: `127.0.0.1:${second}`, routes: [await rig.l7(NAME, b.backend)] },
    );
    expect((await ask(target)).body).to.equal('a');
    expect((await ask({ ...target, port: second })).body).to.equal('b');
  });

  it('refuses further requests on a kept connection whose route is gone, with 421', async () => {
    const { backend } = await service('a');
    await rig.serve({ addr, routes: [await rig.l7(NAME, backend)] });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    rig.onStop(() => agent.destroy());
    expect((await ask(target, { agent })).status).to.equal(200);
    await rig.serve({ addr, routes: [] });
    expect((await ask(target, { agent })).status).to.equal(421);
  });

  it('replaces the socket of a dead router, never that of a living one, nor any other file', async () => {
    const options = { tablePath: rig.tablePath, statusSocketPath: rig.socketPath, log: silent };
    const second = await startProxy(options);
    expect(second).to.include({ kind: 'blocked' });
    expect((second as { why: string }).why).to.match(/running there already/);
    expect((await rig.status()).pid).to.equal(process.pid);

    const file = join(rig.directory, 'file');
    await writeFile(file, 'precious');
    expect((await startProxy({ ...options, statusSocketPath: file })).kind).to.equal('blocked');
    expect(await readFile(file, 'utf8')).to.equal('precious');

    const stale = join(rig.directory, 'stale.sock');
    await leaveSocket(stale);
    const third = await startProxy({ ...options, statusSocketPath: stale });
    if (third.kind !== 'ok') throw new Error(third.why);
    await third.value.close();
    expect(await stat(stale).catch(() => 'gone')).to.equal('gone');
  });

  it('stops in order: what is under way is answered, then everything is closed', async () => {
    const { backend } = await service('late', 200);
    await rig.serve({ addr, routes: [await rig.l7(NAME, backend)] });
    const answer = ask(target);
    await until('the request to be under way', async () => (await rig.status()).backends[backend] === 1);
    await rig.proxy.close();
    expect((await answer).body).to.equal('late');
    expect(await connectTo(target).catch(() => 'closed')).to.equal('closed');
    expect(await stat(rig.socketPath).catch(() => 'gone')).to.equal('gone');
    await rm(rig.tablePath);
  });

  it('stops in order: a client that has just connected is answered once, and told that it is the last time; one that says nothing holds nothing up', async () => {
    const { backend } = await service('last', 50);
    await rig.serve({ addr, routes: [await rig.l7(NAME, backend)] });
    const [silent, connected] = [await connectTo(target), await connectTo(target)];
    silent.on('error', () => undefined);
    const closing = rig.proxy.close();
    await until('it to take no more', async () => {
      const late = await connectTo(target).catch(() => undefined);
      late?.destroy();
      return late === undefined;
    });
    const { body, headers } = await ask(target, {
      ...{ agent: undefined, createConnection: () => connected, headers: { Connection: 'keep-alive' } },
    });
    expect(body).to.equal('last');
    expect(headers.connection).to.equal('close');
    await closing;
    await rm(rig.tablePath);
  });
});

/** A socket file whose owner is gone: moved away under a listening server, which then unlinks nothing. */
async function leaveSocket(path: string): Promise<void> {
  const server = createTcp();
  await new Promise<void>((done) => server.listen(`${path}.was`, done));
  await rename(`${path}.was`, path);
  await new Promise((done) => server.close(done));
}
