import { expect } from 'chai';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { openRfc2136 } from '../../src/node/dns/rfc2136.ts';
import type { Dns } from '../../src/node/dns/dns.ts';
import { sendUpdate, updateScript } from '../../src/node/dns/update.ts';
import type { NameFacts } from '../../src/node/types.ts';
import {
  startBind,
  startKnot,
  startPowerDns,
  type NameServer,
  type ServerOptions,
} from '../support/nameserver.ts';
import { until } from '../support/until.ts';

const OWNER = 'rift/main';
const NAME = 'hello.svc.test';
const FOUR = '10.0.0.1';
const SIX = 'fd00::1';

for (const [kind, startServer] of [
  ['Knot', startKnot],
  ['BIND', startBind],
  ['PowerDNS', startPowerDns],
] as const) {
  describe(`DNS by RFC 2136, with a real ${kind}`, () => dnsBy(startServer));
}

function dnsBy(startServer: (options?: ServerOptions) => Promise<NameServer>): void {
  let knot: NameServer;
  let second: NameServer;
  const open = (more: Partial<Parameters<typeof openRfc2136>[0]> = {}): Dns =>
    openRfc2136({
      owner: OWNER,
      servers: [knot.server],
      zones: [knot.zone],
      keyFile: knot.keyFile,
      ttlS: 60,
      clock: systemClock,
      log: makeLog('silent'),
      ...more,
    });
  const inside = async (dns: Dns, name = NAME): Promise<Extract<NameFacts, { zone: string }>> => {
    const seen = (await dns.observe([name])).names[name];
    if (seen === undefined || 'elsewhere' in seen) throw new Error('not inside');
    return seen;
  };
  const record = { hostname: NAME, addresses: [FOUR, SIX] };

  before(async () => {
    [knot, second] = await Promise.all([startServer(), startServer()]);
  });
  after(() => Promise.all([knot.stop(), second.stop()]));
  afterEach(async () => {
    for (const server of [knot, second])
      await server.update(`update delete ${NAME}`, `update delete _mc-gitops.${NAME} TXT`);
  });

  it('dig before, during and after: A, AAAA and the mark come together and go together; the serial moves only then', async () => {
    const dns = open();
    const before = await knot.serial();
    const show = async (when: string): Promise<string> =>
      `${when}: A [${(await knot.dig(NAME, 'A')).join()}] AAAA [${(await knot.dig(NAME, 'AAAA')).join()}]`;
    const lines = [await show('before')];
    expect(await dns.put('hello', [record])).to.have.property('kind', 'ok');
    lines.push(await show('during'));
    expect(await knot.dig(`_mc-gitops.${NAME}`, 'TXT')).to.deep.equal([
      `"mc-gitops" "owner=${OWNER}" "service=hello" "ip=${FOUR}" "ip=${SIX}"`,
    ]);
    const mark = { owner: OWNER, service: 'hello', addresses: [FOUR, SIX] };
    expect((await inside(dns)).servers).to.deep.equal([
      { server: knot.server, seen: { known: true, value: { addresses: [FOUR, SIX], mark } } },
    ]);
    const during = await knot.serial();
    expect(during).to.be.greaterThan(before);
    // Twice is once: nothing is sent that changes nothing.
    expect(await dns.put('hello', [record])).to.have.property('kind', 'ok');
    expect(await knot.serial()).to.equal(during);
    expect(await dns.remove('hello', [record])).to.have.property('kind', 'ok');
    lines.push(await show('after'));
    expect(await knot.dig(`_mc-gitops.${NAME}`, 'TXT')).to.deep.equal([]);
    const gone = await knot.serial();
    expect(await dns.remove('hello', [record])).to.have.property('kind', 'ok');
    expect(await knot.serial()).to.equal(gone);
    expect(lines).to.deep.equal([
      'before: A [] AAAA []',
      `during: A [${FOUR}] AAAA [${SIX}]`,
      'after: A [] AAAA []',
    ]);
    for (const line of lines) console.log(`      ${line}`);
  });

  it('a foreign record, alias or mark is never written over, nor taken away', async () => {
    for (const [what, line] of [
      ['10.9.9.9', `update add ${NAME} 60 A 10.9.9.9`],
      ['alias', `update add ${NAME} 60 CNAME ns.svc.test.`],
      ['other/main', `update add _mc-gitops.${NAME} 60 TXT "mc-gitops" "owner=other/main" "service=x"`],
    ] as const) {
      await knot.update(line);
      const serial = await knot.serial();
      const put = await open().put('hello', [record]);
      expect(put.kind, what).to.equal('wait');
      expect(put).to.have.property('why').that.includes(what).and.includes(knot.server);
      expect(await open().remove('hello', [record])).to.have.property('kind', 'ok');
      expect(await knot.serial(), what).to.equal(serial);
      await knot.update(`update delete ${NAME}`, `update delete _mc-gitops.${NAME} TXT`);
    }
  });

  it('a record that somebody makes between look and update is refused by the server itself: prerequisites', async () => {
    await knot.update(`update add ${NAME} 60 A 10.9.9.9`);
    const script = updateScript({
      server: knot.server,
      zone: knot.zone,
      hostname: NAME,
      // As it was seen a moment ago.
      seen: { addresses: [], texts: [] },
      add: [FOUR],
      drop: [],
      mark: { owner: OWNER, service: 'hello', addresses: [FOUR] },
      ttlS: 60,
    });
    expect(await sendUpdate(script, knot.keyFile)).to.match(/YXRRSET/);
    expect(await knot.dig(NAME, 'A')).to.deep.equal(['10.9.9.9']);
    expect(await knot.dig(`_mc-gitops.${NAME}`, 'TXT')).to.deep.equal([]);
  });

  it('addresses that change are replaced, own values only: what somebody added beside them stays', async () => {
    const dns = open();
    await dns.put('hello', [record]);
    await knot.update(`update add ${NAME} 60 A 10.9.9.9`);
    expect(await dns.put('hello', [{ hostname: NAME, addresses: ['10.0.0.2'] }])).to.have.property(
      'kind',
      'ok',
    );
    expect(await knot.dig(NAME, 'A')).to.deep.equal(['10.0.0.2', '10.9.9.9']);
    expect(await knot.dig(NAME, 'AAAA')).to.deep.equal([]);
    expect(await dns.remove('hello', [{ hostname: NAME, addresses: ['10.0.0.2'] }])).to.have.property(
      'kind',
      'ok',
    );
    expect(await knot.dig(NAME, 'A')).to.deep.equal(['10.9.9.9']);
  });

  it('a record whose mark was lost is ours by the registry, and is marked again', async () => {
    const dns = open();
    await dns.put('hello', [record]);
    await knot.update(`update delete _mc-gitops.${NAME} TXT`);
    expect((await open().put('hello', [record])).kind).to.equal('wait');
    expect(await open().put('hello', [{ ...record, before: [FOUR, SIX] }])).to.have.property('kind', 'ok');
    expect(await knot.dig(`_mc-gitops.${NAME}`, 'TXT')).to.have.lengthOf(1);
  });

  it('edge nodes of one service each have their own mark and values beside those of the others; a stranger has none', async () => {
    const [home, one, two] = ['rift', 'front', 'back'].map((node) => open({ owner: `${node}/main` }));
    const at = (ip: string): { hostname: string; addresses: string[] } => ({
      hostname: NAME,
      addresses: [ip],
    });
    expect(await home?.put('hello', [at('10.0.0.1')])).to.have.property('kind', 'ok');
    expect(await one?.put('hello@rift', [at('10.0.0.2')])).to.have.property('kind', 'ok');
    expect(await two?.put('hello@rift', [at('10.0.0.3')])).to.have.property('kind', 'ok');
    expect(await knot.dig(NAME, 'A')).to.deep.equal(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    expect(await knot.dig(`_mc-gitops.${NAME}`, 'TXT')).to.have.lengthOf(3);
    const [seen] = (await inside(one as Dns)).servers;
    const value = seen?.seen.known === true ? seen.seen.value : undefined;
    expect([value?.mark?.owner, value?.others?.map(({ owner }) => owner).sort()]).to.deep.equal([
      'front/main',
      ['back/main', 'rift/main'],
    ]);
    const serial = await knot.serial();
    expect(await two?.put('hello@rift', [at('10.0.0.3')])).to.have.property('kind', 'ok');
    expect(await knot.serial(), 'nobody repeats what is there').to.equal(serial);
    expect((await open({ owner: 'other/main' }).put('other', [at('10.9.9.9')])).kind).to.equal('wait');
    expect((await open({ owner: 'other/main' }).put('hello@elsewhere', [at('10.9.9.9')])).kind).to.equal(
      'wait',
    );
    expect(await home?.remove('hello', [at('10.0.0.1')])).to.have.property('kind', 'ok');
    expect(await knot.dig(NAME, 'A')).to.deep.equal(['10.0.0.2', '10.0.0.3']);
    // Another address of its own: its mark alone is written anew.
    expect(await one?.put('hello@rift', [at('10.0.0.4')])).to.have.property('kind', 'ok');
    expect(await knot.dig(NAME, 'A')).to.deep.equal(['10.0.0.3', '10.0.0.4']);
    expect(await one?.remove('hello@rift', [at('10.0.0.4')])).to.have.property('kind', 'ok');
    expect(await two?.remove('hello@rift', [at('10.0.0.3')])).to.have.property('kind', 'ok');
    expect([await knot.dig(NAME, 'A'), await knot.dig(`_mc-gitops.${NAME}`, 'TXT')]).to.deep.equal([[], []]);
  });

  it('records with our mark that nobody asks for are found in the zone, on whichever server they are, and can be taken away (L08)', async () => {
    await open().put('lost', [record]);
    await open({ owner: 'other/main' }).put('theirs', [
      { hostname: `theirs.${knot.zone}`, addresses: ['10.0.0.8'] },
    ]);
    await open({ servers: [second.server] }).put('lost', [{ ...record, hostname: `too.${knot.zone}` }]);
    let signals = 0;
    const dns = open({ servers: [knot.server, second.server], onSignal: () => (signals += 1) });
    const found = async (): Promise<string[]> => Object.keys((await dns.observe([])).left ?? {});
    try {
      await until('the zones to be searched', async () => (await found()).length === 2);
      expect(signals, 'it is told, once a zone').to.equal(2);
      expect(await found()).to.deep.equal([NAME, `too.${knot.zone}`]);
      const { left, unsearched } = await dns.observe([`too.${knot.zone}`]);
      expect(unsearched).to.equal(undefined);
      expect(Object.keys(left ?? {}), 'what is asked for is not left').to.deep.equal([NAME]);
      const mark = { owner: OWNER, service: 'lost', addresses: [FOUR, SIX] };
      expect(left?.[NAME]?.servers.map(({ seen }) => seen)).to.deep.equal([
        { known: true, value: { addresses: [FOUR, SIX], mark } },
        { known: true, value: { addresses: [] } },
      ]);
      for (const hostname of await found())
        expect(await dns.remove('(nobody)', [{ hostname, addresses: [] }])).to.have.property('kind', 'ok');
      // Seen at once, although the zone is not searched again so soon.
      expect(await found()).to.deep.equal([]);
      expect([await knot.dig(NAME, 'A'), await second.dig(`too.${knot.zone}`, 'A')]).to.deep.equal([[], []]);
      expect(await knot.dig(`theirs.${knot.zone}`, 'A')).to.deep.equal(['10.0.0.8']);
      expect(signals).to.equal(2);
    } finally {
      await open({ owner: 'other/main' }).remove('theirs', [
        { hostname: `theirs.${knot.zone}`, addresses: ['10.0.0.8'] },
      ]);
    }
  });

  it('a zone that a server hands over to nobody, or not to this key, is told as one that cannot be searched (L14)', async () => {
    const closed = await startServer({ noTransfer: true });
    try {
      for (const more of [{ servers: [closed.server] }, { keyFile: knot.strangerKeyFile }]) {
        const dns = open(more);
        const server = more.servers?.[0] ?? knot.server;
        await dns.observe([]);
        const { unsearched } = await until('the search to fail', async () => {
          const facts = await dns.observe([]);
          return facts.unsearched === undefined ? undefined : facts;
        });
        const told = `name server ${server} does not hand over the zone ${knot.zone} (AXFR): it answers `;
        expect(unsearched?.replace(/NOTAUTH$|REFUSED$/, '')).to.equal(told);
      }
    } finally {
      await closed.stop();
    }
  });

  it('several servers: one that refuses or is down keeps the other from nothing, and says why (L20)', async () => {
    const both = open({ servers: [knot.server, second.server] });
    await second.halt();
    const half = await both.put('hello', [record]);
    expect(half.kind).to.equal('wait');
    expect(half).to.have.property('why').that.includes(second.server).and.does.not.include(knot.server);
    expect(await knot.dig(NAME, 'A')).to.deep.equal([FOUR]);
    const seen = await inside(both);
    expect(seen.servers.map((server) => server.seen.known)).to.deep.equal([true, false]);
    // In the same words whether it is the machine that says so or nobody: else it is told anew with each look.
    const down = {
      known: false,
      why: `name server ${second.server} does not answer`,
    };
    expect(seen.servers[1]?.seen).to.deep.equal(down);
    expect(seen.failed?.retryAt).to.be.greaterThan(Date.now());
    await second.start();
    expect(await both.put('hello', [record])).to.have.property('kind', 'ok');
    expect(await second.dig(NAME, 'A')).to.deep.equal([FOUR]);
    expect(await inside(both)).not.to.have.property('failed');
    expect(await both.remove('hello', [record])).to.have.property('kind', 'ok');
    expect(await second.dig(NAME, 'A')).to.deep.equal([]);
  });

  it('several servers: one that refuses the update, or has a foreign record, keeps the other from nothing, and is named (L20)', async () => {
    const refusing = await startServer({ readOnly: true });
    try {
      const both = open({ servers: [knot.server, refusing.server] });
      const half = await both.put('hello', [record]);
      expect(half.kind).to.equal('wait');
      expect(half).to.have.property('why').that.includes(refusing.server).and.does.not.include(knot.server);
      expect(half)
        .to.have.property('why')
        .that.matches(/did not take the update of .*(REFUSED|NOTAUTH)/);
      expect([await knot.dig(NAME, 'A'), await refusing.dig(NAME, 'A')]).to.deep.equal([[FOUR], []]);
      expect((await inside(both)).failed?.retryAt).to.be.greaterThan(Date.now());
      expect(await both.remove('hello', [record])).to.have.property('kind', 'ok');
      expect(await knot.dig(NAME, 'A')).to.deep.equal([]);
    } finally {
      await refusing.stop();
    }
    const both = open({ servers: [knot.server, second.server] });
    await second.update(`update add ${NAME} 60 A 10.9.9.9`);
    const half = await both.put('hello', [record]);
    expect(half).to.have.property('why').that.includes(second.server).and.does.not.include(knot.server);
    expect([await knot.dig(NAME, 'A'), await second.dig(NAME, 'A')]).to.deep.equal([[FOUR], ['10.9.9.9']]);
    expect(await both.remove('hello', [record])).to.have.property('kind', 'ok');
    expect(await second.dig(NAME, 'A')).to.deep.equal(['10.9.9.9']);
  });

  it('an unknown key, and a zone that the server does not have, are named', async () => {
    const refused = await open({ keyFile: knot.strangerKeyFile }).put('hello', [record]);
    expect(refused.kind).to.equal('wait');
    expect(refused)
      .to.have.property('why')
      .that.matches(/NOTAUTH|BADKEY|REFUSED/);
    expect(refused)
      .to.have.property('why')
      .that.matches(/\((it does not know|the key may not)/);
    expect(refused).to.have.property('why').that.does.not.include('eHh4');
    const other = open({ zones: ['other.test'] });
    const seen = (await other.observe(['a.other.test'])).names['a.other.test'];
    expect(JSON.stringify(seen)).to.match(/refuses the query|does not know the zone/);
  });

  it('names outside our zones are somebody else’s: resolved beside the pass, never written', async () => {
    const dns = open();
    const first = (await dns.observe(['docs.example.org'])).names['docs.example.org'];
    expect(first).to.deep.equal({ elsewhere: { known: false, why: 'not resolved yet' } });
    const serial = await knot.serial();
    expect((await dns.put('docs', [{ hostname: 'docs.example.org', addresses: [FOUR] }])).kind).to.equal(
      'wait',
    );
    expect(await knot.serial()).to.equal(serial);
  });
}
