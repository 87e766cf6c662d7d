import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { expect } from 'chai';
import { makeLog } from '../../../src/base/log.ts';
import { ok, wait, type Outcome } from '../../../src/base/outcome.ts';
import { isOurHost } from '../../../src/dashboard/guard.ts';
import { startDashboard, type Dashboard, type DashboardOptions } from '../../../src/dashboard/server.ts';
import type { AgentEvent, View } from '../../../src/report/types.ts';
import { ask } from '../../support/ask.ts';
import { quietApi, sampleView } from '../../support/sample-view.ts';
import { until } from '../../support/until.ts';

describe('the dashboard server', () => {
  let view: View;
  let opened: Dashboard[] = [];
  const start = async (change: Partial<DashboardOptions> = {}): Promise<Outcome<Dashboard>> => {
    const outcome = await startDashboard({
      listenAddr: '127.0.0.1:0',
      log: makeLog('silent'),
      view: () => view,
      state: () => '{}',
      trouble: () => undefined,
      ...quietApi(),
      root: () => Promise.resolve(wait('the local CA has not issued anything yet')),
      ...change,
    });
    if (outcome.kind === 'ok') opened.push(outcome.value);
    return outcome;
  };
  const address = async (change: Partial<DashboardOptions> = {}): Promise<string> => {
    const outcome = await start(change);
    if (outcome.kind !== 'ok') throw new Error(outcome.why);
    return outcome.value.address;
  };

  before(async () => {
    view = await sampleView();
  });
  afterEach(async () => {
    await Promise.all(opened.map((dashboard) => dashboard.close()));
    opened = [];
  });

  it('G56 says on /healthz that the loop is stuck', async () => {
    let trouble: string | undefined = undefined;
    const base = await address({ trouble: () => trouble });
    expect((await ask(base, '/healthz')).status).to.equal(200);
    trouble = 'one pass has been running for 400 s';
    const stuck = await ask(base, '/healthz');
    expect([stuck.status, stuck.body.trim()]).to.deep.equal([503, trouble]);
  });

  it('serves the exported state as it is, and 503 before there is any', async () => {
    let state: string | undefined = undefined;
    const base = await address({ state: () => state });
    expect((await ask(base, '/api/v1/state')).status).to.equal(503);
    state = '{"format":1}';
    expect((await ask(base, '/api/v1/state')).body).to.equal(state);
  });

  it('serves the page of a service with its own history, and 404 for a name that nobody knows', async () => {
    const asked: unknown[] = [];
    const base = await address({
      history: (service, limit) => {
        asked.push([service, limit]);
        return [];
      },
    });
    const there = await ask(base, '/services/hello');
    expect([there.status, String(there.headers['content-type'])]).to.deep.equal([
      200,
      'text/html; charset=utf-8',
    ]);
    expect(there.body).to.contain('hello').and.to.contain('Nothing was done for it yet.');
    expect(asked).to.deep.equal([['hello', 50]]);
    expect((await ask(base, '/services/nobody')).status).to.equal(404);
    expect((await ask(base, '/services/%ff')).status).to.equal(400);
  });

  it('lets twenty readers follow the events; one more is told so, and gets in when one has left', async () => {
    const base = await address();
    const { hostname, port } = new URL(base);
    const follow = async (): Promise<{ first: string; close: () => void }> => {
      const socket = connect(Number(port), hostname);
      socket.write('GET /api/v1/events?follow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
      const [bytes] = (await once(socket, 'data')) as [Buffer];
      return { first: bytes.toString().split('\r\n')[0] ?? '', close: () => socket.destroy() };
    };
    const readers = [];
    for (let at = 0; at < 20; at += 1) readers.push(await follow());
    expect(new Set(readers.map(({ first }) => first))).to.deep.equal(new Set(['HTTP/1.1 200 OK']));
    const late = await follow();
    late.close();
    expect(late.first).to.match(/ 503 /);
    readers[0]?.close();
    await until('the place to be free', async () => {
      const next = await follow();
      readers.push(next);
      return next.first === 'HTTP/1.1 200 OK';
    });
    for (const { close } of readers) close();
  });

  it('lets a reader go that does not read, so that nothing piles up for it', async () => {
    const listeners = new Set<(event: AgentEvent) => void>();
    const base = await address({
      events: {
        recent: () => [],
        subscribe: (listener) => {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
      },
    });
    const { hostname, port } = new URL(base);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.write('GET /api/v1/events?follow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await once(socket, 'data');
    socket.pause();
    const text = 'x'.repeat(100_000);
    let told = 0;
    await until('the reader to be let go', () => {
      for (const listener of listeners) listener({ id: (told += 1), at: 0, kind: 'notice', text });
      return listeners.size === 0;
    });
    expect(told).to.be.lessThan(1_000);
    socket.destroy();
  });

  it('serves a page, the view as JSON, a style sheet, an icon and a health word', async () => {
    const base = await address();
    const types = await Promise.all(
      ['/', '/api/v1/status', '/style.css', '/favicon.svg', '/healthz'].map(async (path) => {
        const { status, headers } = await ask(base, path);
        return [path, status, String(headers['content-type']).split(';')[0]];
      }),
    );
    expect(types).to.deep.equal([
      ['/', 200, 'text/html'],
      ['/api/v1/status', 200, 'application/json'],
      ['/style.css', 200, 'text/css'],
      ['/favicon.svg', 200, 'image/svg+xml'],
      ['/healthz', 200, 'text/plain'],
    ]);
    expect(JSON.parse((await ask(base, '/api/v1/status')).body)).to.deep.equal(
      JSON.parse(JSON.stringify(view)),
    );
  });

  it('answers HEAD without a body, and 404 for everything else', async () => {
    const base = await address();
    const head = await ask(base, '/', { method: 'HEAD' });
    expect([head.status, head.body]).to.deep.equal([200, '']);
    for (const path of [
      '/admin',
      '/api/v1/status/x',
      '/../../etc/passwd',
      '/%2e%2e/x',
      '/style.css/',
      '/%zz',
    ])
      expect((await ask(base, path)).status, path).to.be.oneOf([400, 404]);
  });

  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'PURGE']) {
    it(`changes nothing: ${method} is 405 on every path, and its body is not read`, async () => {
      const base = await address();
      for (const path of ['/', '/api/v1/status', '/nowhere']) {
        const answer = await ask(base, path, {
          method,
          ...(method === 'TRACE' ? {} : { body: 'x'.repeat(9_000) }),
        });
        expect([answer.status, answer.headers.allow], path).to.deep.equal([405, 'GET, HEAD']);
      }
    });
  }

  it('every answer forbids scripts, frames, forms, sniffing and keeping', async () => {
    const base = await address();
    const all = [
      await ask(base, '/'),
      await ask(base, '/api/v1/status'),
      await ask(base, '/nowhere'),
      await ask(base, '/', { method: 'POST' }),
      await ask(base, '/', { headers: { host: 'evil.example' } }),
    ];
    for (const { headers, status } of all) {
      expect(headers['content-security-policy'], String(status)).to.equal(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
      );
      expect(headers['x-content-type-options']).to.equal('nosniff');
      expect(headers['referrer-policy']).to.equal('no-referrer');
      expect(headers['cache-control']).to.equal('no-store');
      expect(headers['access-control-allow-origin']).to.equal(undefined);
      expect(headers['x-powered-by']).to.equal(undefined);
    }
  });

  it('a name that was made to point here (DNS rebinding) gets 421 and nothing of the view', async () => {
    const base = await address({ hosts: ['rift.example.net'] });
    const port = new URL(base).port;
    const statusOf = async (host: string): Promise<number> =>
      (await ask(base, '/api/v1/status', { headers: { host } })).status;
    for (const host of [
      'localhost',
      `localhost:${port}`,
      '127.0.0.1',
      '[::1]:80',
      'rift.example.net',
      'RIFT.example.net.:1',
    ])
      expect(await statusOf(host), host).to.equal(200);
    for (const host of [
      'evil.example',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      'rift.example.net.evil.example',
      '10.0.0.1',
      '0.0.0.0',
      'localhost@evil.example',
      'a b',
      'localhost:x',
    ])
      expect(await statusOf(host), host).to.equal(421);
    const refused = await ask(base, '/', { headers: { host: 'evil.example' } });
    expect(refused.body).to.not.contain(view.node);
    expect(refused.body).to.contain('[server] hosts');
  });

  it('an IP address as Host is ours only when the connection came to it', () => {
    const rules = { listenHost: '', hosts: [] };
    expect(isOurHost('192.0.2.7:8077', '::ffff:192.0.2.7', rules)).to.equal(true);
    expect(isOurHost('192.0.2.8:8077', '::ffff:192.0.2.7', rules)).to.equal(false);
    expect(isOurHost('[2001:db8::1]:8077', '2001:db8::1', rules)).to.equal(true);
    expect(isOurHost(undefined, '127.0.0.1', rules)).to.equal(false);
    expect(isOurHost('', '127.0.0.1', { listenHost: '', hosts: [''] })).to.equal(false);
  });

  it('a request without Host, or that is no HTTP, gets nothing and harms nobody', async () => {
    const base = await address();
    for (const bytes of [
      'GET / HTTP/1.0\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      '\x16\x03\x01\x00\xa5',
      'GET http://evil/ HTTP/1.1\r\nHost: evil\r\n\r\n',
    ]) {
      const said = await raw(Number(new URL(base).port), bytes);
      expect(said, bytes).to.match(/^HTTP\/1\.1 (400|421) /);
      expect(said).to.not.contain('hello');
    }
    expect((await ask(base, '/healthz')).status).to.equal(200);
  });

  it('gives the public root of the local CA, and 404 with the reason while there is none', async () => {
    const root = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
    const has = await ask(await address({ root: () => Promise.resolve(ok(root)) }), '/ca.pem');
    expect([has.status, has.body]).to.deep.equal([200, root]);
    const none = await ask(await address(), '/ca.pem');
    expect([none.status, none.body]).to.deep.equal([404, 'the local CA has not issued anything yet\n']);
  });

  it('G56 a port that is taken is an outcome that says what to do, not an exception', async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port } = holder.address() as AddressInfo;
    try {
      const outcome = await start({ listenAddr: `127.0.0.1:${port}` });
      expect(outcome).to.include({ kind: 'blocked' });
      expect(outcome.kind === 'ok' ? '' : outcome.why).to.contain(`127.0.0.1:${port}`);
      expect(outcome.kind === 'ok' ? '' : outcome.hint).to.contain('[server] listen_addr');
    } finally {
      await new Promise((resolve) => holder.close(resolve));
    }
  });

  for (const listenAddr of [
    '',
    'nonsense',
    '127.0.0.1',
    '127.0.0.1:99999',
    '203.0.113.9:0',
    '127.0.0.1:1:2',
  ]) {
    it(`refuses "${listenAddr}" as an address with a hint`, async () => {
      const outcome = await start({ listenAddr });
      expect(outcome).to.include({ kind: 'blocked' });
      expect(outcome.kind === 'ok' ? '' : outcome.hint).to.not.equal('');
    });
  }

  it('listens on all addresses for ":port", and tells a loopback address', async () => {
    const base = await address({ listenAddr: ':0' });
    expect(base).to.match(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await ask(base, '/healthz')).status).to.equal(200);
  });

  it('says so while there is no view yet, and when the view cannot be made, without a word of the error', async () => {
    const none = await address({ view: () => undefined });
    expect((await ask(none, '/')).body).to.contain('the first pass has not ended yet');
    expect((await ask(none, '/api/v1/status')).status).to.equal(503);
    const broken = await address({
      view: () => {
        throw new Error('hunter2 in a stack');
      },
    });
    const answer = await ask(broken, '/');
    expect(answer.status).to.equal(500);
    expect(answer.body).to.not.contain('hunter2');
    expect((await ask(broken, '/healthz')).status).to.equal(200);
  });

  it('closes at once although a browser keeps its connection', async () => {
    const outcome = await start();
    if (outcome.kind !== 'ok') throw new Error(outcome.why);
    opened = [];
    const socket = connect(Number(new URL(outcome.value.address).port), '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    const from = performance.now();
    await outcome.value.close();
    expect(performance.now() - from).to.be.lessThan(1_000);
    socket.destroy();
  });
});

/** What the server says to these bytes before it, or we, hang up. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let said = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (said += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(said));
    socket.end(bytes);
  });
}
