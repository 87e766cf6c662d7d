import { expect } from 'chai';
import { digestOf } from '../../../src/base/json.ts';
import type { Issue, Service } from '../../../src/definitions/types.ts';
import { POLICY, good, resolved, rulesOf, serviceText } from './support.ts';

const ALL = `name = "blog"
node = "rift"
paused = true
prune = false
after = ["db"]
generation = 3

[deploy]
strategy = "recreate"
timeout = "1h30m"
stable_for = "500ms"
stop_timeout = "2m"
return = "never"
restart = "manual"
window = { cron = " 0  3 * * sun ", for = "2h", timezone = "Europe/Berlin" }

[[silence]]
rule = "env/secret"
reason = "a public token of the test stand"

[[components]]
name = "web"
image = "registry.example.net/blog:v1.0.0"
after = ["store"]
entrypoint = ["/bin/web", "serve"]
stop_signal = "SIGINT"
replaces = "old_blog"
env = ["TOKEN=abcdef"]

[components.labels]
"org.example.team" = "web"
"org.example.area" = ""

[components.health]
type = "http"
path = "/healthz"
expect = "200-299"
on_failure = "restart"

[components.resources]
memory = "1.5g"
cpus = 0.5
pids = 200
shm = "64m"

[[components.routes]]
port = 443
mode = "l7"

[[components]]
name = "store"
image = "registry.example.net/store:v1.0.0"
health = { type = "exec", command = ["true"], interval = "1m", timeout = "2s", retries = 5, start_period = "90s" }
`;

function only(text: string): { service: Service | undefined; issues: readonly Issue[] } {
  const { desired } = resolved({ 'services/blog.toml': text, 'services/db.toml': serviceText('db') });
  return {
    service: desired.services.find(({ service }) => service.name === 'blog')?.service,
    issues: desired.issues,
  };
}

describe('fields of our own', () => {
  it('are read into milliseconds, bytes and sorted lists', () => {
    const { service, issues } = only(ALL);
    expect(issues).to.deep.equal([]);
    const { components, ...rest } = service ?? { components: [] };
    expect(rest).to.deep.equal({
      name: 'blog',
      node: 'rift',
      active: true,
      path: 'blog',
      paused: true,
      prune: false,
      after: ['db'],
      generation: 3,
      deploy: {
        strategy: 'recreate',
        timeoutMs: 5_400_000,
        stableForMs: 500,
        stopTimeoutS: 120,
        return: 'never',
        restart: 'manual',
        window: { cron: '0 3 * * sun', forMs: 7_200_000, timezone: 'Europe/Berlin' },
      },
      silenced: [{ rule: 'env/secret', reason: 'a public token of the test stand' }],
    });
    const [web, store] = components;
    expect(web).to.deep.include({
      after: ['store'],
      entrypoint: ['/bin/web', 'serve'],
      stopSignal: 'SIGINT',
      replaces: 'old_blog',
      labels: [
        { name: 'org.example.area', value: '' },
        { name: 'org.example.team', value: 'web' },
      ],
      health: {
        type: 'http',
        path: '/healthz',
        expect: [200, 299],
        intervalMs: 10_000,
        timeoutMs: 5_000,
        retries: 3,
        startPeriodMs: 60_000,
        onFailure: 'restart',
      },
      resources: { memoryBytes: 1_610_612_736, cpus: 0.5, pids: 200, shmBytes: 67_108_864 },
    });
    expect(store?.health).to.deep.equal({
      type: 'exec',
      command: ['true'],
      intervalMs: 60_000,
      timeoutMs: 2_000,
      retries: 5,
      startPeriodMs: 90_000,
      onFailure: 'report',
    });
  });

  it('are absent where a file does not have them, or says what holds anyway: the digest of such a service does not change', () => {
    const plain = serviceText('blog', 'volumes = ["/srv/blog:/srv/blog"]\n');
    const said = `${serviceText('blog', 'volumes = ["/srv/blog:/srv/blog"]\nafter = []\nlabels = {}\nresources = {}\n', 'paused = false\nprune = true\nafter = []\ngeneration = 0\n')}\n[deploy]\n`;
    const service = only(plain).service;
    expect(only(said).service).to.deep.equal(service);
    // Of the version before these fields: who upgrades finds every service as it was applied.
    expect(digestOf(service)).to.equal('428d17e10ee5533afb04fb3de62f145f0cde619dbe419b738dd6d6faaeb806f2');
  });

  it('of a node: mode and windows', () => {
    const node = `mode = "observe"\nwindows = [{ cron = "0 3 * * 7", for = "90m", timezone = "UTC" }]\n`;
    const { nodes } = resolved(
      { 'nodes/rift.toml': node, 'nodes/orion.toml': 'mode = "converge"\n' },
      { everywhere: true },
    );
    expect(nodes.get('rift')).to.deep.include({
      mode: 'observe',
      windows: [{ cron: '0 3 * * 7', forMs: 5_400_000, timezone: 'UTC' }],
    });
    expect(nodes.get('orion')).to.not.have.any.keys('mode', 'windows');
  });

  it('a window is a cron expression that comes, for a while, in a time zone that summer time is known of', () => {
    const rules = (cron: string, timezone = 'UTC', length = '1h'): string[] =>
      rulesOf(
        only(
          `${serviceText('blog')}\n[deploy]\nwindow = { cron = "${cron}", for = "${length}", timezone = "${timezone}" }\n`,
        ).issues,
      );
    for (const cron of [
      '* * * * *',
      '*/5 0-6 1,15 jan-mar MON',
      '30 23 29 2 *',
      '0 0 31 2 mon',
      '0 0 * * 0-7',
      '5/20 * * * *',
    ])
      expect(rules(cron), cron).to.deep.equal([]);
    for (const cron of [
      '',
      '* * * *',
      '* * * * * *',
      '60 * * * *',
      '* 24 * * *',
      '0 0 0 * *',
      '0 0 * 13 *',
      '0 0 30 2 *',
      '*/0 * * * *',
      '5-1 * * * *',
      '@daily',
      '0 0 * * mo',
      '*-5 * * * *',
      '1,,2 * * * *',
      '0x1 * * * *',
      '*,1 * * * *',
      '0 0 L * *',
      '0 0 * * 5#2',
      'H * * * *',
      '0 0 ? * *',
    ])
      expect(rules(cron), cron).to.deep.equal(['window/cron']);
    for (const zone of ['', 'Berlin', '+01:00', 'Europe/../Berlin', 'Europe/Atlantis'])
      expect(rules('* * * * *', zone), zone).to.deep.equal(['window/timezone']);
    expect(rules('* * * * *', 'UTC', '169h')).to.deep.equal(['value/duration']);
    expect(rules('* * * * *', 'UTC', '59s')).to.deep.equal(['value/duration']);
  });
});

