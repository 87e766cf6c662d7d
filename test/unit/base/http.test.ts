import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { expect } from 'chai';
import {
  closeHttp,
  HttpError,
  httpRequest,
  httpStream,
  shownUrl,
  type HttpRequest,
} from '../../../src/base/http.ts';
import { makeCa } from '../../support/certs.ts';

const CANARY = 'planted-canary-7f3a';

describe('base/http', () => {
  const servers: Server[] = [];
  afterEach(async () => {
    await closeHttp();
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  });

  const listen = async (server: Server): Promise<number> => {
    servers.push(server);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return (server.address() as AddressInfo).port;
  };
  const serve = (listener: RequestListener): Promise<number> => listen(createServer(listener));
  const get = (url: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
    method: 'GET',
    url,
    deadlineMs: 5_000,
    maxBytes: 1_000,
    ...more,
  });
  const faultOf = async (work: Promise<unknown>): Promise<HttpError> => {
    try {
      await work;
    } catch (error) {
      if (error instanceof HttpError) return error;
      throw error;
    }
    throw new Error('it worked');
  };

  it('answers with status, headers and bytes, whatever the status', async () => {
    const port = await serve((req, res) => {
      const parts: Buffer[] = [];
      req.on('data', (part: Buffer) => parts.push(part));
      req.on('end', () => res.writeHead(418, { 'X-Seen': req.headers['x-a'] }).end(Buffer.concat(parts)));
    });
    const bytes = Buffer.from([0, 255, 10]);
    const bodies: HttpRequest['body'][] = [
      bytes,
      (async function* () {
        yield bytes.subarray(0, 1);
        yield bytes.subarray(1);
      })(),
    ];
    for (const body of bodies) {
      const answer = await httpRequest(
        get(`http://127.0.0.1:${port}/x`, { method: 'PUT', headers: { 'x-a': 'b' }, body: body! }),
      );
      expect(answer).to.include({ status: 418, url: `http://127.0.0.1:${port}/x` });
      expect(answer.headers['x-seen']).to.equal('b');
      expect(Buffer.from(answer.body).equals(bytes)).to.equal(true);
    }
  });

  it('stops at the cap of bytes: the limit passes, one more does not (G46)', async () => {
    const port = await serve((req, res) => res.end('x'.repeat(Number(req.url?.slice(1)))));
    expect((await httpRequest(get(`http://127.0.0.1:${port}/1000`))).body.length).to.equal(1_000);
    const fault = await faultOf(httpRequest(get(`http://127.0.0.1:${port}/1001`)));
    expect(fault).to.include({ fault: 'too-large', peer: `127.0.0.1:${port}` });
  });

  it('follows a redirect to the same host only, and by default none', async () => {
    const port = await serve((req, res) => {
      if (req.url === '/end') res.end(`${req.method ?? ''} ${req.headers.authorization ?? ''}`);
      else if (req.url === '/loop') res.writeHead(302, { location: '/loop' }).end();
      else if (req.url === '/away')
        res.writeHead(302, { location: `http://localhost:${port}/end?${CANARY}` }).end();
      else res.writeHead(req.url === '/keep' ? 307 : 302, { location: '/end' }).end();
    });
    const at = (path: string): string => `http://127.0.0.1:${port}${path}`;
    expect((await httpRequest(get(at('/go')))).status).to.equal(302);
    const headers = { authorization: 'Basic x' };
    const followed = await httpRequest(get(at('/go'), { redirects: 'same-host', headers }));
    expect([followed.url, Buffer.from(followed.body).toString()]).to.deep.equal([at('/end'), 'GET Basic x']);
    const kept = await httpRequest(get(at('/keep'), { method: 'POST', redirects: 'same-host', body: 'a' }));
    expect(Buffer.from(kept.body).toString()).to.equal('POST ');
    const turned = await httpRequest(get(at('/go'), { method: 'POST', redirects: 'same-host', body: 'a' }));
    expect(Buffer.from(turned.body).toString()).to.equal('GET ');
    for (const path of ['/away', '/loop']) {
      const fault = await faultOf(httpRequest(get(at(path), { redirects: 'same-host' })));
      expect(fault.fault).to.equal('redirect');
      expect(fault.message).not.to.contain(CANARY);
    }
  });

  it('names the peer and the real cause, and never user info, query or body (L20, G10)', async () => {
    const ca = await makeCa();
    const other = await makeCa('another root');
    const twin = await makeCa();
    const listener: RequestListener = (_req, res) => res.end(CANARY);
    const tls = async (names: string[], options = {}): Promise<number> =>
      listen(createTlsServer(await ca.issue(names, options), listener));
    const good = await tls(['localhost']);
    const expired = await tls(['localhost'], { notAfter: new Date(Date.now() - 1_000) });
    const plain = await serve(listener);
    const closed = createTcpServer();
    await new Promise<void>((done) => closed.listen(0, '127.0.0.1', done));
    const nobody = (closed.address() as AddressInfo).port;
    await new Promise((done) => closed.close(done));
    const rude = await serve((req) => req.socket.destroy());

    const trusted = await httpRequest(get(`https://localhost:${good}/`, { ca: ca.cert }));
    expect(Buffer.from(trusted.body).toString()).to.equal(CANARY);
    const cases: [string, string | undefined, string, RegExp][] = [
      [`https://localhost:${good}/`, twin.cert, 'tls', /not signed by the trusted/],
      [
        `https://u:${CANARY}@localhost:${good}/?t=${CANARY}`,
        other.cert,
        'tls',
        /authority is not trusted|chain is incomplete/,
      ],
      [`https://localhost:${good}/`, undefined, 'tls', /authority is not trusted|chain is incomplete/],
      [`https://127.0.0.1:${good}/`, ca.cert, 'tls', /is for another name/],
      [`https://localhost:${expired}/`, ca.cert, 'tls', /has expired/],
      [`https://localhost:${plain}/`, ca.cert, 'tls', /TLS/],
      [`http://u:${CANARY}@127.0.0.1:${nobody}/?t=${CANARY}`, undefined, 'refused', /refused the connection/],
      [`http://127.0.0.1:${rude}/?t=${CANARY}`, undefined, 'reset', /broke the exchange off/],
      ['http://nobody.invalid/', undefined, 'dns', /name resolution failed/],
      [`ftp://u:${CANARY}@x/`, undefined, 'url', /is not an http\(s\) address/],
    ];
    for (const [url, pem, kind, pattern] of cases) {
      const fault = await faultOf(httpRequest(get(url, pem === undefined ? {} : { ca: pem })));
      expect([fault.fault, url], fault.message).to.deep.equal([kind, url]);
      expect(fault.message).to.match(pattern);
      expect(`${fault.message} ${fault.stack ?? ''} ${JSON.stringify(fault)}`).not.to.contain(CANARY);
    }
  });

  it('ends at the deadline, before the headers and in the middle of a body, and on demand (G19)', async () => {
    const port = await serve((req, res) => {
      if (req.url === '/drip') {
        const timer = setInterval(() => res.write('x'), 20);
        res.on('close', () => clearInterval(timer));
      }
    });
    for (const path of ['/silent', '/drip']) {
      const started = performance.now();
      const fault = await faultOf(
        httpRequest(get(`http://127.0.0.1:${port}${path}`, { deadlineMs: 200, maxBytes: 1e6 })),
      );
      expect(fault.fault).to.equal('timeout');
      expect(performance.now() - started).to.be.lessThan(2_000);
    }
    const controller = new AbortController();
    const pending = faultOf(
      httpRequest(get(`http://127.0.0.1:${port}/silent`, { signal: controller.signal })),
    );
    controller.abort();
    expect((await pending).fault).to.equal('aborted');
  });

  it('streams: a body that keeps coming outlives the deadline, one that stalls does not (G30)', async () => {
    const port = await serve((req, res) => {
      let left = req.url === '/alive' ? 8 : 2;
      const timer = setInterval(() => {
        if (left > 0) res.write('x');
        else if (req.url === '/alive') res.end();
        left -= 1;
      }, 60);
      res.on('close', () => clearInterval(timer));
    });
    const read = async (path: string): Promise<number> => {
      let size = 0;
      const answer = await httpStream(get(`http://127.0.0.1:${port}${path}`, { deadlineMs: 300 }));
      for await (const piece of answer.body) size += piece.length;
      return size;
    };
    expect(await read('/alive')).to.equal(8);
    expect((await faultOf(read('/stalls'))).fault).to.equal('timeout');
    const thrown = await httpStream(get(`http://127.0.0.1:${port}/stalls`));
    thrown.discard();
    expect((await faultOf(thrown.body[Symbol.asyncIterator]().next())).fault).to.be.oneOf([
      'reset',
      'aborted',
    ]);
  });

  it('shows urls without user info, query and fragment', () => {
    expect(shownUrl(`https://u:${CANARY}@h.example:8443/a/b.git?token=${CANARY}#${CANARY}`)).to.equal(
      'https://h.example:8443/a/b.git',
    );
    expect(shownUrl('no url')).to.equal('(a url that cannot be read)');
  });
});
