import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { closeHttp } from '../../../src/base/http.ts';
import { redact } from '../../../src/base/secret.ts';
import { parseChallenges } from '../../../src/node/images/challenge.ts';
import { openDistribution } from '../../../src/node/images/distribution.ts';
import type { Answer, RegistryEntry } from '../../../src/node/images/endpoint.ts';
import { openLookup, type Lookup } from '../../../src/node/images/lookup.ts';
import { isLoopback } from '../../../src/node/images/reference.ts';
import {
  digestOf,
  imageRef,
  MANIFEST,
  MANIFEST_DIGEST,
  MANIFEST_TYPE,
  sendManifest,
  serve,
  steppedClock,
  type Double,
} from './images-support.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

describe('images: registries', () => {
  let folder: string;
  let doubles: Double[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mc-registry-'));
    doubles = [];
  });
  afterEach(async () => {
    await closeHttp();
    await Promise.all(doubles.map((double) => double.close()));
    await rm(folder, { recursive: true, force: true });
  });

  const start = async (handler: Handler): Promise<Double> => {
    const double = await serve(handler);
    doubles.push(double);
    return double;
  };
  const credentials = async (text: string): Promise<string> => {
    const path = join(folder, 'credentials');
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  const ask = (
    host: string,
    entry: RegistryEntry = {},
    digest?: string,
    timeoutMs = 5_000,
  ): Promise<Answer> =>
    openDistribution({ clock: steppedClock(), timeoutMs }).findManifest(
      host,
      entry,
      imageRef(host, 'mc/hello', 'v1.0.0', digest),
    );
  const whyOf = (answer: Answer): string => (answer.kind === 'ok' ? 'ok' : `${answer.kind}: ${answer.why}`);

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
        /^retry: registry .* broke the exchange off/,
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
          /^retry: registry .* did not answer in time/,
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

  describe('accounts', () => {
    const basicOf = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;
    const withBasic =
      (pair: string): Handler =>
      (request, response) =>
        request.headers.authorization === basicOf(pair)
          ? sendManifest(request, response)
          : response.writeHead(401, { 'www-authenticate': 'Basic realm="registry"' }).end();

    for (const [form, text] of [
      ['user:password', 'robot:s3cret:with:colons\n'],
      ['JSON', '{"username": "robot", "password": "s3cret:with:colons"}'],
    ] as const) {
      it(`Basic, from a file with ${form}`, async () => {
        const registry = await start(withBasic('robot:s3cret:with:colons'));
        const entry = { credentialsFile: await credentials(text) };
        expect(await ask(registry.host, entry)).to.deep.equal({ kind: 'ok', value: MANIFEST_DIGEST });
        expect(redact(`x s3cret:with:colons ${basicOf('robot:s3cret:with:colons')}`)).to.not.match(
          /s3cret|cm9ib3Q/,
        );
      });
    }

    it('Basic, from the file that the engine writes at a login', async () => {
      const registry = await start(withBasic('robot:pass1'));
      const auth = Buffer.from('robot:pass1').toString('base64');
      const entry = {
        credentialsFile: await credentials(JSON.stringify({ auths: { [registry.host]: { auth } } })),
      };
      expect((await ask(registry.host, entry)).kind).to.equal('ok');
    });

    it('a refused account is blocked and names the file, never the account', async () => {
      const registry = await start(withBasic('robot:right-one'));
      const file = await credentials('robot:wrong-one');
      const answer = await ask(registry.host, { credentialsFile: file });
      expect(whyOf(answer)).to.equal(
        `blocked: registry ${registry.host} refuses the account of ${file} for image mc/hello:v1.0.0 (status 401)`,
      );
      expect(JSON.stringify(answer)).to.not.contain('wrong-one');
    });

    it('an account that is needed and missing is blocked and names the setting', async () => {
      const registry = await start(withBasic('a:b'));
      const answer = await ask(registry.host);
      expect(whyOf(answer)).to.match(/^blocked: .* asks for an account/);
      expect(answer).to.have.property('hint').that.contains(`registries."${registry.host}".credentials_file`);
    });

    it('403 is blocked; an unreadable or empty file too', async () => {
      const registry = await start((_, response) => response.writeHead(403).end());
      const file = await credentials('robot:any-word');
      expect(whyOf(await ask(registry.host, { credentialsFile: file }))).to.match(/^blocked: .*status 403/);
      const basic = await start(withBasic('a:b'));
      const missing = join(folder, 'none');
      expect(whyOf(await ask(basic.host, { credentialsFile: missing }))).to.match(
        /^blocked: .*none.* cannot be read/,
      );
      const empty = await credentials('nothing here');
      expect(whyOf(await ask(basic.host, { credentialsFile: empty }))).to.match(
        /^blocked: .* has no user and password/,
      );
    });
  });

  describe('tokens', () => {
    const tokenServer = (answer: Handler): Promise<Double> => start(answer);
    const withToken =
      (realm: () => string): Handler =>
      (request, response) =>
        request.headers.authorization === 'Bearer t0ken.abc'
          ? sendManifest(request, response)
          : response
              .writeHead(401, {
                'www-authenticate': `Bearer realm="${realm()}",service="reg 1",scope="registry:catalog:*"`,
              })
              .end();
    const json = (response: ServerResponse, value: unknown, status = 200): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));

    it('fetches a token from a trusted realm, for this repository and pulling only, and keeps it while it holds', async () => {
      const realm = await tokenServer((_, response) =>
        json(response, { token: 't0ken.abc', expires_in: 60 }),
      );
      const registry = await start(withToken(() => `http://${realm.host}/token`));
      const entry = { credentialsFile: await credentials('robot:pass-word'), realmHosts: [realm.host] };
      const clock = steppedClock();
      const client = openDistribution({ clock, timeoutMs: 5_000 });
      const find = (): Promise<Answer> => client.findManifest(registry.host, entry, imageRef(registry.host));
      expect(await find()).to.deep.equal({ kind: 'ok', value: MANIFEST_DIGEST });
      const asked = new URL(realm.seen[0]?.url ?? '', 'http://x');
      expect(Object.fromEntries(asked.searchParams)).to.deep.equal({
        service: 'reg 1',
        scope: 'repository:mc/hello:pull',
      });
      expect(realm.seen[0]?.authorization).to.match(/^Basic /);
      await find();
      expect([realm.seen.length, registry.seen.length]).to.deep.equal([1, 3]);
      clock.step(55_000);
      await find();
      expect(realm.seen.length).to.equal(2);
    });

    it('the registry itself may be the realm; without an account the token is asked for without one', async () => {
      const registry: Double = await start((request, response) =>
        request.url?.startsWith('/token') === true
          ? json(response, { access_token: 't0ken.abc' })
          : withToken(() => `http://${registry.host}/token`)(request, response),
      );
      expect((await ask(registry.host)).kind).to.equal('ok');
      expect(
        registry.seen.every(({ authorization }) => authorization?.startsWith('Basic') !== true),
      ).to.equal(true);
    });

    it('nothing at all is sent to a realm that the settings do not trust (G37)', async () => {
      const foreign = await tokenServer((_, response) => json(response, { token: 't0ken.abc' }));
      const registry = await start(withToken(() => `http://${foreign.host}/token`));
      const answer = await ask(registry.host, { credentialsFile: await credentials('robot:pass-word') });
      expect(whyOf(answer)).to.match(/^blocked: .* which the settings do not trust/);
      expect(answer).to.have.property('hint').that.contains(`"${foreign.host}"`).and.contains('realm_hosts');
      expect(foreign.seen).to.deep.equal([]);
    });

    it('a trusted realm without TLS is refused unless it is on loopback', async () => {
      const registry = await start(withToken(() => 'http://auth.example.net/token'));
      const answer = await ask(registry.host, { realmHosts: ['auth.example.net'] });
      expect(whyOf(answer)).to.match(/^blocked: .* without TLS/);
    });

    it('says what is wrong with the token server: 401, 429, no token, a token that breaks out of its header', async () => {
      const cases: readonly [Handler, RegExp][] = [
        [(_, response) => json(response, {}, 401), /^blocked: .*refuses the account .*a token for mc\/hello/],
        [
          (_, response) => response.writeHead(429, { 'retry-after': '9' }).end(),
          /^retry: .*status 429 .*a token/,
        ],
        [(_, response) => json(response, { tok: 1 }), /^retry: .* holds no token/],
        [(_, response) => response.end('<html>'), /^retry: .* holds no token/],
        [(_, response) => json(response, { token: 'a\r\nX-Evil: 1' }), /^retry: .* holds no token/],
      ];
      for (const [handler, why] of cases) {
        const realm = await tokenServer(handler);
        const registry = await start(withToken(() => `http://${realm.host}/token`));
        const entry = { realmHosts: [realm.host], credentialsFile: await credentials('robot:pass-word') };
        expect(whyOf(await ask(registry.host, entry))).to.match(why);
      }
    });

    it('a token that the registry does not take ends as blocked, not in a loop', async () => {
      const realm = await tokenServer((_, response) => json(response, { token: 'other' }));
      const registry = await start(withToken(() => `http://${realm.host}/token`));
      expect(whyOf(await ask(registry.host, { realmHosts: [realm.host] }))).to.match(
        /^blocked: .*status 401/,
      );
      expect([registry.seen.length, realm.seen.length]).to.deep.equal([2, 1]);
    });

    it('reads any challenge without failing', () => {
      expect(
        parseChallenges('Bearer realm="https://a/t",service="x, \\"y\\"" , Basic realm=z'),
      ).to.deep.equal([
        { scheme: 'bearer', params: { realm: 'https://a/t', service: 'x, "y"' } },
        { scheme: 'basic', params: { realm: 'z' } },
      ]);
      for (const odd of ['', ',,,', '"', 'Bearer realm="open', '=', 'Bearer =', '__proto__ a=b', 'é']) {
        expect(() => parseChallenges(odd)).to.not.throw();
      }
      expect(parseChallenges('Basic __proto__="x"')[0]?.params.realm).to.equal(undefined);
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

    it('a host that the settings do not list is never called', async () => {
      const registry = await start(sendManifest);
      const lookup = lookupOf({ 'reg.example.net': {} });
      expect(await lookup.find(imageRef(registry.host))).to.deep.equal({ kind: 'absent' });
      expect(await lookup.find(imageRef('__proto__'))).to.deep.equal({ kind: 'absent' });
      expect(registry.seen).to.deep.equal([]);
    });
  });

  const lookupOf = (
    registries: Record<string, RegistryEntry>,
    clock = steppedClock(),
    more: { timeoutMs?: number; patienceMs?: number; onLate?: () => void } = {},
  ): Lookup =>
    openLookup({
      registries,
      clock,
      timeoutMs: 2_000,
      answerTtlMs: 30_000,
      patienceMs: 2_000,
      onLate: () => undefined,
      retryMs: { first: 10_000, longest: 300_000 },
      ...more,
    });

  describe('memory', () => {
    it('200 known images: no request', async () => {
      const registry = await start(sendManifest);
      // Two hundred at once on a busy machine: what is measured is their number, not their time.
      const lookup = lookupOf({ [registry.host]: {} }, steppedClock(), { timeoutMs: 60_000 });
      const refs = Array.from({ length: 200 }, (_, index) => imageRef(registry.host, `mc/s${index}`));
      await Promise.all(refs.map((ref) => lookup.find(ref)));
      expect(registry.seen.length).to.equal(200);
      await Promise.all(refs.map((ref) => lookup.find(ref)));
      expect(registry.seen.length).to.equal(200);
    });

    it('a registry that is down is asked once for all of its images, with waits that grow to five minutes', async () => {
      const registry = await start((_, response) => response.writeHead(503).end());
      const clock = steppedClock();
      const lookup = lookupOf({ [registry.host]: {} }, clock);
      const waits: number[] = [];
      for (let round = 0; round < 7; round += 1) {
        for (let index = 0; index < 5; index += 1) {
          const found = await lookup.find(imageRef(registry.host, `mc/s${index}`));
          if (found.kind !== 'failed') throw new Error(found.kind);
          if (index === 0) waits.push((found.retryAt - clock.now()) / 1000);
        }
        expect(registry.seen.length).to.equal(round + 1);
        clock.step((waits.at(-1) ?? 0) * 1000);
      }
      expect(waits).to.deep.equal([10, 20, 40, 80, 160, 300, 300]);
    });

    it('Retry-After is heeded, as seconds and as a date', async () => {
      const clock = steppedClock();
      for (const value of ['120', new Date(clock.now() + 120_000).toUTCString()]) {
        const registry = await start((_, response) =>
          response.writeHead(429, { 'retry-after': value }).end(),
        );
        const found = await lookupOf({ [registry.host]: {} }, clock).find(imageRef(registry.host));
        if (found.kind !== 'failed') throw new Error(found.kind);
        expect(found.retryAt - clock.now()).to.be.within(119_000, 120_000);
      }
    });

    it('a slow registry does not hold a pass: the answer is told when it comes (G19)', async () => {
      let release: (() => void) | undefined;
      const registry = await start((request, response) => {
        release = () => sendManifest(request, response);
      });
      const late = new Promise<void>((resolve) => {
        const lookup = lookupOf({ [registry.host]: {} }, steppedClock(), { patienceMs: 30, onLate: resolve });
        void lookup.findSoon(imageRef(registry.host)).then((found) => {
          expect(found.kind).to.equal('failed');
          release?.();
        });
      });
      await late;
    });
  });
});