describe('after, between files', () => {
  const after = (name: string, ...others: string[]): string =>
    serviceText(name, '', `after = ${JSON.stringify(others)}\n`);
  const judged = (
    files: Record<string, string>,
    before: Record<string, string> = {},
  ): Record<string, string[]> => {
    const path = (all: Record<string, string>): Record<string, string> =>
      Object.fromEntries(Object.entries(all).map(([name, text]) => [`services/${name}.toml`, text]));
    const { desired } = resolved(path(files), { lastGood: good(path(before)) });
    const held = desired.services.filter(({ heldBack }) => heldBack).map(({ service }) => service.name);
    return { rules: rulesOf(desired.issues), refused: [...desired.refused], held };
  };

  it('who closes a ring is refused, and keeps its last good state; the others go on', () => {
    const before = { aa: after('aa', 'bb'), bb: serviceText('bb') };
    expect(judged({ ...before, bb: after('bb', 'aa') }, before)).to.deep.equal({
      rules: ['service/after-cycle'],
      refused: [],
      held: ['bb'],
    });
    expect(judged({ aa: after('aa', 'bb'), bb: after('bb', 'aa'), cc: after('cc', 'aa') })).to.deep.equal({
      rules: ['service/after-cycle', 'service/after-cycle'],
      refused: ['aa', 'bb'],
      held: [],
    });
  });

  it('who waits for a service whose file is bad is not held back (L33); who waits for one that went is', () => {
    const before = { aa: after('aa', 'bb'), bb: serviceText('bb') };
    expect(judged({ ...before, bb: 'name = 1' }).refused).to.deep.equal(['bb']);
    expect(judged({ aa: before.aa }, before)).to.deep.equal({
      rules: ['service/after'],
      refused: [],
      held: ['aa'],
    });
  });

  it('a ring of a thousand services is found at once', () => {
    const files = Object.fromEntries(
      Array.from({ length: 1_000 }, (_, at) => [`s${at}`, after(`s${at}`, `s${(at + 1) % 1_000}`)]),
    );
    const { rules } = judged(files);
    expect(rules).to.have.length(1_000);
    expect(new Set(rules)).to.deep.equal(new Set(['service/after-cycle']));
  });
});

describe('silenced rules', () => {
  it('are not told, hold nothing else back, and stay with their reason in the service', () => {
    const silence = '\n[[silence]]\nrule = "env/secret"\nreason = "a public one"\n';
    const text = `${serviceText('blog', 'env = ["TOKEN=abcdef"]\n')}${silence}`;
    expect(rulesOf(only(text.replace(silence, '')).issues)).to.deep.equal(['env/secret']);
    const { service, issues } = only(text);
    expect(issues).to.deep.equal([]);
    expect(service?.silenced).to.deep.equal([{ rule: 'env/secret', reason: 'a public one' }]);
  });
});

describe('[policy] images', () => {
  it('a tag that is no version, beside a digest, is an error unless the policy takes pinned images', () => {
    const text = (tag: string): string => serviceText('blog').replace(':v1.0.0', `:${tag}`);
    const rules = (tag: string, images?: 'pinned'): string[] => {
      const policy = {
        ...POLICY,
        imageHosts: ['registry.example.net'],
        ...(images === undefined ? {} : { images }),
      };
      const input = images === undefined ? {} : { policy };
      return rulesOf(resolved({ 'services/blog.toml': text(tag) }, input).desired.issues);
    };
    const digest = `@sha256:${'0'.repeat(64)}`;
    expect(rules(`latest${digest}`)).to.deep.equal(['image/semver-tag']);
    expect(rules(`latest${digest}`, 'pinned')).to.deep.equal([]);
    expect(rules(`3.21${digest}`, 'pinned')).to.deep.equal([]);
    expect(rules('3.21', 'pinned'), 'without a digest').to.deep.equal(['image/semver-tag']);
    expect(rules(`v1.0.0+1${digest}`, 'pinned')).to.deep.equal(['image/build-metadata']);
  });
});
