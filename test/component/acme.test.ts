import { expect } from 'chai';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttps } from 'node:https';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import type { AcmeOptions } from '../../src/node/certs/acme/acme.ts';
import type { Certificates } from '../../src/node/certs/certificates.ts';
import type { Dns } from '../../src/node/dns/dns.ts';
import { openRfc2136 } from '../../src/node/dns/rfc2136.ts';
import type { CertificateState } from '../../src/node/certs/types.ts';
import { makeCa } from '../support/certs.ts';
import { startKnot, type NameServer } from '../support/nameserver.ts';
import { endWithConnections, listen } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { startPebble, type Pebble } from '../support/pebble.ts';
import { DRIVERS, startDriver } from '../support/proxyrig.ts';
import { until } from '../support/until.ts';
import { DAY_MS, NAME, certificatesFrom, endOfOrder, lookAt, whyOf } from './acme.kit.ts';

const CHALLENGE = `_acme-challenge.${NAME}`;

describe('certificates by ACME, with a real Pebble that proves names by a real Knot', () => {
  let knot: NameServer;
  let pebble: Pebble;
  let dir: string;
  let dns: Dns;
  const opened: Certificates[] = [];

  before(async () => {
    knot = await startKnot();
    pebble = await startPebble({ dns: knot.server });
    await knot.update(`update add ${NAME} 60 A 127.0.0.1`);
    dns = openRfc2136({
      owner: 'rift/main',
      servers: [knot.server],
      zones: [knot.zone],
      keyFile: knot.keyFile,
      ttlS: 1,
      clock: systemClock,
      log: makeLog('silent'),
    });
  });
  after(() => Promise.all([knot.stop(), pebble.stop()]));
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'acme-'));
  });
  afterEach(async () => {
    for (const certificates of opened.splice(0)) await certificates.stop();
    await rm(dir, { recursive: true });
  });

  const open = (challenge: AcmeOptions['challenge'], more: Partial<AcmeOptions> = {}): Certificates => {
    const acme = { challenge, contact: ['mailto:ops@svc.test'], ...more };
    const certificates = certificatesFrom({ pebble, dir, dns, acme });
    opened.push(certificates);
    return certificates;
  };
  const order = async (certificates: Certificates): Promise<void> => {
    expect(await certificates.issue(NAME, 'hello', true)).to.have.property('kind', 'ok');
  };
  const accountDir = async (): Promise<string> => {
    const [place = ''] = (await readdir(join(dir, 'acme'))).filter((name) => /^[0-9a-f]{12}$/.test(name));
    return join(dir, 'acme', place);
  };

  for (const challenge of ['http-01', 'dns-01'] as const) {
    it(`${challenge}, the account bound to an external one: ordered beside the passes, proved, and judged before use (L10); a second look writes nothing`, async () => {
      const certificates = open(challenge);
      expect(await lookAt(certificates)).to.have.property('kind', 'absent');
      await order(certificates);
      expect(await lookAt(certificates)).to.have.property('kind', 'ordered');
      // Twice is once: an order that is under way is not begun again.
      await order(certificates);
      const state = await endOfOrder(certificates);
      expect(state.kind, whyOf(state)).to.equal('valid');
      const pem = await readFile(join(dir, 'certs', 'hello.pem'), 'utf8');
      expect(pem.match(/BEGIN CERTIFICATE/g)).to.have.lengthOf(2);
      expect(new X509Certificate(pem).subjectAltName).to.equal(`DNS:${NAME}`);
      for (const path of [join(dir, 'certs', 'hello.key'), join(await accountDir(), 'account.key')])
        expect((await stat(path)).mode & 0o777, path).to.equal(0o600);
      // Nothing of the proof is left behind.
      expect(await knot.dig(CHALLENGE, 'TXT')).to.deep.equal([]);
      expect(await statusOf(pebble.httpPort)).to.equal('ECONNREFUSED');
      await order(certificates);
      expect(await readFile(join(dir, 'certs', 'hello.pem'), 'utf8')).to.equal(pem);
      await certificates.stop();
      // Another run of the agent knows it as its own, and its account.
      const next = open(challenge);
      expect(await lookAt(next)).to.have.property('kind', 'valid');
      // Nobody wants it any more: it goes, and its key stays.
      expect(await next.observe([])).to.deep.equal({ [NAME]: { kind: 'left', name: 'hello' } });
      expect(await next.remove(NAME, 'hello')).to.have.property('kind', 'ok');
      expect(await readdir(join(dir, 'certs'))).to.deep.equal(['hello.key']);
      expect(await next.remove(NAME, 'hello'), 'twice is once').to.have.property('kind', 'ok');
    });
  }

  it('a CA that refuses one nonce in five, and takes its time, gives one all the same', async () => {
    await pebble.halt();
    await pebble.start({ PEBBLE_WFE_NONCEREJECT: '20', PEBBLE_VA_NOSLEEP: '0', PEBBLE_VA_SLEEPTIME: '1' });
    try {
      const certificates = open('http-01');
      await order(certificates);
      const state = await endOfOrder(certificates);
      expect(state.kind, whyOf(state)).to.equal('valid');
    } finally {
      await pebble.halt();
      await pebble.start();
    }
  });

  it('a CA that is down is waited for with its reason, and what is there is untouched; one that has lost its accounts gets the account again', async () => {
    const certificates = open('http-01');
    await order(certificates);
    expect((await endOfOrder(certificates)).kind).to.equal('valid');
    const pem = await readFile(join(dir, 'certs', 'hello.pem'), 'utf8');
    const key = await readFile(join(await accountDir(), 'account.key'), 'utf8');
    await pebble.halt();
    await rm(join(dir, 'certs', 'hello.pem'));
    await order(certificates);
    const failed = await endOfOrder(certificates);
    expect(failed.kind).to.equal('failed');
    expect(whyOf(failed)).to.match(/the CA localhost:\d+ cannot be used: .*refused/);
    await writeFile(join(dir, 'certs', 'hello.pem'), pem);
    expect(await lookAt(certificates)).to.have.property('kind', 'valid');
    await rm(join(dir, 'certs', 'hello.pem'));
    await pebble.start();
    // It knows neither the account nor its own root of before.
    const again = await until('the account to be made again', async () => {
      const state = await lookAt(certificates);
      if (state.kind === 'valid') return state;
      if (state.kind !== 'ordered') await certificates.issue(NAME, 'hello', true);
      return undefined;
    });
    expect(again.kind).to.equal('valid');
    expect(await readFile(join(await accountDir(), 'account.key'), 'utf8')).to.equal(key);
  });

  it('a name that the CA cannot prove, an unbound account, terms that nobody agreed to, a root that is not known: each with its reason', async () => {
    const fails = async (certificates: Certificates): Promise<string> => {
      await order(certificates);
      const state = await endOfOrder(certificates);
      expect(state.kind).to.equal('failed');
      return whyOf(state);
    };
    // Where the CA comes to, nobody answers.
    expect(await fails(open('http-01', { httpListen: `127.0.0.1:${await freePort()}` }))).to.match(
      /could not prove hello\.svc\.test by http-01: .*refused/,
    );
    await rm(join(dir, 'acme'), { recursive: true });
    const unbound = join(dir, 'unbound');
    // What is wrong with the file by itself is said before the CA is asked, and without what stands in it (G10).
    for (const [content, mode, told] of [
      ['a2VwdDBRdWlldA', 0o640, 'can be read by others'],
      ['', 0o600, 'holds no key (base64url)'],
      ['kept quiet!', 0o600, 'holds no key (base64url)'],
    ] as const) {
      await writeFile(unbound, content);
      await chmod(unbound, mode);
      const why = await fails(open('http-01', { eabKeyFile: unbound }));
      expect(why).to.equal(`[certs] acme_eab_key_file ${unbound} ${told}`);
    }
    await writeFile(unbound, Buffer.from('another key of the CA').toString('base64url'));
    expect(await fails(open('http-01', { eabKeyFile: unbound }))).to.match(/refuses: /);
    await rm(join(dir, 'acme'), { recursive: true });
    expect(await fails(open('http-01', { agreesTerms: false }))).to.match(/asks for agreement to its terms/);
    const other = join(dir, 'other.pem');
    await writeFile(other, (await makeCa()).cert);
    expect(await fails(open('http-01', { rootsFile: other }))).to.match(/no root that this node trusts/);
    const empty = join(dir, 'empty.pem');
    await writeFile(empty, '');
    expect(await fails(open('http-01', { rootsFile: empty }))).to.equal(
      `${empty} holds no certificate that can be read`,
    );
    expect(await readdir(join(dir, 'certs'))).to.deep.equal(['hello.key']);
    await chmod(join(await accountDir(), 'account.key'), 0o644);
    expect(await fails(open('http-01'))).to.match(/account\.key may be read by others/);
  });

  for (const [what, answer, why] of [
    ['is sealed', 503, /^the CA localhost:\d+ refuses: serverInternal: the CA is sealed$/],
    [
      'never ends its answer',
      undefined,
      /^the order of a certificate for hello\.svc\.test was ended at its deadline of 1 s$/,
    ],
  ] as const) {
    it(`a CA that ${what} is waited for with its reason, and tried again (L15)`, async () => {
      const ca = await makeCa();
      await writeFile(join(dir, 'sealed.pem'), ca.cert);
      const server = createHttps(await ca.issue(['localhost']), (_incoming, response) => {
        if (answer === undefined) {
          response.writeHead(200, { 'content-type': 'application/json' });
          response.write('{');
          return;
        }
        response.writeHead(answer, { 'content-type': 'application/problem+json' });
        response.end('{"type":"urn:ietf:params:acme:error:serverInternal","detail":"the CA is sealed"}');
      });
      const end = endWithConnections(server);
      try {
        const certificates = open('http-01', {
          directory: `https://localhost:${await listen(server)}/dir`,
          caFile: join(dir, 'sealed.pem'),
          timeoutMs: 1_000,
        });
        await order(certificates);
        const state = await endOfOrder(certificates);
        expect(whyOf(state)).to.match(why);
        if (state.kind !== 'failed') throw new Error(state.kind);
        expect(state.retryAt).to.be.greaterThan(state.at);
        await until('its turn', async () => (await certificates.issue(NAME, 'hello', true)).kind === 'ok');
      } finally {
        end();
      }
    });
  }

  for (const kind of DRIVERS) {
    it(`http-01 through the proxy (${kind}): it hands on what the CA asks for, and is asked before the CA is`, async () => {
      const answering = `127.0.0.1:${await freePort()}`;
      const rig = await startDriver(kind, await freePort(), {
        challenges: { addr: `127.0.0.1:${pebble.httpPort}`, backend: answering },
        started: false,
      });
      try {
        const certificates = certificatesFrom({
          ...{ pebble, dir, dns, proxyReady: () => rig.proxy.put([]) },
          acme: { httpListen: answering, throughProxy: true },
        });
        opened.push(certificates);
        await order(certificates);
        // The CA would count it as a failure.
        expect(whyOf(await endOfOrder(certificates))).to.match(
          /the proxy is not running|HAProxy is not running|nobody/,
        );
        await rig.start();
        await until('the certificate', async () => {
          const state = await lookAt(certificates);
          if (state.kind === 'failed') await certificates.issue(NAME, 'hello', true);
          return state.kind === 'valid';
        });
        // Nothing but challenges, and nothing of those that are over.
        expect(await statusOf(pebble.httpPort, '/')).to.equal('404');
        expect(await statusOf(pebble.httpPort, '/.well-known/acme-challenge/over')).to.equal('502');
      } finally {
        await rig.stop();
      }
    });
  }

  it("a certificate that is the operator's is neither renewed nor replaced, however it stands", async () => {
    await mkdir(join(dir, 'certs'));
    const { cert, key } = await (
      await makeCa()
    ).issue([NAME], { notAfter: new Date(Date.now() + 3_600_000) });
    await writeFile(join(dir, 'certs', 'hello.pem'), cert);
    await writeFile(join(dir, 'certs', 'hello.key'), key);
    const certificates = open('http-01');
    expect(await lookAt(certificates)).to.have.property('kind', 'invalid');
    expect(await certificates.issue(NAME, 'hello', true)).to.have.property('kind', 'blocked');
    expect(await readFile(join(dir, 'certs', 'hello.pem'), 'utf8')).to.equal(cert);
  });

  it('a name server that does not take the answer is named, and nothing is left in DNS by an agent that died in between', async () => {
    await mkdir(join(dir, 'acme', 'pending'), { recursive: true });
    await writeFile(join(dir, 'acme', 'pending', NAME), 'left-behind');
    await knot.update(
      `update add ${CHALLENGE} 60 TXT "left-behind"`,
      `update add ${CHALLENGE} 60 TXT "of-others"`,
    );
    const certificates = open('dns-01');
    await order(certificates);
    const state = await endOfOrder(certificates);
    expect(state.kind, whyOf(state)).to.equal('valid');
    expect(await knot.dig(CHALLENGE, 'TXT')).to.deep.equal(['"of-others"']);
    await knot.update(`update delete ${CHALLENGE} TXT`);
    await rm(join(dir, 'certs', 'hello.pem'));
    await knot.halt();
    await order(certificates);
    expect(whyOf(await endOfOrder(certificates))).to.include(knot.server);
    await knot.start();
  });
});

