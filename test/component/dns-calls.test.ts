import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import pLimit from 'p-limit';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import type { Dns } from '../../src/node/dns/dns.ts';
import { lookUp, textsAt } from '../../src/node/dns/query.ts';
import { openRfc2136 } from '../../src/node/dns/rfc2136.ts';
import { DNS_FAULTS, openDnsFront, type DnsFault, type DnsFront } from '../support/dnsfront.ts';
import { startKnot, type NameServer } from '../support/nameserver.ts';
import { tally } from '../support/tally.ts';
import { until } from '../support/until.ts';

const OWNER = 'rift/main';
const FOUR = '10.0.0.1';
const SIX = 'fd00::1';
const TEXT = 'answer-to-a-challenge';
const MARK = `"mc-gitops" "owner=${OWNER}" "service=hello" "ip=${FOUR}" "ip=${SIX}"`;
/** Each runs nsupdate, on a machine with two processors. */
const AT_ONCE = 12;

/** `messages`: to the server when all is well, of which `update` is the one that changes something. */
interface Call {
  readonly name: string;
  readonly messages: number;
  readonly update: number;
  /** What must stand there before it, as nsupdate reads it. */
  readonly given: (host: string) => readonly string[];
  readonly call: (dns: Dns, host: string) => Promise<Outcome<undefined>>;
  /** Of what the server has: none of it, or all. Anything else is half done. */
  readonly isDone: (server: string, host: string) => Promise<boolean>;
}

const CALLS: readonly Call[] = [
  {
    ...{ name: 'put', messages: 11, update: 6 },
    given: () => [],
    call: (dns, host) => dns.put('hello', [{ hostname: host, addresses: [FOUR, SIX] }]),
    isDone: hasRecord,
  },
  {
    ...{ name: 'remove', messages: 11, update: 6 },
    given: (host) => [
      ...[`update add ${host} 60 A ${FOUR}`, `update add ${host} 60 AAAA ${SIX}`],
      `update add _mc-gitops.${host} 60 TXT ${MARK}`,
    ],
    call: (dns, host) => dns.remove('hello', [{ hostname: host, addresses: [FOUR, SIX] }]),
    isDone: async (server, host) => !(await hasRecord(server, host)),
  },
  {
    ...{ name: 'putText', messages: 5, update: 3 },
    given: () => [],
    call: (dns, host) => dns.putText(host, TEXT),
    isDone: async (server, host) => (await textsAt(server, host)).includes(TEXT),
  },
  {
    ...{ name: 'removeText', messages: 5, update: 3 },
    given: (host) => [`update add ${host} 60 TXT ${TEXT}`],
    call: (dns, host) => dns.removeText(host, TEXT),
    isDone: async (server, host) => !(await textsAt(server, host)).includes(TEXT),
  },
];

