import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { redact } from '../../../src/base/secret.ts';
import { parseChallenges } from '../../../src/node/images/challenge.ts';
import { openDistribution } from '../../../src/node/images/distribution.ts';
import type { Answer } from '../../../src/node/images/endpoint.ts';
import { registryDoubles, whyOf, type Handler } from './images-registry-support.ts';
import { imageRef, MANIFEST_DIGEST, sendManifest, steppedClock, type Double } from './images-support.ts';

describe('images: accounts and tokens of registries', () => {
  const rig = registryDoubles();
  const { start, credentials, ask } = rig;

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
      const missing = join(rig.folder, 'none');
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
      const realm = await tokenServer((_, response) => json(response, { token: 'of-another-realm' }));
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
});
