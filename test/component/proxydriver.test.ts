import { expect } from 'chai';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { startProxy, type RunningProxy } from '../../src/mc-proxy/server.ts';
import { openCertificates } from '../../src/node/certs/certificates.ts';
import { openFileProxy, type Proxy } from '../../src/node/proxy/file.ts';
import type { ObservedRoute } from '../../src/node/types.ts';

const OWNER = 'rift/main';
const log = makeLog('silent');

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('proxy driver "file" with the real mc-proxy', () => {
  let root: string;
  let port: number;
  let backend: Server;
  let backendPort: number;
  let proxy: Proxy;
  let router: RunningProxy | undefined;
  let ca: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'proxydriver-'));
    port = await freePort();
    backend = createHttpServer((request, response) => response.end(`hello ${request.headers.host ?? ''}`));
    backend.listen(0, '127.0.0.1');
    await once(backend, 'listening');
    backendPort = (backend.address() as AddressInfo).port;
    const certificates = openCertificates({
      driver: 'local',
      certDir: join(root, 'certs'),
      caDir: join(root, 'ca'),
      hostnameSuffix: 'example.net',
      clock: systemClock,
      log,
    });
    for (const service of ['a', 'b']) {
      const issued = await certificates.issue(`${service}.example.net`, service, true);
      if (issued.kind !== 'ok') throw new Error(issued.why);
    }
    const pem = await certificates.rootPem();
    if (pem.kind !== 'ok') throw new Error(pem.why);
    ca = pem.value;
    proxy = openFileProxy({
      tablePath: join(root, 'routes.toml'),
      statusSocket: join(root, 'status.sock'),
      listeners: [`127.0.0.1:${port}`],
      owner: OWNER,
      log,
    });
  });
  afterEach(async () => {
    await router?.close();
    router = undefined;
    backend.closeAllConnections();
    backend.close();
    await rm(root, { recursive: true });
  });

  const startRouter = async (): Promise<void> => {
    const started = await startProxy({
      tablePath: join(root, 'routes.toml'),
      statusSocketPath: join(root, 'status.sock'),
      log,
    });
    if (started.kind !== 'ok') throw new Error(started.why);
    router = started.value;
  };
  const route = (service: string): ObservedRoute => ({
    listenerPort: port,
    hostname: `${service}.example.net`,
    backend: `127.0.0.1:${backendPort}`,
    mode: 'l7',
    tlsCert: join(root, 'certs', `${service}.pem`),
    tlsKey: join(root, 'certs', `${service}.key`),
    backendTls: false,
    mark: `${OWNER}/${service}/${service}/`,
  });
  const ask = async (service: string): Promise<string> => {
    const host = `${service}.example.net`;
    const socket: TLSSocket = connect({ host: '127.0.0.1', port, servername: host, ca });
    await once(socket, 'secureConnect');
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    return Buffer.concat(chunks).toString();
  };
  const live = async (): Promise<readonly ObservedRoute[]> => {
    const facts = await proxy.observe();
    if (!facts.known) throw new Error(facts.why);
    if (!facts.value.live.known) throw new Error(facts.value.live.why);
    return facts.value.live.value;
  };

  it('ok means served: the next request gets an answer through it (L09)', async () => {
    await startRouter();
    const begun = performance.now();
    const outcome = await proxy.put([route('a')]);
    const tookMs = performance.now() - begun;
    expect(outcome, JSON.stringify(outcome)).to.have.property('kind', 'ok');
    expect(await ask('a'))
      .to.include('HTTP/1.1 200')
      .and.include('hello');
    expect(await live()).to.deep.equal([route('a')]);
    console.log(`      put to live: ${tookMs.toFixed(0)} ms`);
    expect(await proxy.remove([{ listenerPort: port, hostname: 'a.example.net' }])).to.have.property(
      'kind',
      'ok',
    );
    expect(await live()).to.deep.equal([]);
  });

  it('routes that were written while the proxy was down are served when it comes (L02)', async () => {
    expect(await proxy.put([route('a')])).to.have.property('kind', 'wait');
    await startRouter();
    expect(await proxy.put([route('a')])).to.have.property('kind', 'ok');
    expect(await ask('a')).to.include('hello');
  });

  it('a table that the proxy refuses is taken back, with its reason; what was served goes on', async () => {
    await startRouter();
    await proxy.put([route('a')]);
    const before = await readFile(join(root, 'routes.toml'), 'utf8');
    const bad = { ...route('b'), tlsCert: join(root, 'certs/missing.pem') };
    const outcome = await proxy.put([bad]);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome).to.have.property('why').that.includes('missing.pem').and.includes('b.example.net');
    expect(await readFile(join(root, 'routes.toml'), 'utf8')).to.equal(before);
    expect(await ask('a')).to.include('hello');
    expect(await proxy.put([route('b')])).to.have.property('kind', 'ok');
    expect(await ask('b')).to.include('hello');
  });

  it('a refused route holds up no other one of the same write (L33)', async () => {
    await startRouter();
    const [good, bad, alsoGood] = await Promise.all([
      proxy.put([route('a')]),
      proxy.put([{ ...route('c'), tlsKey: '/nowhere' }]),
      proxy.put([route('b')]),
    ]);
    expect([good.kind, bad.kind, alsoGood.kind]).to.deep.equal(['ok', 'blocked', 'ok']);
    expect((await live()).map(({ hostname }) => hostname)).to.deep.equal(['a.example.net', 'b.example.net']);
  });

  it('changes that wait together are one write', async () => {
    await startRouter();
    await proxy.put([route('a')]);
    const begun = performance.now();
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        proxy.put([{ ...route('a'), hostname: `h${index}.example.net`, mode: 'l4' }]),
      ),
    );
    expect(outcomes.every(({ kind }) => kind === 'ok')).to.equal(true);
    expect(await live()).to.have.lengthOf(101);
    console.log(`      100 puts: ${(performance.now() - begun).toFixed(0)} ms`);
  });

  it('a foreign route is served on, whatever we do', async () => {
    await startRouter();
    await writeFile(
      join(root, 'routes.toml'),
      [
        '[[listeners]]',
        `addr = "127.0.0.1:${port}"`,
        '[[listeners.routes]]',
        'hostname = "b.example.net"',
        `backend = "127.0.0.1:${backendPort}"`,
        'mode = "l7"',
        `tls_cert = "${join(root, 'certs/b.pem')}"`,
        `tls_key = "${join(root, 'certs/b.key')}"`,
      ].join('\n'),
    );
    expect(await proxy.put([route('a')])).to.have.property('kind', 'ok');
    expect(await proxy.put([route('b')])).to.have.property('kind', 'blocked');
    await proxy.remove([{ listenerPort: port, hostname: 'b.example.net' }]);
    expect(await ask('b')).to.include('hello');
    expect((await live()).find(({ hostname }) => hostname === 'b.example.net')).to.not.have.property('mark');
  });

  it('a listener whose port is taken is blocked with the reason, and nothing is left behind', async () => {
    await startRouter();
    const squatter = createServer().listen(port, '127.0.0.1');
    await once(squatter, 'listening');
    try {
      const outcome = await proxy.put([route('a')]);
      expect(outcome.kind).to.equal('blocked');
      expect(outcome).to.have.property('why').that.includes(String(port));
    } finally {
      squatter.close();
      await once(squatter, 'close');
    }
    expect(await proxy.put([route('a')])).to.have.property('kind', 'ok');
  });
});