describe('G18 G19 G20 the DNS adapter, when the N-th message to the name server goes wrong', () => {
  let knot: NameServer;
  let cases = 0;
  const open = (front: DnsFront, onSignal: () => void = () => undefined): Dns =>
    openRfc2136({
      ...{ owner: OWNER, servers: [front.server], zones: [knot.zone], keyFile: knot.keyFile, ttlS: 60 },
      ...{ clock: systemClock, log: makeLog('silent'), onSignal },
    });
  const nextHost = (): string => `c${(cases += 1)}.${knot.zone}`;
  const count = (fired: number, begun: number): void => {
    console.log(`      ${fired} faults`);
    tally({
      kind: `DNS adapter: each message × ${DNS_FAULTS.length + 1} faults`,
      ...{ fired, unit: 'cases', ms: performance.now() - begun },
    });
  };

  before(async () => {
    knot = await startKnot();
  });
  after(() => knot.stop());

  for (const one of CALLS)
    it(`${one.name}: each message, in each of ${DNS_FAULTS.length} ways, once and from then on: done, or told why not, in time; never half; called again it is done`, async function () {
      this.timeout(300_000);
      const begun = performance.now();
      // The questions of one look are asked at once: for ever from the second of them is as from the first.
      const turns = [one.update, one.update + 1, 1];
      const ways = DNS_FAULTS.flatMap((fault) => [
        ...Array.from({ length: one.messages }, (_, skip) => ({ fault, skip, isLasting: false })),
        ...turns.map((turn) => ({ fault, skip: turn - 1, isLasting: true })),
      ])
        .filter(
          ({ fault, skip, isLasting }) => (skip === one.update - 1 && !isLasting) || !isLie(fault, isLasting),
        )
        .map((way) => ({ ...way, host: nextHost() }));
      await knot.update(...ways.flatMap(({ host }) => one.given(host)));
      const limit = pLimit(AT_ONCE);
      await Promise.all(ways.map((way) => limit(() => failing(one, way))));
      count(ways.length, begun);
    });

  async function failing(
    { name, call, isDone }: Call,
    { fault, skip, isLasting, host }: { fault: DnsFault; skip: number; isLasting: boolean; host: string },
  ): Promise<void> {
    const front = await openDnsFront(knot.server);
    const when = `${name} of ${host}, ${fault}${isLasting ? ' from then on' : ''}, message ${skip + 1}`;
    try {
      front.fail(fault, skip, isLasting);
      await judge(await call(open(front), host), front, when, () => isDone(knot.server, host));
      expect(front.fired(), `${when}: it does not fire`).to.be.at.least(1);
      front.fail(undefined);
      await done(() => call(open(front), host), when);
      expect(await isDone(knot.server, host), `${when}, again`).to.equal(true);
    } finally {
      await front.close();
    }
  }

  async function judge(
    outcome: Outcome<undefined>,
    front: DnsFront,
    when: string,
    isDone: () => Promise<boolean>,
  ): Promise<void> {
    // Throws when it is half done.
    const done = await isDone();
    if (outcome.kind === 'ok') {
      expect(done, `${when}: told as done`).to.equal(true);
      return;
    }
    // A name server is never a failure of the service.
    expect(outcome.kind, `${when}: ${outcome.why}`).to.equal('wait');
    expect(outcome.why, when).to.contain(front.server);
    for (const secret of secretsOf(knot)) expect(JSON.stringify(outcome), when).to.not.contain(secret);
  }

  it('nsupdate is killed while the server has its message: told, and called again it is done', async () => {
    const begun = performance.now();
    for (const one of CALLS) {
      const host = nextHost();
      const given = one.given(host);
      if (given.length > 0) await knot.update(...given);
      const front = await openDnsFront(knot.server);
      let killed = 0;
      front.watch(one.update - 1, () => (killed = killChildren('nsupdate')));
      front.fail('hang', one.update - 1);
      const outcome = await one.call(open(front), host);
      front.fail(undefined);
      expect(killed, one.name).to.equal(1);
      expect(outcome.kind, one.name).to.equal('wait');
      await judge(outcome, front, one.name, () => one.isDone(knot.server, host));
      await done(() => one.call(open(front), host), one.name);
      await front.close();
    }
    count(CALLS.length, begun);
  });

  it(`observe, and the search of the zone: each message, in each of ${DNS_FAULTS.length} ways: what is told is so, or nobody knows; unknown is never absent (G9)`, async function () {
    this.timeout(300_000);
    const begun = performance.now();
    const [host, lost] = [nextHost(), nextHost()];
    await knot.update(...[host, lost].flatMap((name) => CALLS[1]?.given(name) ?? []));
    const ways = DNS_FAULTS.flatMap((fault) =>
      [false, true].flatMap((isLasting) =>
        Array.from({ length: OBSERVED }, (_, skip) => ({ fault, skip, isLasting })),
      ),
    ).filter(({ fault, isLasting }) => !isLie(fault, isLasting));
    const limit = pLimit(AT_ONCE);
    const known = await Promise.all(ways.map((way) => limit(() => observing(way, host, lost))));
    expect(known.filter((one) => one).length, 'those that were told all the same').to.be.greaterThan(0);
    expect(known.filter((one) => !one).length, 'those of which nobody knew').to.be.greaterThan(0);
    count(ways.length, begun);
  });

  async function observing(
    { fault, skip, isLasting }: { fault: DnsFault; skip: number; isLasting: boolean },
    host: string,
    lost: string,
  ): Promise<boolean> {
    const front = await openDnsFront(knot.server);
    const when = `${fault}${isLasting ? ' from then on' : ''}, message ${skip + 1}`;
    let isSearched = false;
    const dns = open(front, () => (isSearched = true));
    try {
      front.fail(fault, skip, isLasting);
      const seen = (await dns.observe([host])).names[host];
      if (seen === undefined || 'elsewhere' in seen) throw new Error('not inside');
      const at = seen.servers[0]?.seen;
      if (at?.known === true) expect(at.value.addresses, when).to.deep.equal([FOUR, SIX]);
      else expect(at?.why, when).to.contain(front.server);
      if (at?.known === true) expect(at.value.mark?.service, when).to.equal('hello');
      await until(`the end of the search, ${when}`, () => isSearched, 60_000);
      front.fail(undefined);
      const after = await until(`what is there, ${when}`, async () => {
        const facts = await dns.observe([host]);
        const now = facts.names[host];
        const isKnown = now !== undefined && 'servers' in now && now.servers[0]?.seen.known === true;
        return isKnown ? facts : undefined;
      });
      const isFound = Object.keys(after.left ?? {}).includes(lost);
      expect(isFound || after.unsearched !== undefined, `${when}: ${lost} is lost`).to.equal(true);
      return at?.known === true;
    } finally {
      await front.close();
    }
  }
});

/** The serial, four questions, the serial again; and the serial and the transfer of the search beside it. */
const OBSERVED = 8;

/**
 * Asked a question, a server that says "nothing here" against the truth is believed: nobody else could be asked. So is one that says
 * a single time that it has no such zone, and tells the zone's serial right before and after.
 */
function isLie(fault: DnsFault, isLasting: boolean): boolean {
  return fault === 'success, not done' || (fault === 'NOTAUTH' && !isLasting);
}

/** All of it, or nothing: throws on anything between. */
async function hasRecord(server: string, host: string): Promise<boolean> {
  const { addresses, texts } = await lookUp(server, host);
  const is = JSON.stringify([addresses, texts.length]);
  if (is === JSON.stringify([[FOUR, SIX], 1])) return true;
  expect(is, `${host} is half done`).to.equal(JSON.stringify([[], 0]));
  return false;
}

/** Called again, without a fault; a machine that stands still for a while has its time. */
async function done(call: () => Promise<Outcome<undefined>>, when: string): Promise<void> {
  await until(`${when}, called again`, async () => {
    const outcome = await call();
    if (outcome.kind === 'ok') return true;
    throw new Error(outcome.why);
  });
}

function secretsOf({ keyFile }: NameServer): string[] {
  const secret = /secret "([^"]+)"/.exec(readFileSync(keyFile, 'utf8'))?.[1] ?? '';
  return [secret, secret.slice(4, 20)];
}

/** The children of this process with that name; how many they were. */
function killChildren(name: string): number {
  const ours = readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [, comm = '', rest = ''] =
        /^\d+ \((.*)\) . (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
      return comm === name && Number(rest) === process.pid;
    } catch {
      // It ended meanwhile.
      return false;
    }
  });
  for (const pid of ours) process.kill(Number(pid), 'SIGKILL');
  return ours.length;
}
