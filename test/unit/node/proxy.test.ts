import { expect } from 'chai';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, type Clock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { ok, type Outcome } from '../../../src/base/outcome.ts';
import { formatRouteTable, parseRouteTable, routeTableDigest } from '../../../src/base/routetable.ts';
import { openFileProxy } from '../../../src/node/proxy/file.ts';
import { inBatches, openNoProxy, settle, type Proxy } from '../../../src/node/proxy/proxy.ts';
import { changedTable, observedRoutes } from '../../../src/node/proxy/table.ts';
import type { ObservedRoute } from '../../../src/node/types.ts';

const OWNER = 'rift/main';
const l4 = (hostname: string, backend: string, listenerPort = 8443): ObservedRoute => ({
  listenerPort,
  hostname,
  backend,
  mode: 'l4',
  backendTls: false,
  mark: `${OWNER}/svc/comp/${hostname}`,
});
const rules = { listeners: [':8443', '127.0.0.1:9443'], owner: OWNER };

describe('node/proxy', () => {
  let root: string;
  let tablePath: string;
  let statusSocket: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'proxy-'));
    tablePath = join(root, 'routes.toml');
    statusSocket = join(root, 'status.sock');
  });
  afterEach(() => rm(root, { recursive: true }));

  const open = (path = tablePath): Proxy =>
    openFileProxy({
      tablePath: path,
      statusSocket,
      listeners: rules.listeners,
      owner: OWNER,
      log: makeLog('silent'),
    });
  const written = async (): Promise<readonly ObservedRoute[]> => {
    const parsed = parseRouteTable(await readFile(tablePath, 'utf8'));
    if (parsed.kind !== 'ok') throw new Error(parsed.why);
    return observedRoutes(parsed.value.listeners);
  };

  describe('the table', () => {
    it('goes to TOML and back with its marks, unchanged (L09)', () => {
      const routes: ObservedRoute[] = [
        l4('a.example.net', '127.0.0.1:1'),
        {
          ...l4('b.example.net', '127.0.0.1:2'),
          mode: 'l7',
          tlsCert: '/c/b.pem',
          tlsKey: '/c/b.key',
          backendTls: true,
        },
        l4('a.example.net', '127.0.0.1:3', 9443),
      ];
      const changed = changedTable({ listeners: [] }, { kind: 'put', routes }, rules);
      if (changed.kind !== 'ok') throw new Error(changed.why);
      const parsed = parseRouteTable(formatRouteTable(changed.value));
      if (parsed.kind !== 'ok') throw new Error(parsed.why);
      expect(observedRoutes(parsed.value.listeners)).to.deep.equal(routes);
    });

    it('of two addresses with one port serves our routes on both, and shows them once', () => {
      const both = { ...rules, listeners: ['127.0.0.1:8443', '[::1]:8443'] };
      const changed = changedTable(
        { listeners: [] },
        { kind: 'put', routes: [l4('a.example.net', '127.0.0.1:1')] },
        both,
      );
      if (changed.kind !== 'ok') throw new Error(changed.why);
      expect(changed.value.listeners.map(({ routes }) => routes.length)).to.deep.equal([1, 1]);
      expect(observedRoutes(changed.value.listeners)).to.have.lengthOf(1);
    });

    it('moves our routes when the address of a listener changes, and leaves foreign ones where they are', () => {
      const before = {
        listeners: [
          {
            addr: '10.0.0.1:8443',
            routes: [
              { hostname: 'a.example.net', backend: 'b:1', mode: 'l4' as const, owner: `${OWNER}/a/a/` },
              { hostname: 'hand.example.net', backend: 'b:2', mode: 'l4' as const },
            ],
          },
        ],
      };
      const changed = changedTable(before, { kind: 'put', routes: [] }, rules);
      if (changed.kind !== 'ok') throw new Error(changed.why);
      const names = Object.fromEntries(
        changed.value.listeners.map(({ addr, routes }) => [addr, routes.map(({ hostname }) => hostname)]),
      );
      expect(names).to.deep.equal({
        ':8443': ['a.example.net'],
        '127.0.0.1:9443': [],
        '10.0.0.1:8443': ['hand.example.net'],
      });
    });

    it('refuses a port without a listener, a missing mark and an l7 route without certificate', () => {
      const refusal = (route: ObservedRoute): string =>
        changedTable({ listeners: [] }, { kind: 'put', routes: [route] }, rules).kind;
      const { mark, ...unmarked } = l4('a.example.net', 'b:1');
      expect(mark).to.be.a('string');
      expect(refusal(l4('a.example.net', 'b:1', 1234))).to.equal('blocked');
      expect(refusal(unmarked)).to.equal('bug');
      expect(refusal({ ...l4('a.example.net', 'b:1'), mark: 'rift/other/a/a/' })).to.equal('bug');
      expect(refusal({ ...l4('a.example.net', 'b:1'), mode: 'l7' })).to.equal('bug');
    });
  });

  it('shows what the next write does to the listeners, and nothing when they are as they should be', async () => {
    const observed = async (): Promise<object> => {
      const facts = await open().observe();
      if (!facts.known) throw new Error(facts.why);
      return facts.value;
    };
    expect(await observed()).to.have.deep.property('listeners', {
      missing: [':8443', '127.0.0.1:9443'],
      surplus: [],
    });
    const foreign = { hostname: 'hand.example.net', backend: 'b:2', mode: 'l4' as const };
    await writeFile(
      tablePath,
      formatRouteTable({
        listeners: [
          { addr: ':8443', routes: [] },
          { addr: ':1', routes: [] },
          { addr: ':2', routes: [foreign] },
          { addr: ':3', routes: [{ ...foreign, owner: `${OWNER}/a/a/` }] },
        ],
      }),
    );
    expect(await observed()).to.have.deep.property('listeners', {
      missing: ['127.0.0.1:9443'],
      surplus: [':1'],
    });
    await open().put([]);
    expect(await observed()).not.to.have.property('listeners');
    expect((await written()).map(({ listenerPort }) => listenerPort)).to.deep.equal([2, 3]);
  });

  it('without a proxy that runs, the routes are written and the outcome is wait (L02)', async () => {
    const outcome = await open().put([l4('a.example.net', '127.0.0.1:1')]);
    expect(outcome.kind).to.equal('wait');
    expect(outcome).to.have.property('why').that.includes(statusSocket);
    expect(await written()).to.deep.equal([l4('a.example.net', '127.0.0.1:1')]);
    expect((await stat(tablePath)).mode & 0o777).to.equal(0o644);
    expect(await readdir(root)).to.deep.equal(['routes.toml']);
  });

  it('shows what is written, and live as unknown while the proxy is down', async () => {
    const proxy = open();
    expect(await proxy.observe()).to.deep.include({ known: true });
    await proxy.put([l4('a.example.net', '127.0.0.1:1')]);
    const facts = await proxy.observe();
    if (!facts.known) throw new Error(facts.why);
    expect(facts.value.listenerPorts).to.deep.equal([8443, 9443]);
    expect(facts.value.table).to.deep.equal([l4('a.example.net', '127.0.0.1:1')]);
    expect(facts.value.live.known).to.equal(false);
  });

  it('never touches foreign routes: put is blocked, remove changes nothing', async () => {
    const foreign = {
      listeners: [
        {
          addr: ':8443',
          routes: [
            { hostname: 'hand.example.net', backend: '10.0.0.9:1', mode: 'l4' as const },
            {
              hostname: 'other.example.net',
              backend: '10.0.0.9:2',
              mode: 'l4' as const,
              owner: 'rift/two/x/x/',
            },
          ],
        },
      ],
    };
    await writeFile(tablePath, formatRouteTable(foreign));
    const proxy = open();
    for (const name of ['hand.example.net', 'HAND.example.net', 'other.example.net']) {
      const outcome = await proxy.put([l4(name, '127.0.0.1:1')]);
      expect(outcome.kind, name).to.equal('blocked');
      expect(outcome).to.have.property('why').that.includes(name);
    }
    await proxy.put([l4('a.example.net', '127.0.0.1:1')]);
    await proxy.remove([
      { listenerPort: 8443, hostname: 'hand.example.net' },
      { listenerPort: 8443, hostname: 'other.example.net' },
      { listenerPort: 8443, hostname: 'a.example.net' },
    ]);
    expect((await written()).map(({ hostname, mark }) => [hostname, mark])).to.deep.equal([
      ['hand.example.net', undefined],
      ['other.example.net', 'rift/two/x/x/'],
    ]);
  });

  it('takes many changes at once, one that is refused harms no other', async () => {
    const proxy = open();
    const outcomes = await Promise.all([
      ...Array.from({ length: 50 }, (_, index) => proxy.put([l4(`h${index}.example.net`, '127.0.0.1:1')])),
      proxy.put([l4('bad.example.net', '127.0.0.1:1', 1)]),
      proxy.remove([{ listenerPort: 8443, hostname: 'h7.example.net' }]),
    ]);
    expect(outcomes.map(({ kind }) => kind)).to.deep.equal([
      ...Array.from({ length: 50 }, () => 'wait'),
      'blocked',
      'wait',
    ]);
    expect(await written()).to.have.lengthOf(49);
  });

  it('a change that comes just as the last one is settled, whenever that is, is made as well', async () => {
    const { put } = inBatches((batch) => Promise.resolve(settle(batch, ok())));
    for (let later = 0; later < 40; later += 1) {
      await put([]);
      for (let turn = 0; turn < later; turn += 1) await Promise.resolve();
      const second = await Promise.race([put([]), sleep(2_000, 'forgotten')]);
      expect(second, `${later} turns later`).to.have.property('kind', 'ok');
    }
  });

  it('a table that a person broke is never overwritten: blocked with line and column', async () => {
    await writeFile(tablePath, 'listeners = [\n');
    const proxy = open();
    const outcome = await proxy.put([l4('a.example.net', '127.0.0.1:1')]);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome)
      .to.have.property('why')
      .that.includes(tablePath)
      .and.matches(/line \d/);
    expect(await readFile(tablePath, 'utf8')).to.equal('listeners = [\n');
    expect((await proxy.observe()).known).to.equal(false);
  });

  it('a file that cannot be written says path and errno', async () => {
    await writeFile(join(root, 'file'), '');
    await mkdir(join(root, 'directory/routes.toml'), { recursive: true });
    for (const [path, errno] of [
      [join(root, 'file/routes.toml'), 'ENOTDIR'],
      [join(root, 'directory/routes.toml'), 'EISDIR'],
    ] as const) {
      const outcome = await open(path).put([l4('a.example.net', '127.0.0.1:1')]);
      expect(['retry', 'blocked']).to.include(outcome.kind);
      expect(outcome).to.have.property('why').that.includes(path).and.includes(errno);
    }
  });

  it('a missing directory is made, except under /srv (L04)', async () => {
    await open(join(root, 'new/below/routes.toml')).put([l4('a.example.net', '127.0.0.1:1')]);
    expect(await readdir(join(root, 'new/below'))).to.deep.equal(['routes.toml']);
    const outcome = await open('/srv/mc-gitops-test-missing/routes.toml').put([]);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome).to.have.property('why').that.includes('ENOENT');
  });

  it('a status that is not understood is unknown, never live; the change waits', async () => {
    for (const body of ['rubbish', '{}', '{"tableDigest":1}']) {
      const server = createServer((_, response) => response.end(body)).listen(statusSocket);
      await once(server, 'listening');
      try {
        const proxy = openFileProxy({
          tablePath,
          statusSocket,
          listeners: rules.listeners,
          log: makeLog('silent'),
          liveTimeoutMs: 100,
        });
        expect((await proxy.put([l4('a.example.net', '127.0.0.1:1')])).kind).to.equal('wait');
        const facts = await proxy.observe();
        if (!facts.known) throw new Error(facts.why);
        expect(facts.value.live.known).to.equal(false);
      } finally {
        server.close();
        await once(server, 'close');
      }
    }
  });

  describe('a router that finds no table', () => {
    const refused = { at: '2026-01-01T00:00:00.000Z', why: 'route table: ENOENT', tableDigest: null };
    const nothing = { tableDigest: null, live: { listeners: [] } };
    /** What it says one after the other, and from then on the last; undefined: that it has taken what is written. */
    const put = async (
      answers: readonly (object | undefined)[],
      clock: Clock,
    ): Promise<Outcome<undefined>> => {
      let asked = 0;
      const server = createServer((_, response) => {
        const answer = answers[Math.min(asked, answers.length - 1)];
        asked += 1;
        void readFile(tablePath, 'utf8').then(
          (text) => {
            const parsed = answer === undefined ? parseRouteTable(text) : undefined;
            const taken = parsed?.kind === 'ok' ? { tableDigest: routeTableDigest(parsed.value) } : {};
            response.end(JSON.stringify({ ...nothing, ...taken, ...answer }));
          },
          () => response.end(JSON.stringify({ ...nothing, ...answer })),
        );
      }).listen(statusSocket);
      await once(server, 'listening');
      const options = { tablePath, statusSocket, listeners: rules.listeners, owner: OWNER };
      const proxy = openFileProxy({ ...options, log: makeLog('silent'), clock });
      try {
        return await proxy.put([l4('a.example.net', '127.0.0.1:1')]);
      } finally {
        server.close();
        await once(server, 'close');
      }
    };

    it('because it has just begun: a first change is no refused one, and what it writes stays', async () => {
      for (const before of [nothing, { ...nothing, refused }])
        expect(await put([before, { ...nothing, refused }, undefined], systemClock)).to.have.property(
          'kind',
          'ok',
        );
      expect(await written()).to.deep.equal([l4('a.example.net', '127.0.0.1:1')]);
    });

    it('and goes on saying so: it is believed after five seconds, not sooner, as a slow one may not have looked since', async () => {
      let now = 0;
      const clock = {
        now: () => now,
        monotonic: () => now,
        sleep: (ms: number) => Promise.resolve(void (now += ms)),
      };
      const outcome = await put([nothing, { ...nothing, refused }], clock);
      expect(outcome.kind).to.equal('blocked');
      expect(outcome).to.have.property('why').that.includes('ENOENT');
      expect(now).to.be.within(5_000, 5_100);
    });
  });

  it('driver none has no routes and says how to have some', async () => {
    const proxy = openNoProxy();
    expect(await proxy.observe()).to.deep.equal({
      known: true,
      value: { listenerPorts: [], table: [], live: { known: true, value: [] } },
    });
    expect(await proxy.put([])).to.have.property('kind', 'ok');
    expect(await proxy.remove([{ listenerPort: 1, hostname: 'a' }])).to.have.property('kind', 'ok');
    expect(await proxy.put([l4('a.example.net', 'b:1')])).to.have.property('kind', 'blocked');
  });
});
