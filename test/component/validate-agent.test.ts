import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { known, unknown } from '../../src/base/outcome.ts';
import { keyedHash } from '../../src/base/secret.ts';
import { validate } from '../../src/commands/validate.ts';
import { resolve, type LastGood, type Resolution } from '../../src/definitions/resolve.ts';
import type { Issue } from '../../src/definitions/types.ts';
import { run } from '../../src/demo/process.ts';
import type { AcceptedFile } from '../../src/registry/types.ts';
import { formatState, STATE_FORMAT } from '../../src/report/state.ts';
import { parseSettings, type Settings } from '../../src/settings.ts';
import { openSource, type Source } from '../../src/source/source.ts';
import { definitionOptions, planSettings, sourceSettings } from '../../src/wiring.ts';

const KEY = Buffer.alloc(32, 7);
const CHANGES = 60;

/** The agent's half, as `pass.ts` has it: git, definitions, and what was accepted before. */
class AgentSide {
  readonly settings: Settings;
  readonly source: Source;
  accepted: AcceptedFile[] = [];
  nodeFile: Resolution['nodeFile'];

  constructor(repository: string, folder: string) {
    const text = `node = "n1"
[source]
urls = ["${repository}"]
path = "${folder}"
[defaults]
hostname_suffix = "svc.example.net"
[mcproxy]
driver = "file"
listeners = [":443", ":8443"]
[registries."mcr.svc.example.net"]
[policy]
mounts = ["/srv/{service}", "/data/shared"]
networks = ["mcpnet", "lab"]
ports = ["53", "2000-3000"]
hostnames = ["example.org"]
`;
    const parsed = parseSettings(text, 'test', {});
    if (parsed.kind !== 'ok') throw new Error(parsed.why);
    this.settings = parsed.value;
    this.source = openSource(sourceSettings(parsed.value), makeLog('silent'), systemClock);
  }

  /** The state as the agent exports it before it looks at the next commit. */
  state(): string {
    const { defaults, policy, root } = definitionOptions(this.settings, () => '');
    if (policy === undefined || root === undefined) throw new Error('the agent has a policy');
    const promised = { applied: [], leases: [], routes: [], images: [], failures: [], trials: [] };
    return formatState({
      format: STATE_FORMAT,
      node: this.settings.node,
      commit: '',
      settings: planSettings(this.settings, 'k'),
      defaults,
      policy,
      root,
      promised: {
        ...promised,
        files: this.accepted,
        ...(this.nodeFile === undefined ? {} : { nodeFile: this.nodeFile }),
      },
      observed: {
        at: 0,
        engine: unknown('no engine here'),
        images: {},
        pushes: {},
        ports: unknown('not looked at'),
        proxy: known({ listenerPorts: [], table: [], live: known([]) }),
        certificates: {},
        mounts: {},
        probes: {},
      },
    });
  }

  async accept(commit: string): Promise<readonly Issue[]> {
    const files = await this.source.files(commit);
    if (files.kind !== 'ok') throw new Error(files.why);
    const lastGood = new Map<string, LastGood>();
    const before = this.nodeFile === undefined ? this.accepted : [...this.accepted, this.nodeFile];
    for (const { file, oid, commit: from } of before) {
      const bytes = await this.source.readFile(oid);
      if (bytes.kind === 'ok')
        lastGood.set(file, { file: { path: file, oid, bytes: bytes.value }, commit: from });
    }
    const resolution = resolve({
      ...definitionOptions(this.settings, (value) => keyedHash(KEY, value)),
      files: files.value.files,
      refusedFiles: files.value.refused,
      commit: files.value.commit,
      lastGood,
    });
    this.nodeFile = resolution.nodeFile;
    this.accepted = resolution.desired.services.map(({ service, file, oid, commit: from }) => ({
      service: service.name,
      file,
      oid,
      commit: from,
    }));
    return resolution.desired.issues;
  }
}

/** One line of a component, good or bad, for the node's policy or for none. */
const LINES = [
  ...Array.from({ length: 8 }, () => ''),
  'volumes = ["/srv/NAME:/srv/NAME"]',
  'volumes = ["/srv/other:/x"]',
  'volumes = ["/data/shared/x:/x", "named:/y"]',
  'network = "lab"',
  'network = "host"',
  'network = "elsewhere"',
  'ports = ["53:53/udp"]',
  'ports = ["2000:80"]',
  'ports = ["80:80"]',
  'env = ["A_TOKEN=abcdefgh"]',
  'env = ["PORT=1"]',
  'oops = 1',
  'user = "0:0"',
  'restart = "sometimes"',
];
const ROUTES = [
  ...Array.from({ length: 6 }, () => ''),
  '[[components.routes]]\nport = 443\nmode = "l7"\n',
  '[[components.routes]]\nport = 9999\nmode = "l7"\n',
  '[[components.routes]]\nport = 443\nmode = "l7"\nhostname = "www.example.org"\n',
  '[[components.routes]]\nport = 8443\nmode = "l4"\nhostname = "www.evilexample.org"\n',
];

