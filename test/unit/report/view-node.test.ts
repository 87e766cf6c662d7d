import { expect } from 'chai';
import { known, unknown } from '../../../src/base/outcome.ts';
import type { PushState } from '../../../src/node/images/state.ts';
import type { ProxyFacts, ServerRecord } from '../../../src/node/types.ts';
import { NOBODY } from '../../../src/base/nobody.ts';
import type { Plan } from '../../../src/plan/types.ts';
import type { View } from '../../../src/report/types.ts';
import type { Seen } from '../../../src/report/view.ts';
import { makeView } from '../../../src/report/view.ts';
import { renderPage } from '../../../src/dashboard/page.tsx';
import { formatStatus } from '../../../src/report/text.ts';
import { useView } from './view.kit.ts';

describe('the view of the node as a whole', () => {
  const { at, of, seeing } = useView();

  it('before the first pass it says that nothing was looked at, and invents nothing', () => {
    const { node, owner, version, startedAt, sourceUrl, source, proxyDriver } = at.input;
    const facts = { node, owner, version, startedAt, sourceUrl, source, proxyDriver };
    const empty = makeView({ ...facts, passes: [], history: () => undefined });
    expect(empty).to.deep.include({
      services: [],
      issues: [],
      foreign: [],
      passes: [],
      engine: { why: 'not looked at yet' },
    });
    expect(empty).to.not.have.any.keys('at', 'commit');
    expect(empty.conditions.map((condition) => condition.name)).to.deep.equal(['git']);
  });

  it('L27 says of the whole node that it only observes: in the conditions, on the page and in the status', () => {
    expect(at.view.conditions.map(({ name }) => name)).to.not.include('mode');
    const observing = seeing({ mode: 'observe' });
    expect(observing.conditions[0]).to.deep.equal({
      name: 'mode',
      ok: false,
      text: 'observe: everything is planned and shown, and nothing is touched',
      hint: 'Take mode = "observe" out of nodes/rift.toml to have the node converged.',
    });
    expect(renderPage(observing, { now: 0, refresh: false })).to.contain(
      'everything is planned and shown, and nothing is touched',
    );
    expect(formatStatus(observing)).to.match(/^mode +observe: everything is planned/m);
  });

  it('has a condition for git, definitions, engine, proxy, certificates, dns and services, each with one sentence', () => {
    expect(at.view.conditions.map(({ name, ok, text }) => [name, ok, text])).to.deep.equal([
      ['git', true, 'answers'],
      ['definitions', false, '2 errors, 1 warning'],
      ['engine', true, 'docker 1'],
      ['proxy', true, 'serves 4 routes'],
      ['certificates', true, 'the first of 5 certificates ends on 2026-04-01'],
      ['dns', true, 'records are not managed: no driver is configured'],
      ['services', false, '6 of 9 need a look: 2 degraded, 1 held back, 1 orphan, 1 refused, 1 waiting'],
    ]);
  });

  it('what nobody needs any more and cannot be taken away is a condition of the node, and no service', () => {
    const { plan } = at.input.seen;
    const why = 'certs/old.example.net.pem cannot be removed: EACCES (try 3)';
    const left = { service: NOBODY, for: 'retry', why, until: at.input.seen.at + 8_000 };
    const withLeft = (entry: Plan['waiting'][number]): View =>
      seeing({ plan: { ...plan, waiting: [...plan.waiting, entry] } });
    const view = withLeft(left);
    expect(view.conditions.find(({ name }) => name === 'tidying')).to.deep.equal({
      ...{ name: 'tidying', ok: false, text: `what nobody needs any more is still there: ${why}` },
      hint: 'It is tried again, less often each time; nothing that runs is touched.',
    });
    expect(view.services.map(({ name }) => name)).to.deep.equal(at.view.services.map(({ name }) => name));
    expect(renderPage(view, { now: 0, refresh: false })).to.contain(why);
    for (const harmless of ['busy', 'observe'])
      expect(withLeft({ ...left, for: harmless }).conditions.filter(({ ok }) => !ok)).to.deep.equal(
        at.view.conditions.filter(({ ok }) => !ok),
      );
  });

  it('L34 that the registry was lost, and the file beside it too, is said as long as nothing is stopped or removed for it', () => {
    const { promised, desired } = at.input.seen;
    const of = (lostAt: string): unknown =>
      seeing({ promised: { ...promised, lostAt } }).conditions.find(({ name }) => name === 'registry');
    expect(of(desired.commit.oid)).to.deep.include({ ok: false, hint: 'All goes on with the next commit.' });
    expect(of('f'.repeat(40))).to.equal(undefined);
  });

  it('says what lies on the disk of the engine, and when it is too little for a build', () => {
    const GIB = 2 ** 30;
    const disk = {
      at: at.input.seen.at,
      imagesBytes: 1.5 * GIB,
      cacheBytes: 300 * 2 ** 20,
      logsBytes: 0,
      minFreeBytes: GIB,
    };
    const found = (change: object): unknown =>
      seeing({ observed: { ...at.input.seen.observed, disk: { ...disk, ...change } } }).conditions.find(
        ({ name }) => name === 'disk',
      );
    expect(found({ freeBytes: 2 * GIB })).to.deep.equal({
      ...{ name: 'disk', ok: true, text: 'images 1.5 GiB, cache 300 MiB, logs 0 MiB; 2.0 GiB free' },
    });
    expect(found({ freeBytes: GIB / 2 })).to.include({ ok: false });
    expect(found({ cacheBytes: undefined, logsBytes: undefined })).to.include({
      text: 'images 1.5 GiB, cache not told by this engine, logs not seen',
    });
    expect(found({ at: at.input.seen.at - 12 * 60_000 })).to.include({
      text: 'images 1.5 GiB, cache 300 MiB, logs 0 MiB (measured 12 min ago)',
    });
  });

  it('ImagePushed of a service: False with the reason while its image is not in its registry, True then, and absent where nothing is pushed', () => {
    const reference = of('hello').desired?.images[0] ?? '';
    const told = (push: PushState): unknown =>
      seeing({ observed: { ...at.input.seen.observed, pushes: { [reference]: push } } })
        .services.flatMap(({ conditions = [] }) => conditions)
        .map(({ type, status, reason }) => `${type}=${status} ${reason}`);
    expect(told({ kind: 'none' })).to.deep.equal([]);
    expect(told({ kind: 'pending' })).to.deep.equal(['ImagePushed=False Pending']);
    expect(told({ kind: 'pushing', since: 0 })).to.deep.equal(['ImagePushed=False Pushing']);
    expect(told({ kind: 'failed', at: 0, why: 'down', retryAt: 1 })).to.deep.equal([
      'ImagePushed=False PushFailed',
    ]);
    expect(told({ kind: 'moved', was: 'sha256:1', is: 'sha256:2' })).to.deep.equal([
      'ImagePushed=False Moved',
    ]);
    expect(told({ kind: 'pending', lost: true })).to.deep.equal(['ImagePushed=False Lost']);
    expect(told({ kind: 'pushed' })).to.deep.equal(['ImagePushed=True Pushed']);
  });

  it('ImagePushed=True has the digest, in the view and in the status', () => {
    const reference = of('hello').desired?.images[0] ?? '';
    const manifestDigest = `sha256:${'d'.repeat(64)}`;
    const { images } = at.input.seen.observed;
    const image = { kind: 'present', imageId: 'sha256:1', manifestDigest, user: '', volumes: [] } as const;
    const observed = {
      ...at.input.seen.observed,
      images: { ...images, [reference]: image },
      pushes: { [reference]: { kind: 'pushed' } as const },
    };
    const message = `${reference} is in its registry as ${manifestDigest}`;
    const seen = seeing({ observed });
    expect(of('hello', seen).conditions).to.deep.equal([
      { type: 'ImagePushed', status: 'True', reason: 'Pushed', message },
    ]);
    expect(formatStatus(seen, 'hello')).to.contain(`  condition ImagePushed=True (Pushed): ${message}`);
  });

  it('G3 a service that runs from its local image is converged, whether its push fails, waits or is begun', () => {
    const image = at.input.seen.desired.services.find(({ service }) => service.name === 'hello')!.service
      .components[0]!.image;
    const because = { summary: 's', file: 'services/hello.toml', commit: 'c'.repeat(40) };
    const head = { service: 'hello', subject: image.reference, because };
    const plans: Seen['plan'][] = [
      { steps: [], waiting: [{ service: 'hello', for: 'image push', why: 'down', until: 1 }], refused: [] },
      { steps: [{ ...head, kind: 'push-image', image }], waiting: [], refused: [] },
    ];
    for (const plan of plans) expect(of('hello', seeing({ plan })).state).to.equal('converged');
    const start: Seen['plan']['steps'][number] = { ...head, kind: 'pull-image', image };
    expect(of('hello', seeing({ plan: { steps: [start], waiting: [], refused: [] } })).state).to.equal(
      'changing',
    );
  });

  it('speaks of a certificate 30, 14, 7 and 1 days before its end, also of one that is not ours (L15)', () => {
    const route = at.view.services.flatMap(({ routes }) => routes).find(({ mode }) => mode === 'l7');
    if (route === undefined) throw new Error('no l7 route');
    const name = `${route.hostname}:${route.port}`;
    const told = (days: number): unknown => {
      const notAfter = at.input.seen.at + days * 86_400_000;
      const handshakes = { [name]: { kind: 'ok', fingerprint256: '', notAfter } as const };
      const observed = { ...at.input.seen.observed, handshakes };
      const found = seeing({ observed }).conditions.find((condition) => condition.name === 'certificates');
      return [found?.ok, /(has ended|ends within \d+ days?|ends on)/.exec(found?.text ?? '')?.[0]];
    };
    expect([40, 30, 14, 7, 1, 0].map(told)).to.deep.equal([
      [true, 'ends on'],
      [false, 'ends within 30 days'],
      [false, 'ends within 14 days'],
      [false, 'ends within 7 days'],
      [false, 'ends within 1 day'],
      [false, 'has ended'],
    ]);
  });

  it('an edge that git no longer has, and that may not go yet, is still told as an edge', () => {
    const refused = [{ service: 'web@rift', why: 'over the budget', hint: '' }];
    const view = seeing({ plan: { ...at.input.seen.plan, refused } });
    expect(view.services.find(({ name }) => name === 'web@rift')).to.have.property('edgeOf', 'rift');
    const text = formatStatus(view, 'web@rift');
    expect(text).to.include('edge      of rift, which runs it; here only its routes are (gone from git)');
    expect(text).to.not.match(/applied|observed/);
  });

  it('tells how many of its routes the proxy serves, when it is not all (L09)', () => {
    const { proxy } = at.input.seen.observed;
    if (!proxy.known || !proxy.value.live.known) throw new Error('no proxy');
    const live = known(proxy.value.live.value.slice(1));
    const told = (value: ProxyFacts): unknown => {
      const { conditions } = seeing({ observed: { ...at.input.seen.observed, proxy: known(value) } });
      return conditions.find(({ name }) => name === 'proxy');
    };
    const all = proxy.value.table.length;
    expect(all).to.be.greaterThan(0);
    expect(told(proxy.value)).to.include({ ok: true });
    expect(told({ ...proxy.value, live }))
      .to.include({ ok: false })
      .and.have.property('text')
      .that.contains(`serves ${all - 1} of ${all} route`);
  });

  it('tells a zone that cannot be searched for records that nobody knows any more, and what to do (L08, L14)', () => {
    const unsearched = 'name server ns does not hand over the zone svc.test (AXFR)';
    const dns = { driver: 'rfc2136', zones: ['svc.test'], names: {} } as const;
    const conditionOf = (more: object): unknown =>
      seeing({ observed: { ...at.input.seen.observed, dns: { ...dns, ...more } } }).conditions.find(
        ({ name }) => name === 'dns',
      );
    expect(conditionOf({})).to.deep.equal({ name: 'dns', ok: true, text: 'manages 0 names in svc.test' });
    expect(conditionOf({ unsearched })).to.deep.equal({
      name: 'dns',
      ok: true,
      text: `manages 0 names in svc.test; records that nobody knows any more are not looked for: ${unsearched}`,
      hint: 'See that the key of [mcns] key_file is right, and that it may transfer the zone.',
    });
  });

  it('tells that updates are not taken, and what is wrong with the key file (L14)', () => {
    const name = { zone: 'svc.test', servers: [] };
    const why = 'name server ns did not take the update of a.svc.test: update failed: NOTAUTH';
    const names = { 'a.svc.test': { ...name, failed: { why, retryAt: 1 } }, 'b.svc.test': name };
    const conditionOf = (more: object): unknown =>
      seeing({
        observed: {
          ...at.input.seen.observed,
          dns: { driver: 'rfc2136', zones: ['svc.test'], names, ...more },
        },
      }).conditions.find((one) => one.name === 'dns');
    expect(conditionOf({})).to.deep.equal({
      ...{ name: 'dns', ok: false, text: `not all of 2 names: ${why}` },
      hint: 'Look at the name server, its zone and [mcns] key_file. What is served goes on being served.',
    });
    const keyFault = { why: '[mcns] key_file /k is not there', hint: 'Put it there.' };
    expect(conditionOf({ keyFault })).to.deep.equal({
      ...{ name: 'dns', ok: false, text: keyFault.why, hint: keyFault.hint },
    });
  });

  it('tells what somebody else has under a name of ours, beside our record or alone (L14)', () => {
    const mark = { owner: at.input.owner, service: 'a', addresses: ['10.0.0.1'] };
    const edge = { owner: 'e1/main', service: 'a@n1', addresses: ['10.0.0.7'] };
    const conditionOf = (value: ServerRecord): unknown => {
      const names = {
        'a.svc.test': {
          zone: 'svc.test',
          servers: [{ server: '10.0.0.53', seen: { known: true, value } as const }],
        },
      };
      const dns = { driver: 'rfc2136', zones: ['svc.test'], names } as const;
      const { conditions } = seeing({
        addresses: ['10.0.0.1'],
        observed: { ...at.input.seen.observed, dns },
      });
      return conditions.find(({ name }) => name === 'dns');
    };
    const told = (values: string, names = '1 name'): object => ({
      ...{ name: 'dns', ok: false },
      text: `manages ${names} in svc.test; a.svc.test has a record on name server 10.0.0.53 that is not ours${values}`,
      hint: 'Remove it there, or give the route another host name; foreign records are never written over.',
    });
    const beside = { addresses: ['10.0.0.1', '198.51.100.66'], mark };
    expect(conditionOf(beside)).to.deep.equal(told(': 198.51.100.66'));
    expect(conditionOf({ addresses: ['203.0.113.9'] })).to.deep.equal(told(': 203.0.113.9', '0 names'));
    expect(conditionOf({ addresses: [], foreign: true })).to.deep.equal(told('', '0 names'));
    expect(conditionOf({ addresses: [], foreign: true, alias: 'x.example' })).to.deep.equal(
      told(': CNAME x.example', '0 names'),
    );
    for (const good of [
      { addresses: ['10.0.0.1'], mark },
      { addresses: ['10.0.0.1', '10.0.0.7'], mark, others: [edge] },
      { addresses: ['10.0.0.1'] },
      { addresses: [] },
    ])
      expect(conditionOf(good), JSON.stringify(good)).to.include({ ok: true });
  });

  it('tells names that others manage and that lead elsewhere, and a name server that is down (L14, L20)', () => {
    const names = {
      'a.svc.test': {
        zone: 'svc.test',
        servers: [
          { server: '10.0.0.53', seen: { known: true, value: { addresses: ['10.0.0.1'] } } as const },
        ],
      },
      'docs.example.net': { elsewhere: { known: true, value: ['192.0.2.7'] } as const },
      'well.example.net': { elsewhere: { known: true, value: ['10.0.0.1'] } as const },
    };
    const dns = { driver: 'rfc2136', zones: ['svc.test'], names } as const;
    const conditionOf = (change: Partial<Seen['observed']>): unknown =>
      seeing({ addresses: ['10.0.0.1'], observed: { ...at.input.seen.observed, ...change } }).conditions.find(
        (condition) => condition.name === 'dns',
      );
    expect(conditionOf({ dns })).to.deep.include({
      ok: true,
      text: 'manages 1 name in svc.test; docs.example.net resolves to 192.0.2.7, not to this node',
    });
    const servers = [{ server: '10.0.0.53', seen: unknown('name server 10.0.0.53 does not answer') }];
    const down = { ...dns, names: { 'a.svc.test': { zone: 'svc.test', servers } } };
    expect(conditionOf({ dns: down })).to.deep.include({
      ok: false,
      text: 'name server 10.0.0.53 does not answer',
    });
  });
});
