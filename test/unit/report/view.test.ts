import { expect } from 'chai';
import { unknown } from '../../../src/base/outcome.ts';
import type { Trial } from '../../../src/registry/types.ts';
import { makeView, type Seen } from '../../../src/report/view.ts';
import { renderPage } from '../../../src/dashboard/page.tsx';
import { lintDockerfile } from '../../../src/definitions/dockerfile/lint.ts';
import { formatStatus } from '../../../src/report/text.ts';
import type { View } from '../../../src/report/types.ts';
import { desiredOf } from '../../support/definitions.ts';
import { sampleView } from '../../support/sample-view.ts';
import { useView } from './view.kit.ts';

describe('the view', () => {
  const { at, of, seeing } = useView();

  it('has one word for each service, derived from what is so now', () => {
    expect(Object.fromEntries(at.view.services.map(({ name, state }) => [name, state]))).to.deep.equal({
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
    const wanted = at.input.seen.desired.services.find((entry) => entry.service.name === 'hello');
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
      seeing({ plan, promised: { ...at.input.seen.promised, trials: [{ ...trial, phase }] } });
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
    const printed = new Map([
      ['hello', [{ component: 'web', container: 'hello', at: 3, lines: ['no \u001b store'] }]],
    ]);
    const shown = (phase: Trial['phase']): unknown =>
      of(
        'hello',
        makeView({
          ...at.input,
          printed,
          seen: { ...at.input.seen, promised: { ...at.input.seen.promised, trials: [{ ...trial, phase }] } },
        }),
      ).trial?.printed;
    expect(shown('held back')).to.deep.equal([
      { component: 'web', container: 'hello', at: 3, lines: [String.raw`no \u001b store`] },
    ]);
    expect(shown('trying'), 'its log is there').to.equal(undefined);
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
    const observed = { ...at.input.seen.observed, engine: unknown('connect ENOENT') };
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
    const { observed, desired } = at.input.seen;
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
    const { observed } = at.input.seen;
    const [image = ''] = of('docs').desired?.images ?? [];
    const state = { kind: 'present', imageId: 'sha256:1', user: '1000', volumes: ['/data'] } as const;
    const seen = seeing({ observed: { ...observed, images: { ...observed.images, [image]: state } } });
    const told = of('docs', seen).issues.map(({ rule, severity }) => `${severity} ${rule}`);
    expect(told).to.include.members(['warning image/user', 'warning image/volume']);
  });

  it('L10 an l4 service that shows a certificate of another name has a warning; the names stand in it', () => {
    const shown = { kind: 'ok', fingerprint256: 'AB', notAfter: at.input.seen.at + 90 * 86_400_000 } as const;
    const told = (otherNames?: string): string[] =>
      of(
        'metacrypt',
        seeing({
          observed: {
            ...at.input.seen.observed,
            handshakes: {
              'metacrypt.svc.mcp.metacircular.net:8443': {
                ...shown,
                ...(otherNames === undefined ? {} : { otherNames }),
              },
            },
          },
        }),
      )
        .issues.filter(({ rule }) => rule === 'certificate/name')
        .map(({ message }) => message);
    expect(told()).to.deep.equal([]);
    expect(told('DNS:strange.example.net')).to.deep.equal([
      'the service shows a certificate for metacrypt.svc.mcp.metacircular.net:8443 that is for DNS:strange.example.net',
    ]);
  });

  it('a name that others manage and that leads elsewhere is a warning of its service (L20)', () => {
    const { observed } = at.input.seen;
    const [route] = of('docs').routes;
    const hostname = route?.hostname ?? '';
    const told = (...found: string[]): string[] => {
      const names = { [hostname]: { elsewhere: { known: true, value: found } as const } };
      const dns = { driver: 'rfc2136', zones: ['svc.test'], names } as const;
      return of('docs', seeing({ addresses: ['10.0.0.1'], observed: { ...observed, dns } }))
        .issues.filter(({ rule }) => rule === 'dns/elsewhere')
        .map(({ severity, message }) => `${severity}: ${message}`);
    };
    expect(told('10.0.0.1')).to.deep.equal([]);
    expect(told('192.0.2.7')).to.deep.equal([`warning: ${hostname} resolves to 192.0.2.7, not to this node`]);
    expect(told()).to.deep.equal([`warning: ${hostname} does not resolve`]);
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
    const { engine } = at.input.seen.observed;
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
      observed: {
        ...at.input.seen.observed,
        engine: { known: true, value: { ...engine.value, containers } },
      },
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

  it('is the same bytes for the same facts', async () => {
    expect(JSON.stringify(await sampleView())).to.equal(JSON.stringify(await sampleView()));
  });
});
