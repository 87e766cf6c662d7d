import { expect } from 'chai';
import { isLoopback } from '../../../src/node/images/reference.ts';
import { registryDoubles, whyOf, type Handler } from './images-registry-support.ts';
import { digestOf, MANIFEST, MANIFEST_DIGEST, MANIFEST_TYPE, sendManifest, serve } from './images-support.ts';

describe('images: registries', () => {
  const { start, ask } = registryDoubles();

  describe('answers', () => {
    it('takes the digest that the registry names, with one request and no account', async () => {
      const registry = await start(sendManifest);
      expect(await ask(registry.host)).to.deep.equal({ kind: 'ok', value: MANIFEST_DIGEST });
      expect(registry.seen).to.deep.equal([
        { method: 'HEAD', url: '/v2/mc/hello/manifests/v1.0.0', authorization: undefined },
      ]);
    });

    it('computes the digest from the manifest when the header is missing or HEAD is not allowed', async () => {
      for (const headStatus of [200, 405]) {
        const registry = await start((request, response) => {
          response.writeHead(request.method === 'HEAD' ? headStatus : 200, { 'content-type': MANIFEST_TYPE });
          response.end(request.method === 'HEAD' ? undefined : MANIFEST);
        });
        expect(await ask(registry.host)).to.deep.equal({ kind: 'ok', value: MANIFEST_DIGEST });
      }
    });

    it('takes 404 for absent', async () => {
      const registry = await start((_, response) =>
        response.writeHead(404, { 'content-type': 'application/json' }).end(),
      );
      expect(await ask(registry.host)).to.deep.equal({ kind: 'ok', value: undefined });
    });

    it('asks for a pinned image by its digest, and refuses another one (L19)', async () => {
      const registry = await start(sendManifest);
      expect(await ask(registry.host, {}, MANIFEST_DIGEST)).to.deep.equal({
        kind: 'ok',
        value: MANIFEST_DIGEST,
      });
      expect(registry.seen[0]?.url).to.equal(`/v2/mc/hello/manifests/${MANIFEST_DIGEST}`);
      expect(whyOf(await ask(registry.host, {}, digestOf('other')))).to.match(
        /^retry: .* answers with sha256:/,
      );
    });
  });

  describe('faults (G37): each is a condition of its own, none is taken for "absent"', () => {
    const faults: readonly [string, Handler, RegExp, { afterMs?: number; whole?: boolean }][] = [
      [
        'a web page with 200',
        (_, response) =>
          response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>hi'),
        /^retry: .* answers with a web page/,
        {},
      ],
      [
        'a web page with 404',
        (_, response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<html>'),
        /^retry: .* answers with a web page \(status 404\)/,
        {},
      ],
      [
        'a truncated manifest',
        (request, response) => {
          response.writeHead(200, { 'content-type': MANIFEST_TYPE });
          response.end(request.method === 'HEAD' ? undefined : MANIFEST.slice(0, 20));
        },
        /^retry: .* no image manifest/,
        {},
      ],
      [
        'a manifest that is not the one that its header names',
        (request, response) =>
          request.method === 'HEAD'
            ? response.writeHead(405).end()
            : sendManifest(request, response, { 'docker-content-digest': digestOf('other') }),
        /^retry: .* that is not sha256:/,
        {},
      ],
      [
        'a connection cut in the middle of the manifest',
        (request, response) => {
          if (request.method === 'HEAD') return void response.writeHead(405).end();
          response.writeHead(200, { 'content-type': MANIFEST_TYPE, 'content-length': '5000' });
          response.write('{"schemaVersion": 2', () => response.destroy());
        },
        /^retry: registry \S+ broke the exchange off$/,
        { whole: true },
      ],
      [
        '429 with Retry-After',
        (_, response) => response.writeHead(429, { 'retry-after': '77' }).end(),
        /^retry: .* status 429/,
        { afterMs: 77_000, whole: true },
      ],
      ['500', (_, response) => response.writeHead(500).end(), /^retry: .* status 500/, { whole: true }],
      [
        'a redirect',
        (_, response) => response.writeHead(307, { location: 'http://192.0.2.1/v2/' }).end(),
        /^retry: .* status 307/,
        {},
      ],
      [
        'an answer without end',
        (request, response) => {
          if (request.method === 'HEAD') return void response.writeHead(405).end();
          response.writeHead(200, { 'content-type': MANIFEST_TYPE });
          const more = (): boolean => response.destroyed || response.write('x'.repeat(1 << 20), more);
          more();
        },
        /^retry: .* sent more than 4194304 bytes/,
        { whole: true },
      ],
    ];
    for (const [name, handler, why, { afterMs, whole }] of faults) {
      it(name, async () => {
        const registry = await start(handler);
        const answer = await ask(registry.host);
        expect(whyOf(answer)).to.match(why);
        expect(answer.registry ?? false).to.equal(whole ?? false);
        if (afterMs !== undefined) expect(answer).to.have.property('afterMs', afterMs);
      });
    }

    it('a registry that hangs, and one that drips a byte at a time, end at the deadline', async () => {
      const hanging = await start(() => undefined);
      const dripping = await start((request, response) => {
        if (request.method === 'HEAD') return void response.writeHead(405).end();
        response.writeHead(200, { 'content-type': MANIFEST_TYPE });
        const timer = setInterval(() => response.write(' '), 20);
        response.on('close', () => clearInterval(timer));
      });
      for (const { host } of [hanging, dripping]) {
        const begun = performance.now();
        expect(whyOf(await ask(host, {}, undefined, 300))).to.match(
          /^retry: registry \S+ did not answer within \d+ ms$/,
        );
        expect(performance.now() - begun).to.be.below(2_000);
      }
    });

    it('nobody listens', async () => {
      const registry = await serve(sendManifest);
      await registry.close();
      expect(whyOf(await ask(registry.host))).to.match(/^retry: registry .* refused the connection/);
    });
  });

  describe('hosts', () => {
    it('plain http goes to loopback only', async () => {
      for (const host of ['127.0.0.1:5000', '127.3.4.5', 'localhost', 'localhost:5000', '[::1]:5000']) {
        expect(isLoopback(host), host).to.equal(true);
      }
      for (const host of [
        '128.0.0.1',
        '127.0.0.1.evil.net',
        'localhost.evil.net',
        '127.0.0.1@evil.net',
        '[::2]',
        'reg',
      ]) {
        expect(isLoopback(host), host).to.equal(false);
      }
      expect(whyOf(await ask('reg.example.net:5000', { plainHttp: true }))).to.match(
        /^blocked: .* without TLS/,
      );
    });
  });
});
