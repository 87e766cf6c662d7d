import { expect } from 'chai';
import { digestOf } from '../../../src/base/json.ts';
import type { Component } from '../../../src/definitions/types.ts';
import { COMMIT, DEFAULTS, fileOf, hash, L4, POLICY, resolved, rulesOf, serviceText } from './support.ts';

function componentOf(more: string, at = 0): Component {
  const { desired } = resolved({ 'services/a.toml': serviceText('a', more) });
  expect(desired.issues.filter(({ severity }) => severity === 'error')).to.deep.equal([]);
  const found = desired.services[0]?.service.components[at];
  if (found === undefined) throw new Error('no component');
  return found;
}

describe('definitions: what a file becomes', () => {
  it('every default is filled in', () => {
    const { desired } = resolved({ 'services/a.toml': serviceText('a', L4) });
    const [entry] = desired.services;
    expect(entry?.service).to.deep.equal({
      name: 'a',
      node: 'rift',
      active: true,
      path: 'a',
      components: [
        {
          name: 'web',
          container: 'a-web',
          image: {
            reference: 'registry.example.net/a:v1.0.0',
            host: 'registry.example.net',
            repository: 'a',
            tag: 'v1.0.0',
          },
          env: [],
          mounts: [],
          network: 'mcpnet',
          restart: 'unless-stopped',
          routes: [
            { name: '', port: 8443, mode: 'l4', hostname: 'a.svc.mcp.metacircular.net', backendTls: false },
          ],
          ports: [],
        },
      ],
    });
    expect(entry).to.include({ file: 'services/a.toml', commit: COMMIT.oid, heldBack: false });
    expect(entry?.digest).to.equal(digestOf(entry?.service));
    expect(desired).to.deep.include({
      node: 'rift',
      refused: [],
      unreadable: false,
      removals: [],
      issues: [],
    });
  });

  it('an image that services of several nodes build is told with the first of them by name, by its very tag', () => {
    const text = (name: string, node: string, tag: string, top = ''): string =>
      `name = "${name}"\nnode = "${node}"\n${top}[build.images]\nshared = "Dockerfile"\n[[components]]\nname = "web"\nimage = "registry.example.net/shared:${tag}"\n`;
    const elsewhere = (files: Record<string, string>): unknown => resolved(files).desired.builtElsewhere;
    const own = { 'services/own.toml': text('own', 'rift', 'v1.0.0') };
    expect(elsewhere(own)).to.equal(undefined);
    const other = (node: string, tag = 'v1.0.0', top = ''): Record<string, string> => ({
      [`services/of-${node}.toml`]: text(`of-${node}`, node, tag, top),
    });
    expect(elsewhere({ ...own, ...other('deimos'), ...other('atlas'), ...other('zeus') })).to.deep.equal({
      'registry.example.net/shared:v1.0.0': 'atlas',
    });
    expect(elsewhere({ ...own, ...other('zeus') }), 'this node is the first').to.equal(undefined);
    expect(elsewhere({ ...own, ...other('atlas', 'v2.0.0') }), 'another version').to.equal(undefined);
    expect(elsewhere({ ...own, ...other('atlas', 'v1.0.0', 'active = false\n') })).to.equal(undefined);
  });

  it('the defaults of the node come before those of the settings, and the file before both', () => {
    const files = {
      'services/a.toml': serviceText('a', 'user = "1:1"\n' + L4),
      'services/b.toml': serviceText('b', 'restart = "always"\n'),
      'nodes/rift.toml':
        'addresses = ["192.0.2.1"]\nlisteners = [8443]\nhostname_suffix = "Rift.Example.net"\n[defaults]\nnetwork = "other"\nuser = "0:0"\nrestart = "no"\n',
    };
    const { desired, nodes } = resolved(files);
    const [a, b] = desired.services.map(({ service }) => service.components[0]);
    expect(a).to.include({ network: 'other', user: '1:1', restart: 'no' });
    expect(a?.routes[0]?.hostname).to.equal('a.rift.example.net');
    expect(b).to.include({ user: '0:0', restart: 'unless-stopped' });
    expect(nodes.get('rift')).to.deep.equal({
      name: 'rift',
      addresses: ['192.0.2.1'],
      listeners: [8443],
      defaults: { network: 'other', user: '0:0', restart: 'no', hostnameSuffix: 'rift.example.net' },
      own: ['network', 'user', 'restart', 'hostname_suffix'],
    });
  });

  it('values are split off: names and hashes stay, sorted by name', () => {
    const { desired, values } = resolved({
      'services/a.toml': serviceText('a', 'env = ["Z=one", "A=x=y", "E="]'),
    });
    expect(desired.services[0]?.service.components[0]?.env).to.deep.equal([
      { name: 'A', hash: hash('x=y') },
      { name: 'E', hash: hash('') },
      { name: 'Z', hash: hash('one') },
    ]);
    expect([...(values.get('a/web') ?? [])]).to.deep.equal([
      ['Z', 'one'],
      ['A', 'x=y'],
      ['E', ''],
    ]);
    expect(JSON.stringify(desired)).to.not.contain('x=y');
  });

  it('mounts are normalised and sorted by target', () => {
    const { mounts } = componentOf('volumes = ["/srv//a/./x/:/z/", "a-db:/b:ro", "/srv/a:/a:rw"]');
    expect(mounts).to.deep.equal([
      { kind: 'bind', source: '/srv/a', target: '/a', readOnly: false },
      { kind: 'volume', volume: 'a-db', target: '/b', readOnly: true },
      { kind: 'bind', source: '/srv/a/x', target: '/z', readOnly: false },
    ]);
  });

  it('fixed ports have an address, a protocol and one spelling', () => {
    expect(
      componentOf('ports = ["53:53/udp", "192.0.2.1:53:5353", "[2001:DB8:0::1]:80:80/tcp"]').ports,
    ).to.deep.equal([
      { host: 53, container: 53, protocol: 'udp' },
      { ip: '192.0.2.1', host: 53, container: 5353, protocol: 'tcp' },
      { ip: '2001:db8::1', host: 80, container: 80, protocol: 'tcp' },
    ]);
  });

  it('an image keeps its digest, and one without a host stays local', () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    const text = serviceText('a').replace('registry.example.net/a:v1.0.0', `mc/sub/a:1.2.3-rc.1@${digest}`);
    expect(
      resolved({ 'services/a.toml': text }).desired.services[0]?.service.components[0]?.image,
    ).to.deep.equal({
      reference: `mc/sub/a:1.2.3-rc.1@${digest}`,
      repository: 'mc/sub/a',
      tag: '1.2.3-rc.1',
      digest,
    });
  });

  it('a Dockerfile belongs to the components whose repository has its name', () => {
    const text = serviceText('a', '', '[build.images]\na = "./deploy//Dockerfile"\n');
    expect(
      resolved({ 'services/a.toml': text }).desired.services[0]?.service.components[0]?.dockerfile,
    ).to.equal('deploy/Dockerfile');
  });

  it('container names are service and component, once when equal (L12)', () => {
    const text = `${serviceText('mc-proxy')}[[components]]\nname = "web"\nimage = "x:1.0.0"\n`;
    const names = resolved({ 'services/mc-proxy.toml': text }).desired.services[0]?.service.components;
    expect(names?.map(({ container }) => container)).to.deep.equal(['mc-proxy', 'mc-proxy-web']);
  });

  it("a folder of the repository may be the root, and other files are nobody's business", () => {
    const files = {
      'ops/services/team/a.toml': serviceText('a'),
      'ops/removals.toml': 'services = ["old", "old", "b"]',
      'services/b.toml': 'not ours',
      'ops/services/README.md': 'x',
      'ops/nodes/sub/x.toml': 'x',
      'ops/notes.toml': 'x',
    };
    const { desired } = resolved(files, { root: '/ops/' });
    expect(desired.services.map(({ file }) => file)).to.deep.equal(['ops/services/team/a.toml']);
    expect(desired.removals).to.deep.equal(['b', 'old']);
    const told = desired.issues.map(({ file, rule, hint }) => `${file} ${rule} ${hint.split('?')[0] ?? ''}`);
    expect(told).to.deep.equal(['ops/nodes/sub/x.toml file/ignored Did you mean ops/nodes/x.toml']);
  });

  it('the same input gives the same bytes, whatever the order of the files', () => {
    const files = Object.fromEntries(
      ['b', 'a', 'c'].map((name) => [`services/${name}.toml`, serviceText(name, L4)]),
    );
    const other = Object.fromEntries(Object.entries(files).reverse());
    expect(JSON.stringify(resolved(files).desired)).to.equal(JSON.stringify(resolved(other).desired));
  });
});