describe('renewal by ACME', () => {
  it('with a third of the life left another one is ordered, while the one in place is used; the key stays (L15)', async () => {
    const knot = await startKnot();
    const pebble = await startPebble({ dns: knot.server, lifeS: 90 * 86_400 });
    const dir = await mkdtemp(join(tmpdir(), 'acme-'));
    let ahead = 0;
    const clock = { ...systemClock, now: () => Date.now() + ahead };
    await knot.update(`update add ${NAME} 60 A 127.0.0.1`);
    const certificates = certificatesFrom({ pebble, dir, clock });
    const look = (): Promise<CertificateState> => lookAt(certificates);
    const renewal = async (): Promise<unknown> => {
      const state = await look();
      return state.kind === 'valid' ? state.renewal?.kind : state.kind;
    };
    try {
      await certificates.issue(NAME, 'hello', true);
      const first = await until('the first', async () => {
        const state = await look();
        return state.kind === 'valid' ? state : undefined;
      });
      const key = await readFile(join(dir, 'certs', 'hello.key'), 'utf8');
      expect(first).not.to.have.property('renewal');
      ahead = 59 * DAY_MS;
      expect(await renewal()).to.equal(undefined);
      ahead = 61 * DAY_MS;
      expect(await renewal()).to.equal('due');
      await pebble.halt();
      expect((await certificates.issue(NAME, 'hello', true)).kind).to.equal('ok');
      expect(await renewal()).to.equal('ordered');
      await until('the failure', async () => (await renewal()) === 'failed');
      expect(await look()).to.include({ kind: 'valid', fingerprint256: first.fingerprint256 });
      await pebble.start();
      await until('the next one', async () => {
        const state = await look();
        if (state.kind === 'valid' && state.fingerprint256 !== first.fingerprint256) return true;
        if (state.kind === 'valid' && state.renewal?.kind !== 'ordered')
          await certificates.issue(NAME, 'hello', true);
        return false;
      });
      expect(await readFile(join(dir, 'certs', 'hello.key'), 'utf8')).to.equal(key);
    } finally {
      await certificates.stop();
      await Promise.all([knot.stop(), pebble.stop()]);
      await rm(dir, { recursive: true });
    }
  });

  it('of one that lives for ten minutes, too, another one is ordered before its end; one that has ended is told with its end', async () => {
    const knot = await startKnot();
    const pebble = await startPebble({ dns: knot.server, lifeS: 600 });
    const dir = await mkdtemp(join(tmpdir(), 'acme-'));
    let ahead = 0;
    const clock = { ...systemClock, now: () => Date.now() + ahead };
    const certificates = certificatesFrom({ pebble, dir, clock });
    try {
      await knot.update(`update add ${NAME} 60 A 127.0.0.1`);
      await certificates.issue(NAME, 'hello', true);
      const first = await until('the first', async () => {
        const state = await lookAt(certificates);
        return state.kind === 'valid' ? state : undefined;
      });
      expect(first).not.to.have.property('renewal');
      ahead = 405_000;
      expect(await lookAt(certificates)).to.deep.include({ kind: 'valid', renewal: { kind: 'due' } });
      ahead = 605_000;
      expect(await lookAt(certificates)).to.include({ kind: 'absent', endedAt: first.notAfter });
    } finally {
      await certificates.stop();
      await Promise.all([knot.stop(), pebble.stop()]);
      await rm(dir, { recursive: true });
    }
  });
});

function statusOf(port: number, path = '/'): Promise<string> {
  return new Promise((resolve) => {
    const call = request({ host: '127.0.0.1', port, path }, (response) => {
      response.resume();
      resolve(String(response.statusCode));
    });
    call.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? '')).end();
  });
}
