import { expect } from 'chai';
import { unknown } from '../../../src/base/outcome.ts';
import type { PushState } from '../../../src/node/images/state.ts';
import type { Trial } from '../../../src/registry/types.ts';
import { Secret } from '../../../src/base/secret.ts';
import type { Seen, ViewInput } from '../../../src/report/view.ts';
import { makeView } from '../../../src/report/view.ts';
import { renderPage } from '../../../src/dashboard/page.tsx';
import { lintDockerfile } from '../../../src/definitions/dockerfile/lint.ts';
import { formatStatus } from '../../../src/report/text.ts';
import type { ServiceView, View } from '../../../src/report/types.ts';
import { desiredOf } from '../../support/definitions.ts';
import { CHOOSING, poisoned } from '../../support/poison.ts';
import { sampleInput, sampleView } from '../../support/sample-view.ts';

describe('the view', () => {
  let input: ViewInput & { readonly seen: Seen };
  let view: View;
  const of = (name: string, from: View = view): ServiceView => {
    const found = from.services.find((service) => service.name === name);
    if (found === undefined) throw new Error(`no service ${name}`);
    return found;
  };
  const seeing = (change: Partial<Seen>): View => makeView({ ...input, seen: { ...input.seen, ...change } });

  before(async () => {
    const { seen, ...rest } = await sampleInput();
    if (seen === undefined) throw new Error('nothing was seen');
    input = { ...rest, seen };
    view = makeView(input);
  });

  it('has one word for each service, derived from what is so now', () => {
    expect(Object.fromEntries(view.services.map(({ name, state }) => [name, state]))).to.deep.equal({
      blog: 'changing',
      docs: 'degraded',
      forum: 'orphan',
      hello: 'converged',
      mail: 'refused',
      mcns: 'degraded',
      metacrypt: 'stopped',
      paste: 'waiting',
      wiki: 'held back',
    });
  });

  it('latches nothing: the same service is well again as soon as nothing waits for it', () => {
    const plan = { steps: [], waiting: [], refused: [] };
    expect(of('docs', seeing({ plan })).state).to.equal('converged');
    expect(
      of('hello', seeing({ plan: { ...plan, refused: [{ service: 'hello', why: 'w', hint: 'h' }] } })).state,
    ).to.equal('refused');
  });

  it('L32 has a word for a version that gave way, with why and since when', () => {
    const wanted = input.seen.desired.services.find((entry) => entry.service.name === 'hello');
    const trial = {
      service: 'hello',
      digest: wanted?.digest ?? '',
      since: 7,
      tries: 0,
      why: 'not proved within 60 s: nothing answers',
      file: 'services/hello.toml',
      commit: 'c'.repeat(40),
    };
    const wait = (what: string, until?: number): Seen['plan'] => ({
      steps: [],
      waiting: [{ service: 'hello', for: what, why: 'w', ...(until === undefined ? {} : { until }) }],
      refused: [],
    });
    const seen = (phase: Trial['phase'], plan: Seen['plan']): View =>
      seeing({ plan, promised: { ...input.seen.promised, trials: [{ ...trial, phase }] } });
    const words = [
      seen('trying', wait('ready', 9)),
      seen('trying', wait('ready')),
      seen('returning', wait('return')),
      seen('held back', wait('git')),
      seen('held back', wait('ready')),
      seen('outside', wait('retry', 9)),
    ].map((one) => of('hello', one).state);
    expect(words.slice(1)).to.deep.equal(['degraded', 'returning', 'held back', 'degraded', 'degraded']);
    const held = seen('held back', wait('git'));
    expect(of('hello', held).trial).to.include({ phase: 'held back', since: 7, why: trial.why });
    expect(held.conditions.find((condition) => condition.name === 'services')?.text).to.contain(
      '2 held back',
    );
  });

  it('a service that left git is removing, or refused while the guard holds its removal', () => {
    const desired = desiredOf([]);
    const plan = {
      steps: [],
      waiting: [],
      refused: [{ service: 'hello', why: 'the budget', hint: 'name it' }],
    };
    const gone = seeing({ desired, plan });
    expect([of('hello', gone).state, of('docs', gone).state]).to.deep.equal(['refused', 'removing']);
    expect(of('docs', gone)).to.not.have.property('desired');
  });

  it('L02 an engine that does not answer makes services unknown, not gone', () => {
    const observed = { ...input.seen.observed, engine: unknown('connect ENOENT') };
    const plan = { steps: [], waiting: [], refused: [] };
    const blind = seeing({ observed, plan });
    expect(of('hello', blind)).to.deep.include({ state: 'unknown', observed: [] });
    expect(of('hello', blind).applied).to.deep.equal(of('hello').applied);
    expect(blind.engine).to.deep.equal({ why: 'connect ENOENT' });
    expect(blind.conditions.find((condition) => condition.name === 'engine')).to.include({
      ok: false,
      text: 'connect ENOENT',
    });
  });

  it('has what the rules say of the Dockerfiles of a service, and what its definition silences with the reason', () => {
    const { observed, desired } = input.seen;
    const image = of('hello').desired?.images[0] ?? '';
    const [issue] = lintDockerfile('FROM scratch\nUSER 1000\n', {
      file: 'hello@v1.1.0:Dockerfile',
      service: 'hello',
      silenced: [],
    });
    const silenced = [{ rule: 'dockerfile/volume', reason: 'the base image has it' }];
    const services = desired.services.map((entry) =>
      entry.service.name === 'hello' ? { ...entry, service: { ...entry.service, silenced } } : entry,
    );
    const seen = seeing({
      observed: { ...observed, findings: { [image]: issue === undefined ? [] : [issue] } },
      desired: { ...desired, services },
    });
    expect(of('hello', seen).issues.map(({ file, line, rule }) => [file, line, rule])).to.deep.equal([
      ['hello@v1.1.0:Dockerfile', 2, 'dockerfile/user'],
    ]);
    expect(of('hello', seen).desired?.silenced).to.deep.equal(silenced);
    const page = renderPage(seen, { now: 0, refresh: false });
    expect(page).to.contain('hello@v1.1.0:Dockerfile:2:1 USER 1000');
    expect(page).to.contain('dockerfile/volume: the base image has it');
    expect(formatStatus(seen, 'hello')).to.contain('silenced  dockerfile/volume: the base image has it');
  });

  it('L18 USER and VOLUME of an image that others build are warnings of its service', () => {
    const { observed } = input.seen;
    const [image = ''] = of('docs').desired?.images ?? [];
    const state = { kind: 'present', imageId: 'sha256:1', user: '1000', volumes: ['/data'] } as const;
    const seen = seeing({ observed: { ...observed, images: { ...observed.images, [image]: state } } });
    const told = of('docs', seen).issues.map(({ rule, severity }) => `${severity} ${rule}`);
    expect(told).to.include.members(['warning image/user', 'warning image/volume']);
  });

  it('G10 shows the last lines of a build that is under way, secrets masked, and of none that is done', () => {
    const [paste = ''] = of('paste').desired?.images ?? [];
    const secret = new Secret('hunter2-of-the-build');
    const log = [...Array.from({ length: 300 }, (_, at) => `line ${at}`), `token ${secret.reveal()}`];
    const seen = makeView({ ...input, buildLog: () => log });
    const [build] = of('paste', seen).builds ?? [];
    expect(build?.reference).to.equal(paste);
    expect(build?.lines.length).to.equal(200);
    expect(build?.lines.at(-1)).to.equal('token •••');
    expect(of('hello', seen)).to.not.have.property('builds');
    expect(renderPage(seen, { now: 0, refresh: false })).to.contain('line 299\ntoken •••');
  });

  it('L13 keeps desired, applied and observed apart', () => {
    const { desired, applied, observed } = of('docs');
    expect(desired).to.include({ active: true, heldBack: false });
    expect(applied).to.include({ state: 'running' });
    expect(applied?.commit).to.not.equal(desired?.commit);
    expect(observed.map(({ name, state }) => [name, state])).to.deep.equal([['docs', 'exited']]);
    expect(observed[0]?.since, 'since it ended').to.be.greaterThan(applied?.at ?? Infinity);
    expect(observed[0]?.why).to.contain('137');
  });

  it('says of each container whether it is ready and why not, of each route where it leads and whether it is served', () => {
    expect(of('mcns').observed[0]).to.include({ state: 'running', ready: false, why: 'nothing answers' });
    expect(of('hello').observed.map((container) => container.ready)).to.deep.equal([true, true]);
    const [web, api] = of('hello').routes;
    expect(web).to.include({
      component: 'web',
      name: '',
      mode: 'l7',
      served: true,
      url: 'https://hello.svc.mcp.metacircular.net/',
    });
    expect(web?.notAfter).to.be.a('number');
    expect(api).to.include({ component: 'api', name: 'grpc', mode: 'l4', served: true });
    expect(api).to.not.have.property('url');
    const lease = of('hello').ports.find((port) => port.component === 'web');
    expect(web?.backend).to.equal(`127.0.0.1:${lease?.port ?? 0}`);
    expect(of('mcns').fixedPorts.map(({ host, protocol }) => [host, protocol])).to.deep.equal([
      [53, 'tcp'],
      [53, 'udp'],
    ]);
  });

  it('has the last step of each service with its reason and result', () => {
    expect(of('docs').lastReason).to.include({
      step: 'start-container docs',
      summary: 'container docs is exited',
      result: 'retry',
    });
    expect(of('docs').lastError?.why).to.contain('already allocated');
    expect(of('hello').lastError).to.equal(undefined);
  });

  it('lists foreign containers, and those of another owner under the name of one of our services are foreign too', () => {
    const { engine } = input.seen.observed;
    if (!engine.known) throw new Error('unknown');
    const ours = engine.value.containers.find((container) => container.name === 'hello-web');
    if (ours?.identity === undefined) throw new Error('no hello-web');
    const other = {
      ...ours,
      id: 'x',
      name: 'other-hello',
      identity: { ...ours.identity, owner: 'rift/demo' },
    };
    const containers = [...engine.value.containers, other];
    const shown = seeing({
      observed: { ...input.seen.observed, engine: { known: true, value: { ...engine.value, containers } } },
    });
    expect(shown.foreign.map((entry) => entry.name)).to.deep.equal([
      'buildx_buildkit_default0',
      'postgres-test',
      'other-hello',
    ]);
    expect(of('hello', shown).observed.map((container) => container.name)).to.deep.equal([
      'hello-web',
      'hello-api',
    ]);
  });

  it('G10 has names of environment variables only: no value and no hash, in no patch', () => {
    const json = JSON.stringify(view);
    expect(json).to.contain('/components/web/env/DATABASE_URL');
    for (const hash of ['0123456789abcdef', 'fedcba9876543210', '1111111111111111'])
      expect(json).to.not.contain(hash);
  });

  it('G10 drops hashes from a patch that adds a whole component, or its whole environment', () => {
    const patch = [
      { op: 'add', path: '/components/web', value: { image: 'i', env: { TOKEN: 'cafecafe' } } },
      { op: 'replace', path: '/components/web/env', value: { TOKEN: 'cafecafe' } },
      { op: 'add', path: '/components/web/env/TOKEN', value: 'cafecafe' },
      { op: 'replace', path: '/components', value: [{ env: [{ name: 'TOKEN', hash: 'cafecafe' }] }] },
      { op: 'replace', path: '/active', value: false },
    ] as const;
    const step = {
      id: 1,
      pass: 1,
      service: 'hello',
      kind: 'k',
      subject: 's',
      startedAt: 1,
      because: { summary: 'x', patch },
    };
    const passes = [{ id: 1, startedAt: 1, commit: 'c', trigger: 't', steps: [step] }];
    const shown = makeView({ ...input, passes, history: () => step });
    expect(JSON.stringify(shown)).to.not.contain('cafecafe');
    expect(shown.passes[0]?.steps[0]?.because.patch).to.deep.equal([
      { op: 'add', path: '/components/web', value: { image: 'i', env: ['TOKEN'] } },
      { op: 'replace', path: '/components/web/env', value: ['TOKEN'] },
      { op: 'add', path: '/components/web/env/TOKEN' },
      { op: 'replace', path: '/components', value: [{ env: ['TOKEN'] }] },
      { op: 'replace', path: '/active', value: false },
    ]);
  });

  it('G10 masks a secret that got into any free text, and drops the user of a url', () => {
    const secret = 'pl4nted-S3cret';
    new Secret(secret);
    const shown = makeView(
      poisoned(
        { ...input, sourceUrl: 'https://user:word@git.example.net/r.git', idle: { why: 'w', hint: 'h' } },
        ` ${secret}`,
        [
          ...CHOOSING,
          'commit',
          'trigger',
          'author',
          'node',
          'version',
          'sourceUrl',
          'subject',
          'rule',
          'image',
          'proxyDriver',
          'storageRoot',
          'oid',
          'name',
          'path',
          'tag',
          'value',
          'backend',
        ],
      ),
    );
    const texts: string[] = [];
    const collect = (value: unknown, key: string): void => {
      if (typeof value === 'string' && value.includes(secret)) texts.push(`${key}: ${value}`);
      else if (value !== null && typeof value === 'object')
        for (const [name, part] of Object.entries(value)) collect(part, name);
    };
    collect(shown, '');
    expect(texts.filter((text) => /^(why|hint|message|summary|text): /.test(text)).join('\n')).to.equal('');
    expect(shown.source.url).to.equal('https://git.example.net/r.git');
  });

  it('G53 makes control characters and those that turn the direction visible in every text', () => {
    const text = '\u001b[2J\r\n\u202e\u2066\u0000\u{e0041}\ud800';
    const json = JSON.stringify(makeView(poisoned(input, text, CHOOSING)));
    JSON.parse(json, (key, value: unknown) => {
      if (typeof value === 'string') expect(value, key).to.not.match(/[\p{Cc}\p{Cf}\p{Cs}]/u);
      return value;
    });
    expect(json).to.contain(String.raw`\\u001b[2J\\u000d\\n\\u202e\\u2066\\u0000\\u{e0041}\\ud800`);
  });

  it('is the same bytes for the same facts', async () => {
    expect(JSON.stringify(await sampleView())).to.equal(JSON.stringify(await sampleView()));
  });

  it('before the first pass it says that nothing was looked at, and invents nothing', () => {
    const { node, owner, version, startedAt, sourceUrl, source, proxyDriver } = input;
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
    expect(view.conditions.map(({ name }) => name)).to.not.include('mode');
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
    expect(view.conditions.map(({ name, ok, text }) => [name, ok, text])).to.deep.equal([
      ['git', true, 'answers'],
      ['definitions', false, '2 errors, 1 warning'],
      ['engine', true, 'docker 1'],
      ['proxy', true, 'serves 4 routes'],
      ['certificates', true, 'the first of 5 certificates ends on 2026-04-01'],
      ['dns', true, 'records are not managed: no driver is configured'],
      ['services', false, '6 of 9 need a look: 2 degraded, 1 held back, 1 orphan, 1 refused, 1 waiting'],
    ]);
  });

  it('says what lies on the disk of the engine, and when it is too little for a build', () => {
    const GIB = 2 ** 30;
    const disk = {
      at: input.seen.at,
      imagesBytes: 1.5 * GIB,
      cacheBytes: 300 * 2 ** 20,
      logsBytes: 0,
      minFreeBytes: GIB,
    };
    const found = (change: object): unknown =>
      seeing({ observed: { ...input.seen.observed, disk: { ...disk, ...change } } }).conditions.find(
        ({ name }) => name === 'disk',
      );
    expect(found({ freeBytes: 2 * GIB })).to.deep.equal({
      ...{ name: 'disk', ok: true, text: 'images 1.5 GiB, cache 300 MiB, logs 0 MiB; 2.0 GiB free' },
    });
    expect(found({ freeBytes: GIB / 2 })).to.include({ ok: false });
    expect(found({ cacheBytes: undefined, logsBytes: undefined })).to.include({
      text: 'images 1.5 GiB, cache not told by this engine, logs not seen',
    });
    expect(found({ at: input.seen.at - 12 * 60_000 })).to.include({
      text: 'images 1.5 GiB, cache 300 MiB, logs 0 MiB (measured 12 min ago)',
    });
  });

  it('ImagePushed of a service: False with the reason while its image is not in its registry, True then, and absent where nothing is pushed', () => {
    const reference = of('hello').desired?.images[0] ?? '';
    const told = (push: PushState): unknown =>
      seeing({ observed: { ...input.seen.observed, pushes: { [reference]: push } } })
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
    const { images } = input.seen.observed;
    const image = { kind: 'present', imageId: 'sha256:1', manifestDigest, user: '', volumes: [] } as const;
    const observed = {
      ...input.seen.observed,
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
    const image = input.seen.desired.services.find(({ service }) => service.name === 'hello')!.service
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
    const route = view.services.flatMap(({ routes }) => routes).find(({ mode }) => mode === 'l7');
    if (route === undefined) throw new Error('no l7 route');
    const name = `${route.hostname}:${route.port}`;
    const told = (days: number): unknown => {
      const notAfter = input.seen.at + days * 86_400_000;
      const handshakes = { [name]: { kind: 'ok', fingerprint256: '', notAfter } as const };
      const observed = { ...input.seen.observed, handshakes };
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
      seeing({ addresses: ['10.0.0.1'], observed: { ...input.seen.observed, ...change } }).conditions.find(
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
