import { expect } from 'chai';
import { rm, writeFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { systemClock } from '../../src/base/clock.ts';
import { openHandshakes } from '../../src/node/proxy/handshakes.ts';
import type { ObservedRoute } from '../../src/node/types.ts';
import { grpcClient, unary } from '../support/grpcservice.ts';
import { freePort } from '../support/ports.ts';
import { makeCa } from '../support/certs.ts';
import { startDriver, type Driver, type DriverRig } from '../support/proxyrig.ts';
import { ask, connectTo, type Target } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';
import { over2, type Echo } from '../support/webservice.ts';
import { API, WEB, claims, echoService, grpcBackend, heldTo, webServices } from './conformance.kit.ts';

const GRPC = 'grpc.svc.test';

heldTo('the edge of another node', edge);

/** Two proxies of one kind, each with certificates of a CA of its own: a client knows the edge's, the edge knows the home's. */
function edge(kind: Driver): void {
  let home: DriverRig;
  let front: DriverRig;
  let homePort: number;
  let port: number;
  let fingerprint: string;
  let roots: string;
  const target = (hostname: string): Target => ({ port, hostname, ca: front.ca.cert });
  const toHome = (hostname: string, more: Partial<ObservedRoute> = {}): Promise<ObservedRoute> =>
    front.route(hostname, `127.0.0.1:${homePort}`, { backendTls: true, backendCa: roots, ...more });
  const put = async (rig: DriverRig, ...routes: ObservedRoute[]): Promise<void> => {
    const done = await rig.proxy.put(routes);
    if (done.kind !== 'ok') throw new Error(done.why);
  };

  /** What the agent finds behind its route: a proxy that answers with 502 shows its own certificate all the same. */
  const shown = async (hostname: string): Promise<string> => {
    const handshakes = openHandshakes({
      ...{ listeners: [`127.0.0.1:${port}`], clock: systemClock, onSignal: () => undefined },
    });
    const routes = (await front.live()).filter((route) => route.hostname === hostname);
    const seen = await until('a handshake', () => handshakes.observe(routes, {})[`${hostname}:${port}`]);
    return seen.kind === 'ok' ? 'ok' : seen.why;
  };

  before(async () => {
    [homePort, port] = [await freePort(), await freePort()];
    [home, front] = await Promise.all([startDriver(kind, homePort), startDriver(kind, port)]);
    roots = join(front.directory, 'roots.pem');
    await writeFile(roots, home.ca.cert);
    const api = await echoService(home);
    ({ fingerprint } = api);
    await put(
      home,
      await home.route(WEB, (await webServices(home)).clear),
      await home.route(GRPC, await grpcBackend(home, false)),
      await home.route(API, api.backend, { mode: 'l4' }),
    );
    await put(
      front,
      await toHome(WEB),
      await toHome(GRPC),
      await front.route(API, `127.0.0.1:${homePort}`, { mode: 'l4' }),
    );
  });
  after(() => Promise.all([front.stop(), home.stop()]));

  it("edge l7: HTTP/1.1, HTTP/2, gRPC and WebSocket with the edge's certificate, over TLS again to the home node's listener", async () => {
    const one = await ask(target(WEB), { path: '/echo' });
    expect(one.status).to.equal(200);
    const echo = JSON.parse(one.body) as Echo;
    expect(echo.headers).to.deep.include(claims(WEB));
    const session = connectHttp2(`https://${WEB}:${port}`, {
      ...{ ca: front.ca.cert, servername: WEB, host: '127.0.0.1' },
    });
    session.on('error', () => undefined);
    const two = await over2(session, { ':path': '/trailers', te: 'trailers' });
    session.destroy();
    expect([String(two.body), two.trailers['x-sum']]).to.deep.equal(['body', '42']);
    const client = grpcClient(port, GRPC, front.ca.cert);
    const { value, trailer } = await unary(client, 'Unary', 'who');
    client.close();
    expect([String(value), trailer.get('x-trailer')]).to.deep.equal(['127.0.0.1 127.0.0.1', ['end']]);
    const socket = new WebSocket(`wss://127.0.0.1:${port}/ws`, {
      ...{ ca: front.ca.cert, servername: WEB, headers: { Host: WEB } },
    });
    const messages: string[] = [];
    socket.on('message', (data: Buffer) => messages.push(String(data)));
    await new Promise((done, failed) => socket.once('open', done).once('error', failed));
    socket.send('text');
    await until('two messages', () => messages.length === 2);
    socket.close();
    await new Promise((done) => socket.once('close', done));
    expect(messages[1]).to.equal('text');
  });

  it("edge l4: the service's own certificate through both proxies", async () => {
    const socket = await connectTo(
      { ...target(API), ca: home.ca.cert },
      { checkServerIdentity: () => undefined },
    );
    expect(socket.getPeerX509Certificate()?.fingerprint256).to.equal(fingerprint);
    socket.destroy();
  });

  it('edge: a home node that cannot prove the name to the roots is not asked: 502 (L10, L20)', async () => {
    const strange = join(front.directory, 'strange.pem');
    await writeFile(strange, (await makeCa()).cert);
    await put(
      front,
      await toHome('strange.svc.test', { backendCa: strange }),
      await toHome('other.svc.test'),
    );
    const issued = await home.route('strange.svc.test', '127.0.0.1:1');
    await put(home, issued);
    expect((await ask(target('strange.svc.test'))).status, 'a root that is not its').to.equal(502);
    expect(await shown('strange.svc.test')).to.match(
      /the home node, SNI strange\.svc\.test, verified by .*strange\.pem \(\[mcproxy\] edge_ca\)\): .*certificate/,
    );
    expect(await shown(WEB)).to.equal('ok');
    // A certificate of the right root for another name: whoever has it is not this service.
    const wrong = await home.ca.issue([WEB]);
    const impostor = createHttps(wrong, (_request, response) => response.end('impostor'));
    await new Promise<void>((done) => impostor.listen(0, '127.0.0.1', done));
    front.onStop(() => impostor.close());
    const { port: at } = impostor.address() as { port: number };
    await put(
      front,
      await front.route('other.svc.test', `127.0.0.1:${at}`, { backendTls: true, backendCa: roots }),
    );
    expect((await ask(target('other.svc.test'))).status, 'another name').to.equal(502);
    expect(await shown('other.svc.test')).to.match(/altnames/);
    expect((await ask(target(WEB))).status, 'nobody else is concerned').to.equal(200);
  });

  it('edge: roots that are not there are the fault of their own route alone, and it is served once they are', async () => {
    const late = join(front.directory, 'late.pem');
    const name = 'late.svc.test';
    await put(home, { ...(await home.route(name, '127.0.0.1:1')), backend: (await webServices(home)).clear });
    const route = await toHome(name, { backendCa: late });
    const refused = await front.proxy.put([route]);
    expect(refused).to.include({ kind: 'blocked' });
    expect(refused)
      .to.have.property('why')
      .that.matches(/roots .*late\.pem/)
      .and.contains('edge_ca')
      .and.not.contains('of before');
    expect((await ask(target(WEB))).status).to.equal(200);
    await writeFile(late, '# nothing\n');
    expect((await front.proxy.put([route])).kind).to.equal('blocked');
    await writeFile(late, home.ca.cert);
    await put(front, route);
    expect((await ask(target(name))).status).to.equal(200);
    const [seen] = (await front.live()).filter(({ hostname }) => hostname === name);
    expect(seen?.backendCa).to.equal(late);
    // Taken away again: what was verified by before is kept, and nobody else is concerned.
    await rm(late);
    const facts = await until('the fault', async () => {
      const now = await front.facts();
      return (now.faults ?? []).some(({ hostname }) => hostname === name) ? now : undefined;
    });
    expect(facts.faults?.map(({ hostname }) => hostname)).to.deep.equal([name]);
    expect((await ask(target(name))).status).to.equal(200);
    await put(front, await toHome('more.svc.test'));
    expect((await ask(target(WEB))).status).to.equal(200);
  });

  it('edge: the roots are exchanged: the new ones hold from then on', async () => {
    const name = 'turn.svc.test';
    const turning = join(front.directory, 'turning.pem');
    await writeFile(turning, (await makeCa()).cert);
    await put(home, await home.route(name, (await webServices(home)).clear));
    const route = await toHome(name, { backendCa: turning });
    await put(front, route);
    expect((await ask(target(name))).status).to.equal(502);
    await writeFile(turning, home.ca.cert);
    await put(front, route);
    await until('the new roots', async () => (await ask(target(name))).status === 200);
  });
}