describe('definitions: what is remembered of a blob', () => {
  const file = fileOf('services/a.toml', serviceText('a', `${L4}hostname = "x.example.org"\n`));
  const ask = (more: object): { network: string | undefined; rules: string[] } => {
    const { desired } = resolved({}, { files: [file], ...more });
    return { network: desired.services[0]?.service.components[0]?.network, rules: rulesOf(desired.issues) };
  };

  it('never outlives the defaults, the policy, the node or the hash that it was made with', () => {
    expect(ask({})).to.deep.equal({ network: 'mcpnet', rules: [] });
    expect(ask({ policy: POLICY }).rules).to.deep.equal(['image/host', 'route/domain']);
    expect(ask({ defaults: { ...DEFAULTS, network: 'other' } })).to.deep.equal({
      network: 'other',
      rules: [],
    });
    expect(ask({ files: [file, fileOf('nodes/rift.toml', 'listeners = [1]')] }).rules).to.deep.equal([
      'route/listener',
    ]);
    expect(ask({})).to.deep.equal({ network: 'mcpnet', rules: [] });
    const env = fileOf('services/e.toml', serviceText('e', 'env = ["A=1"]'));
    const hashes = [hash, (value: string) => `other ${value}`].map(
      (one) =>
        resolved({}, { files: [env], hash: one }).desired.services[0]?.service.components[0]?.env[0]?.hash,
    );
    expect(hashes).to.deep.equal([hash('1'), 'other 1']);
  });

  it('belongs to its path', () => {
    const { desired } = resolved({}, { files: [{ ...file, path: 'services/b.toml' }] });
    expect(rulesOf(desired.issues)).to.deep.equal(['service/file-name']);
  });
});

