import { expect } from 'chai';
import { X509Certificate } from 'node:crypto';
import { createServer, type Server } from 'node:tls';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { openHandshakes, type Handshakes } from '../../src/node/proxy/handshakes.ts';
import type { Handshake, ObservedRoute } from '../../src/node/types.ts';
import { makeCa, type TestCertificate } from '../support/certs.ts';
import { endWithConnections, listen } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { until } from '../support/until.ts';

const NAME = 'a.svc.test';

describe('handshakes through a proxy that takes up another certificate', () => {
  let old: TestCertificate;
  let renewed: TestCertificate;
  let server: Server;
  let end: () => void;
  let route: ObservedRoute;
  let handshakes: Handshakes;
  let connections: number;
  /** The proxy shows the renewed one from this connection on. */
  let renewedFrom: number;
  let aheadMs: number;
  let signals: number;
  const clock: Clock = {
    now: () => Date.now(),
    monotonic: () => systemClock.monotonic() + aheadMs,
    sleep: () => systemClock.sleep(1),
  };
  const printOf = ({ cert }: TestCertificate): string => new X509Certificate(cert).fingerprint256;
  const key = (): string => `${NAME}:${route.listenerPort}`;
  const seen = (held?: ReadonlySet<string>): string | undefined => {
    const found = handshakes.observe([route], { [NAME]: printOf(renewed) }, held)[key()];
    return found === undefined ? undefined : found.kind === 'ok' ? found.fingerprint256 : found.why;
  };

  beforeEach(async () => {
    const ca = await makeCa();
    [old, renewed] = [await ca.issue([NAME]), await ca.issue([NAME])];
    [connections, renewedFrom, aheadMs] = [0, Infinity, 0];
    server = createServer({ ...old, minVersion: 'TLSv1.3' });
    // Before the server's own, which takes the certificate of that moment.
    server.prependListener('connection', () => {
      connections += 1;
      server.setSecureContext(connections >= renewedFrom ? renewed : old);
    });
    server.on('tlsClientError', () => undefined);
    end = endWithConnections(server);
    const listenerPort = await listen(server);
    route = {
      ...{ listenerPort, hostname: NAME, backend: '127.0.0.1:1', mode: 'l7', backendTls: false },
      mark: 'n1/main/a/a/',
    };
    signals = 0;
    handshakes = openHandshakes({
      listeners: [`127.0.0.1:${listenerPort}`],
      clock,
      onSignal: () => undefined,
    });
  });
  afterEach(() => end());

  it('L10 the one before, shown for a moment, is not taken for what clients see from then on', async () => {
    renewedFrom = 3;
    expect(await until('a handshake', () => seen())).to.equal(printOf(renewed));
    expect(connections).to.equal(3);
  });

  it('L10 a certificate of other names than the one that was asked for is told with them', async () => {
    const result = async (): Promise<unknown> =>
      until('a handshake', () => handshakes.observe([{ ...route, mode: 'l4' }], {})[key()]);
    expect(await result()).to.not.have.property('otherNames');
    const strange = await (await makeCa()).issue(['x.example.net', 'y.example.net']);
    [old, renewed] = [strange, strange];
    aheadMs += 120_000;
    await until('the other one', async () => {
      const seenNow = handshakes.observe([{ ...route, mode: 'l4' }], {})[key()];
      return seenNow?.kind === 'ok' && seenNow.otherNames === 'DNS:x.example.net, DNS:y.example.net';
    });
  });

  it('a route that is about to be put again is not tried before', async () => {
    renewedFrom = 1;
    const held = new Set([key()]);
    expect(seen(held)).to.equal(undefined);
    expect(seen(held)).to.equal(undefined);
    expect(await until('a handshake', () => seen())).to.equal(printOf(renewed));
    expect(connections).to.equal(1);
    // What was seen before stays known meanwhile.
    aheadMs += 120_000;
    expect(seen(held)).to.equal(printOf(renewed));
    expect(connections).to.equal(1);
  });

  it('one that failed calls for a look by itself, until it is as it should be', async () => {
    renewedFrom = 7;
    handshakes = openHandshakes({
      ...{ listeners: [`127.0.0.1:${route.listenerPort}`], clock, failurePauseMs: 20 },
      onSignal: () => void (signals += 1),
    });
    // As the loop does: it looks when it is called, and never by itself.
    seen();
    let looks = 0;
    const result = await until('the renewed one', () => {
      if (signals === looks) return undefined;
      looks = signals;
      const now = seen();
      return now === printOf(renewed) ? now : undefined;
    });
    expect(result).to.equal(printOf(renewed));
    expect(connections).to.equal(7);
  });

  it('an edge is tried by itself, so that a home that goes is told without a look in between (L20)', async () => {
    renewedFrom = 1;
    const options = { listeners: [`127.0.0.1:${route.listenerPort}`], clock, edgePauseMs: 20 };
    const onSignal = (): void => void (signals += 1);
    handshakes = openHandshakes({ ...options, onSignal });
    const home = { ...route, mark: 'n1/main/a@home/a/' };
    const look = (): unknown => handshakes.observe([home], { [NAME]: printOf(renewed) })[key()]?.kind;
    expect(await until('a handshake', look)).to.equal('ok');
    const before = connections;
    await until('more tries without a look', () => connections > before + 2);
    expect(signals, 'nothing has changed').to.equal(1);
    end();
    await until('the news', () => signals === 2);
    expect(look()).to.equal('failed');
  });

  it('a home that was away for long is seen as soon as it is back, and until then no look is called for', async () => {
    renewedFrom = 30;
    const options = {
      listeners: [`127.0.0.1:${route.listenerPort}`],
      clock,
      failurePauseMs: 60_000,
    };
    const onSignal = (): void => void (signals += 1);
    handshakes = openHandshakes({ ...options, edgePauseMs: 10, onSignal });
    const home = { ...route, mark: 'n1/main/a@home/a/' };
    const look = (): Handshake | undefined => handshakes.observe([home], { [NAME]: printOf(renewed) })[key()];
    look();
    const result = await until('the news that it is right', () => (signals === 2 ? look() : undefined));
    expect(result).to.deep.include({
      kind: 'ok',
      fingerprint256: printOf(renewed),
    });
  });

  it('an l4 route whose home answers nothing blames the home node, and not the own proxy (L20)', async () => {
    const options = {
      listeners: [`127.0.0.1:${route.listenerPort}`],
      clock,
      edgePauseMs: 20,
    };
    handshakes = openHandshakes({ ...options, onSignal: () => undefined });
    end();
    const nobody = `127.0.0.1:${await freePort()}`;
    const home = {
      ...route,
      mode: 'l4',
      backend: nobody,
      mark: 'n1/main/a@home/a/',
    } as const;
    const result = await until('the failure', () => handshakes.observe([home], {})[key()]);
    expect(result).to.deep.include({ kind: 'failed', isHome: true });
    expect(JSON.stringify(result)).to.include(`nothing answers on ${nobody} (the home node, SNI ${NAME})`);
  });

  it('a wrong one that stays is told, and tried again within seconds and not only after a minute', async () => {
    expect(await until('a handshake', () => seen())).to.equal(printOf(old));
    const tries = connections;
    expect(seen()).to.equal(printOf(old));
    renewedFrom = 1;
    aheadMs += 6_000;
    expect(await until('the renewed one', () => seen() === printOf(renewed))).to.equal(true);
    expect(connections).to.equal(tries + 1);
  });
});