function mostlyNothing(...values: string[]): fc.Arbitrary<string> {
  return fc.constantFrom(...Array.from({ length: 3 * values.length }, () => ''), ...values);
}

const definition = fc
  .record({
    node: fc.constantFrom('n1', 'n1', 'n1', 'n2'),
    line: fc.constantFrom(...LINES),
    route: fc.constantFrom(...ROUTES),
    host: fc.constantFrom(
      ...Array.from({ length: 14 }, () => 'mcr.svc.example.net'),
      'localhost',
      'docker.io',
    ),
    tag: fc.constantFrom('v1.0.0', 'v1.1.0', 'v1.2.0', 'v1.3.0', 'latest'),
    active: fc.boolean(),
  })
  .map(
    ({ node, line, route, host, tag, active }) =>
      (name: string) =>
        `name = "${name}"\nnode = "${node}"\nactive = ${active}\n[[components]]\nname = "${name}"\nimage = "${host}/${name}:${tag}"\n${line.replaceAll('NAME', name)}\n${route}`,
  );

const change = fc.record({
  services: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'sub/d', 'e'), definition, { maxKeys: 4 }),
  node: mostlyNothing(
    'addresses = []\n',
    'listeners = [443]\n',
    'hostname_suffix = "evil.net"\n',
    '[defaults]\nnetwork = "lab"\n',
    'x',
  ),
  removals: mostlyNothing('services = ["a"]\n', 'services = "a"\n'),
  odd: mostlyNothing('link', 'control', 'big', 'utf8', 'deep', 'readme'),
});

describe('validate --state and the agent', () => {
  for (const folder of ['', 'nodes/of']) {
    it(`${CHANGES / 2} generated commits${folder === '' ? '' : ` in the folder ${folder}`}: what one accepts the other accepts, and both say the same`, async function () {
      this.timeout(300_000);
      const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
      console.log(`      seed ${seed} (FUZZ_SEED=${seed} repeats it)`);
      const top = mkdtempSync(join(tmpdir(), 'mcg-validate-agent-'));
      const dir = join(top, 'repo');
      mkdirSync(dir);
      const git = (...args: string[]): Promise<{ stdout: string }> =>
        run('git', ['-C', dir, '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args]);
      await git('init', '--quiet', '--initial-branch=main');
      const agent = new AgentSide(dir, folder);
      const statePath = join(top, 'state.json');
      let accepted = 0;
      let refused = 0;
      try {
        for (const one of fc.sample(change, { numRuns: CHANGES / 2, seed })) {
          await git('rm', '-r', '--quiet', '--ignore-unmatch', '--', '.');
          writeChange(join(dir, folder), one);
          await git('add', '--all');
          await git('commit', '--quiet', '--allow-empty', '--message', 'change');
          writeFileSync(statePath, agent.state());
          let out = '';
          let err = '';
          const code = await validate(
            dir,
            { format: 'json', strict: false, color: false, node: 'n1', state: [statePath] },
            { out: (text) => void (out += text), err: (text) => void (err += text) },
          );
          const said = await agent.accept((await git('rev-parse', 'HEAD')).stdout.trim());
          // An agent reads only what is a definition: what lies beside is told to whoever looks at the directory.
          const own = (JSON.parse(out) as Issue[]).filter(({ rule }) => rule !== 'file/ignored');
          const told = own.map(placeOf);
          expect(told, `${JSON.stringify(one)} ${err}`).to.deep.equal(said.map(placeOf));
          const isGood = !said.some(({ severity }) => severity === 'error');
          expect(code).to.equal(isGood ? 0 : 1);
          if (isGood) accepted += 1;
          else refused += 1;
        }
      } finally {
        rmSync(top, { recursive: true });
      }
      console.log(`      ${accepted} accepted, ${refused} refused`);
      expect(accepted).to.be.above(0);
      expect(refused).to.be.above(0);
    });
  }
});

function placeOf({ file, line, column, path, rule, severity, message, hint }: Issue): object {
  return { file, line, column, path, rule, severity, message, hint };
}

function writeChange(base: string, one: typeof change extends fc.Arbitrary<infer T> ? T : never): void {
  const put = (path: string, content: string): void => {
    mkdirSync(dirname(join(base, path)), { recursive: true });
    writeFileSync(join(base, path), content);
  };
  put('services/README.md', 'no definition');
  for (const [path, text] of Object.entries(one.services))
    put(`services/${path}.toml`, text(path.slice(path.lastIndexOf('/') + 1)));
  if (one.node !== '') put('nodes/n1.toml', one.node);
  if (one.removals !== '') put('removals.toml', one.removals);
  if (one.odd === 'link') symlinkSync('a.toml', join(base, 'services/link.toml'));
  if (one.odd === 'control') put('services/x\u202e.toml', 'x');
  if (one.odd === 'big') put('services/big.toml', ' '.repeat(256 * 1024 + 1));
  if (one.odd === 'utf8') writeFileSync(join(base, 'services/utf.toml'), Buffer.from([0x61, 0xff]));
  if (one.odd === 'deep') put(`services/${'d/'.repeat(33)}a.toml`, 'x');
  if (one.odd === 'readme') put('nodes/sub/x.toml', 'no node');
}