describe('definitions: what is told', () => {
  it('never has the value of a variable (G10)', () => {
    const texts = [
      'env = ["K=s3cr3t", "K=s3cr3t"]',
      'env = ["K=s3cr3t\\n"]',
      'env = ["s3cr3t"]',
      'env = ["s3-cr3t=s3cr3t"]',
      'env = "s3cr3t"',
      'env = [["s3cr3t"]]',
      'env = { K = "s3cr3t" }',
      'environment = "s3cr3t"',
      'env = ["K=s3cr3t"',
      'env = ["DB_PASSWORD=s3cr3t"]',
      'env = ["PORT=s3cr3t"]',
    ];
    for (const text of texts) {
      const { issues } = resolved({ 'services/a.toml': serviceText('a', text) }).desired;
      expect(issues, text).to.not.deep.equal([]);
      expect(JSON.stringify(issues), text).to.not.match(/s3-?cr3t/);
    }
  });

  it('names what was meant', () => {
    const hint = (more: string, head = ''): string | undefined =>
      resolved({ 'services/a.toml': serviceText('a', more, head) }).desired.issues[0]?.hint;
    expect(hint('volume = []')).to.equal('Did you mean `volumes`?');
    expect(hint('comand = []')).to.equal('Did you mean `cmd`?');
    expect(hint('environment = []')).to.equal('Did you mean `env`?');
    expect(hint('hostname = "x"')).to.equal('`hostname` belongs under [[components.routes]].');
    expect(hint('', 'command = []\n')).to.equal('`cmd` belongs under [[components]].');
    expect(hint('', 'enviroment = []\n')).to.equal('Did you mean `env`? It belongs under [[components]].');
    expect(hint('', 'imag = "x"\n')).to.equal('Did you mean `image`? It belongs under [[components]].');
    expect(hint('privileged = true')).to.equal('Remove it: no field of a definition grants privilege.');
    expect(hint('[components.health]\ntype = "tcpp"')).to.contain('Did you mean "tcp"?');
    expect(hint('[components.helth]')).to.equal('Did you mean `health`?');
    expect(hint('healthcheck = {}')).to.equal('Did you mean `health`?');
    expect(hint('mem_limit = "1g"')).to.equal('`memory` belongs under [components.resources].');
    expect(hint('depends_on = []')).to.equal('Did you mean `after`?');
    expect(hint('stopsignal = "x"')).to.equal('Did you mean `stop_signal`?');
    expect(hint('[components.resources]\nmemroy = "1g"')).to.equal('Did you mean `memory`?');
    expect(hint('', 'generaton = 1\n')).to.equal('Did you mean `generation`?');
    expect(hint('', '[deploy]\nstop_grace_period = "1s"\n')).to.equal('Did you mean `stop_timeout`?');
    expect(hint('', 'strategy = "recreate"\n')).to.equal('`strategy` belongs under [deploy].');
    expect(hint('restart = "allways"')).to.contain('Did you mean "always"?');
    expect(hint('restart = "xyz"')).to.equal('Take one of "no", "on-failure", "unless-stopped", "always".');
    expect(hint(`${'k'.repeat(50)} = 1`)).to.contain('Remove it. Known here: ');
    expect(hint('', 'nmae = 1\n')).to.equal('Did you mean `name`? It is there already: write both as one.');
  });

  it('shows names of files and keys so that nobody is misled by them (G53)', () => {
    const { issues } = resolved({ 'services/a.toml': serviceText('a', '"a\\u202E\\u001b[31m" = 1') }).desired;
    expect(issues[0]?.message).to.match(/^there is no key "a\\u202e\\u001b\[31m" here$/);
    expect(issues[0]?.path).to.equal(String.raw`components[0]."a\u202e\u001b[31m"`);
  });

  it('uses the defaults of the settings when a node has no file', () => {
    const { nodes } = resolved({});
    expect(nodes.get('rift')).to.deep.equal({ name: 'rift', addresses: [], defaults: DEFAULTS });
  });
});
