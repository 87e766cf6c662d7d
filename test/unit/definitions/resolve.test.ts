import { expect } from 'chai';
import { digestOf } from '../../../src/base/json.ts';
import type { Component, Elsewhere } from '../../../src/definitions/types.ts';
import { COMMIT, DEFAULTS, POLICY, fileOf, good, hash, resolved, rulesOf, serviceText } from './support.ts';

function componentOf(more: string, at = 0): Component {
  const { desired } = resolved({ 'services/a.toml': serviceText('a', more) });
  expect(desired.issues.filter(({ severity }) => severity === 'error')).to.deep.equal([]);
  const found = desired.services[0]?.service.components[at];
  if (found === undefined) throw new Error('no component');
  return found;
}

const L4 = '[[components.routes]]\nport = 8443\nmode = "l4"\n';

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

describe('definitions: what is in force', () => {
  const OLD = serviceText('a', L4);
  const BAD = serviceText('a', 'oops = 1\n');

  it('a bad file holds back its own service only; its last good state stays (L33)', () => {
    const { desired } = resolved(
      { 'services/a.toml': BAD, 'services/b.toml': serviceText('b') },
      { lastGood: good({ 'services/a.toml': OLD }) },
    );
    const [a, b] = desired.services;
    expect(a).to.deep.include({ oid: fileOf('', OLD).oid, commit: 'a'.repeat(40), heldBack: true });
    expect(b).to.include({ commit: COMMIT.oid, heldBack: false });
    expect(desired).to.deep.include({ refused: [], unreadable: true });
    expect(desired.issues).to.have.length(1);
    expect(desired.issues[0]).to.include({ rule: 'key/unknown', service: 'a', line: 7, column: 1 });
  });

  it('a bad file without a good state is refused by name', () => {
    const { desired } = resolved({ 'services/a.toml': BAD });
    expect(desired).to.deep.include({ services: [], refused: ['a'], unreadable: true });
  });

  it('an unchanged file is told by the commit that brought it', () => {
    const { desired } = resolved({ 'services/a.toml': OLD }, { lastGood: good({ 'services/a.toml': OLD }) });
    expect(desired.services[0]).to.include({ commit: 'a'.repeat(40), heldBack: false });
  });

  it('a bad file that was moved to another folder falls back on the state of the old place', () => {
    const { desired } = resolved(
      { 'services/x/a.toml': BAD },
      { lastGood: good({ 'services/a.toml': OLD }) },
    );
    expect(desired.services[0]).to.include({ file: 'services/a.toml', heldBack: true });
  });

  it('a file of another node is not the moved one, although it has its name', () => {
    const before = serviceText('a', 'volumes = ["/srv/a:/srv/a"]');
    const { desired } = resolved(
      { 'services/orion/a.toml': before.replace('rift', 'orion') },
      { lastGood: good({ 'services/rift/a.toml': before }) },
    );
    expect(desired).to.deep.include({ services: [], issues: [], refused: [], unreadable: false });
  });

  it('a symbolic link in place of a file holds the service back and lets removals wait', () => {
    const more = { refusedFiles: [{ path: 'services/a.toml', why: 'it is a symbolic link' }] };
    const { desired } = resolved({}, { ...more, lastGood: good({ 'services/a.toml': OLD }) });
    expect(desired.services[0]).to.include({ heldBack: true });
    expect(desired.unreadable).to.equal(true);
    expect(desired.issues[0]).to.include({ rule: 'file/refused', service: 'a', line: 1, column: 1 });
    expect(resolved({}, more).desired.refused).to.deep.equal(['a']);
  });

  it('a last good state that a newer policy forbids is not in force either', () => {
    const mounted = serviceText('a', 'volumes = ["/data/a:/data"]\n');
    const { desired } = resolved(
      { 'services/a.toml': mounted },
      { lastGood: good({ 'services/a.toml': mounted }), policy: POLICY },
    );
    expect(desired).to.deep.include({ services: [], refused: ['a'] });
    expect(rulesOf(desired.issues)).to.include('volume/policy');
  });

  it("another node's definitions are left alone, good or bad", () => {
    const files = {
      'services/a.toml': OLD,
      'services/b.toml': serviceText('b', 'oops = 1\n').replace('rift', 'orion'),
      'services/c.toml': serviceText('c').replace('rift', 'orion'),
    };
    const { desired, values } = resolved(files);
    expect(desired.services.map(({ service }) => service.name)).to.deep.equal(['a']);
    expect(desired).to.deep.include({ refused: [], unreadable: false, issues: [] });
    expect([...values.keys()]).to.deep.equal(['a/web']);
  });

  it('a file whose node cannot be read may be ours: removals wait', () => {
    const { desired } = resolved({ 'services/b.toml': 'name = "b"\nnode = [' });
    expect(desired).to.deep.include({ unreadable: true, refused: ['b'] });
  });

  it('the policy of this node says nothing about the services of another', () => {
    const files = {
      'services/a.toml': serviceText('a', 'volumes = ["/data:/data"]').replace('rift', 'orion'),
    };
    expect(resolved(files, { policy: POLICY, everywhere: true }).desired.issues).to.deep.equal([]);
  });
});

describe('definitions: the file of a node', () => {
  const A = serviceText('a', L4);

  it('when it is bad, its last good state stays in force', () => {
    const { desired } = resolved(
      { 'services/a.toml': A, 'nodes/rift.toml': 'oops = 1' },
      { lastGood: good({ 'nodes/rift.toml': 'hostname_suffix = "old.example.net"' }) },
    );
    expect(desired.services[0]?.service.components[0]?.routes[0]?.hostname).to.equal('a.old.example.net');
    expect(rulesOf(desired.issues)).to.deep.equal(['key/unknown']);
  });

  it('when it is bad and never was good, nothing of the node changes', () => {
    const { desired } = resolved(
      { 'services/a.toml': A, 'nodes/rift.toml': 'oops = 1', 'nodes/orion.toml': 'oops = 1' },
      { lastGood: good({ 'services/a.toml': A }) },
    );
    expect(desired).to.deep.include({ services: [], refused: ['a'], unreadable: true });
    expect(rulesOf(desired.issues)).to.deep.equal(['key/unknown', 'node/bad']);
  });

  it('when it is a symbolic link, its last good state stays in force', () => {
    const { desired } = resolved(
      { 'services/a.toml': A },
      {
        refusedFiles: [{ path: 'nodes/rift.toml', why: 'it is a symbolic link' }],
        lastGood: good({ 'nodes/rift.toml': 'hostname_suffix = "old.example.net"' }),
      },
    );
    expect(desired.services[0]?.service.components[0]?.routes[0]?.hostname).to.equal('a.old.example.net');
  });

  it('when it cannot be read and never was good, nothing of the node changes either', () => {
    const refusedFiles = [{ path: 'nodes/rift.toml', why: 'it is a symbolic link' }];
    expect(resolved({ 'services/a.toml': A }, { refusedFiles }).desired).to.deep.include({
      services: [],
      refused: ['a'],
    });
  });

  it('goes on from its last good state when the repository is too large', () => {
    const files = Object.fromEntries(Array.from({ length: 20_001 }, (_, at) => [`other/${at}`, '']));
    const { desired, nodeFile } = resolved(files, {
      lastGood: good({ 'services/a.toml': A, 'nodes/rift.toml': 'hostname_suffix = "old.example.net"' }),
    });
    expect(desired.services[0]?.service.components[0]?.routes[0]?.hostname).to.equal('a.old.example.net');
    expect(nodeFile).to.include({ file: 'nodes/rift.toml', commit: 'a'.repeat(40) });
  });

  it('is told with its blob and commit, so that it can be accepted', () => {
    const text = 'hostname_suffix = "new.example.net"';
    const { nodeFile } = resolved({ 'nodes/rift.toml': text });
    expect(nodeFile).to.deep.equal({
      file: 'nodes/rift.toml',
      oid: fileOf('', text).oid,
      commit: COMMIT.oid,
    });
    const lastGood = good({ 'nodes/rift.toml': text });
    expect(resolved({ 'nodes/rift.toml': text }, { lastGood }).nodeFile?.commit).to.equal('a'.repeat(40));
    expect(resolved({ 'nodes/rift.toml': 'oops' }, { lastGood }).nodeFile?.oid).to.equal(
      fileOf('', text).oid,
    );
    expect(resolved({}).nodeFile).to.equal(undefined);
  });

  it('may not widen the policy: a suffix or a network that the settings do not allow is refused', () => {
    const text = 'hostname_suffix = "example.org"\n[defaults]\nnetwork = "backend"\n';
    const { desired } = resolved({ 'nodes/rift.toml': text }, { policy: POLICY });
    expect(rulesOf(desired.issues)).to.deep.equal(['route/domain', 'network/policy']);
    expect(resolved({ 'nodes/rift.toml': text }).desired.issues).to.deep.equal([]);
  });

  it('a bad list of removals lets all removals wait', () => {
    const { desired } = resolved({ 'removals.toml': 'services = "a"' });
    expect(desired).to.deep.include({ removals: [], unreadable: true });
  });
});

describe('definitions: who keeps a name or port (L16)', () => {
  const route = (hostname: string): string => `${L4}hostname = "${hostname}"\n`;
  const names = (files: Record<string, string>, before: Record<string, string> = {}): string[] =>
    resolved(files, { lastGood: good(before) }).desired.services.map(
      ({ service, heldBack }) => `${service.name}${heldBack ? ' (held back)' : ''}`,
    );

  it('of two newcomers both are refused', () => {
    const files = {
      'services/a.toml': serviceText('a', route('x.y')),
      'services/b.toml': serviceText('b', route('X.Y')),
    };
    const { desired } = resolved(files);
    expect(desired).to.deep.include({ services: [], refused: ['a', 'b'] });
    expect(rulesOf(desired.issues)).to.deep.equal(['route/duplicate', 'route/duplicate']);
    expect(desired.issues[0]?.message).to.equal('x.y:8443 is also claimed by "b" (services/b.toml)');
  });

  it('the incumbent keeps it and the newcomer is refused, told with its name', () => {
    const a = serviceText('a', route('x.y'));
    const files = { 'services/a.toml': a, 'services/b.toml': serviceText('b', route('x.y')) };
    const { desired } = resolved(files, { lastGood: good({ 'services/a.toml': a }) });
    expect(desired.services.map(({ service }) => service.name)).to.deep.equal(['a']);
    expect(desired.issues).to.have.length(1);
    expect(desired.issues[0]?.message).to.equal(
      'x.y:8443 is also claimed by "a" (services/a.toml), which has it already',
    );
  });

  it('a newcomer with a good state falls back on it', () => {
    const a = serviceText('a', route('x.y'));
    const b = serviceText('b', route('z.y'));
    const files = { 'services/a.toml': a, 'services/b.toml': serviceText('b', route('x.y')) };
    expect(names(files, { 'services/a.toml': a, 'services/b.toml': b })).to.deep.equal([
      'a',
      'b (held back)',
    ]);
  });

  it('who falls back keeps what it had: the next in the chain is refused too', () => {
    const before = {
      'services/a.toml': serviceText('a', route('one.y')),
      'services/c.toml': serviceText('c', route('two.y')),
    };
    // a wants what c has, b wants what a would give up.
    const files = {
      'services/a.toml': serviceText('a', route('two.y')),
      'services/b.toml': serviceText('b', route('one.y')),
      'services/c.toml': before['services/c.toml'],
    };
    expect(names(files, before)).to.deep.equal(['a (held back)', 'c']);
  });

  it('two services may swap their names in one commit', () => {
    const before = {
      'services/a.toml': serviceText('a', route('one.y')),
      'services/b.toml': serviceText('b', route('two.y')),
    };
    const files = {
      'services/a.toml': serviceText('a', route('two.y')),
      'services/b.toml': serviceText('b', route('one.y')),
    };
    expect(names(files, before)).to.deep.equal(['a', 'b']);
  });

  it('a quarantined file goes on claiming what its last good state has', () => {
    const before = { 'services/a.toml': serviceText('a', route('x.y')) };
    const files = { 'services/a.toml': 'oops', 'services/b.toml': serviceText('b', route('x.y')) };
    expect(names(files, before)).to.deep.equal(['a (held back)']);
  });

  it('a deleted file claims nothing any more', () => {
    const before = { 'services/a.toml': serviceText('a', route('x.y')) };
    expect(names({ 'services/b.toml': serviceText('b', route('x.y')) }, before)).to.deep.equal(['b']);
  });

  it('a service of another node is a newcomer to ours, and host names are judged over all nodes', () => {
    const a = serviceText('a', route('x.y'));
    const files = {
      'services/a.toml': a,
      'services/b.toml': serviceText('b', route('x.y')).replace('rift', 'orion'),
    };
    expect(names(files, { 'services/a.toml': a })).to.deep.equal(['a']);
    expect(names(files)).to.deep.equal([]);
  });

  it('the same fixed port on two nodes, addresses or protocols is no conflict', () => {
    const files = {
      'services/a.toml': serviceText('a', 'ports = ["192.0.2.1:53:53/udp"]'),
      'services/b.toml': serviceText('b', 'ports = ["192.0.2.2:53:53/udp"]'),
      'services/c.toml': serviceText('c', 'ports = ["53:53/tcp"]'),
      'services/d.toml': serviceText('d', 'ports = ["53:53/udp"]').replace('rift', 'orion'),
    };
    expect(names(files)).to.deep.equal(['a', 'b', 'c']);
  });

  it('twice in one file is told at the later place', () => {
    const more = `ports = ["53:53/udp", "0.0.0.0:53:54/udp"]\n${L4}name = "a"\n${L4}name = "b"\n`;
    const { desired } = resolved({ 'services/a.toml': serviceText('a', more) });
    expect(desired.issues.map(({ path }) => path)).to.deep.equal([
      'components[0].ports[1]',
      'components[0].routes[1].port',
    ]);
  });

  it('an active service with volumes does not move to another node; without them, or inactive, it does', () => {
    const moved = (more: string, head = ''): string[] => {
      const before = serviceText('a', more, head);
      const files = { 'services/a.toml': before.replace('rift', 'orion') };
      const { desired } = resolved(files, { lastGood: good({ 'services/a.toml': before }) });
      return [
        ...desired.services.map(({ heldBack }) => (heldBack ? 'stays' : 'runs')),
        ...rulesOf(desired.issues),
      ];
    };
    expect(moved('volumes = ["a-db:/db"]')).to.deep.equal(['stays', 'service/node-move']);
    expect(moved('')).to.deep.equal([]);
    expect(moved('volumes = ["a-db:/db"]', 'active = false\n')).to.deep.equal([]);
  });

  it('the new node refuses it too, until the service was inactive or gone on the old one', () => {
    const on = (node: string, head = ''): Record<string, string> => ({
      'services/a.toml': serviceText('a', 'volumes = ["a-db:/db"]', head).replace('rift', node),
    });
    let elsewhere: readonly Elsewhere[] = [];
    const commit = (files: Record<string, string>): string => {
      const { desired, ...rest } = resolved(files, { node: 'orion', elsewhere });
      elsewhere = rest.elsewhere;
      return `${desired.services.length === 1 ? 'runs' : 'none'} ${rulesOf(desired.issues).join()}`.trim();
    };
    expect(commit(on('rift'))).to.equal('none');
    expect(elsewhere).to.deep.equal([{ service: 'a', node: 'rift' }]);
    expect(commit(on('orion'))).to.equal('none service/node-move');
    expect(commit({ ...on('orion'), 'README.md': 'x' }), 'also under the next commit').to.contain(
      'node-move',
    );
    expect(commit(on('orion', 'active = false\n')), 'it may stand there at rest').to.equal('runs');
    expect(commit(on('orion')), 'the old node still runs it').to.contain('node-move');
    expect(commit(on('rift', 'active = false\n'))).to.equal('none');
    expect(commit(on('orion'))).to.equal('runs');
    expect(elsewhere).to.deep.equal([]);
    const served = serviceText(
      'a',
      'volumes = ["a-db:/db"]\n[[components.routes]]\nport = 443\nmode = "l7"\nedge = ["orion"]',
    );
    const before = { 'services/a.toml': served };
    commit(before);
    const moved = { 'services/a.toml': served.replace('"rift"', '"orion"').replace('edge = ["orion"]', '') };
    const there = resolved(moved, { node: 'orion', elsewhere, lastGood: good(before) });
    expect(rulesOf(there.desired.issues), 'also where it was the edge of it').to.include('service/node-move');
    commit(on('rift'));
    const both = {
      'one/a.toml': on('rift')['services/a.toml'] ?? '',
      'two/a.toml': on('orion')['services/a.toml'] ?? '',
    };
    expect(
      commit(Object.fromEntries(Object.entries(both).map(([path, text]) => [`services/${path}`, text]))),
    ).to.equal('runs');
    commit(on('rift'));
    commit({});
    expect(commit(on('orion')), 'gone for a commit').to.equal('runs');
  });
});

describe('definitions: limits, at the limit and one past it (G46)', () => {
  const rules = (files: Record<string, string | Uint8Array>): string[] => [
    ...new Set(rulesOf(resolved(files).desired.issues)),
  ];
  const many = (count: number, made: (at: number) => string): string =>
    Array.from({ length: count }, (_, at) => made(at)).join('');
  const list = (count: number, made: (at: number) => string): string =>
    `[${Array.from({ length: count }, (_, at) => JSON.stringify(made(at))).join(', ')}]`;
  const a = (more: string): Record<string, string> => ({ 'services/a.toml': serviceText('a', more) });

  it('a file of 256 KiB', () => {
    const sized = (bytes: number): string => serviceText('a').padEnd(bytes, '#');
    expect(rules({ 'services/a.toml': sized(256 * 1024) })).to.deep.equal([]);
    expect(rules({ 'services/a.toml': sized(256 * 1024 + 1) })).to.deep.equal(['file/size']);
  });

  it('20,000 files', () => {
    const files = (count: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`other/${at}`, '']));
    expect(rules(files(20_000))).to.deep.equal([]);
    const { desired } = resolved(files(20_001), { lastGood: good(a('')) });
    expect(rulesOf(desired.issues)).to.deep.equal(['file/count']);
    expect(desired.unreadable).to.equal(true);
    expect(desired.services.map(({ heldBack }) => heldBack)).to.deep.equal([true]);
  });

  it('64 MiB of files', () => {
    const part = new Uint8Array(1024 * 1024);
    const files = (count: number, more: number): Record<string, Uint8Array> => ({
      ...Object.fromEntries(Array.from({ length: count }, (_, at) => [`other/${at}`, part])),
      'other/more': new Uint8Array(more),
    });
    expect(rules(files(64, 0))).to.deep.equal([]);
    expect(rules(files(64, 1))).to.deep.equal(['file/count']);
  });

  it('32 deep', () => {
    // The document, components, its element and cmd are above the first array.
    const deep = (count: number): string => `cmd = ${'['.repeat(count)}${']'.repeat(count)}\n`;
    expect(rules(a(deep(30)))).to.deep.equal(['value/type']);
    expect(rules(a(deep(31)))).to.deep.equal(['file/depth']);
  });

  it('1,000 services a node; what runs already stays', () => {
    const files = (count: number): Record<string, string> =>
      Object.fromEntries(
        Array.from({ length: count }, (_, at) => [`services/s${at}.toml`, serviceText(`s${at}`)]),
      );
    expect(rules(files(1_000))).to.deep.equal([]);
    const { desired } = resolved(files(1_001), { lastGood: good(files(999)) });
    expect(rulesOf(desired.issues)).to.deep.equal(['service/limit', 'service/limit']);
    expect(desired.services).to.have.length(999);
    expect(desired.refused).to.deep.equal(['s1000', 's999']);
  });

  it('20 components', () => {
    const text = (count: number): string =>
      `name = "a"\nnode = "rift"\n${many(count, (at) => `[[components]]\nname = "c${at}"\nimage = "x:1.0.0"\n`)}`;
    expect(rules({ 'services/a.toml': text(20) })).to.deep.equal([]);
    expect(rules({ 'services/a.toml': text(21) })).to.deep.equal(['service/components']);
  });

  it('20 routes, 50 fixed ports, 50 volumes, 200 strings of a command', () => {
    const routes = (count: number): string =>
      many(count, (at) => `[[components.routes]]\nname = "r${at}"\nport = ${at + 1}\nmode = "l4"\n`);
    expect(rules(a(routes(20)))).to.deep.equal([]);
    expect(rules(a(routes(21)))).to.deep.equal(['route/limit']);
    expect(rules(a(`ports = ${list(50, (at) => `${at + 1}:1`)}`))).to.deep.equal([]);
    expect(rules(a(`ports = ${list(51, (at) => `${at + 1}:1`)}`))).to.deep.equal(['ports/limit']);
    expect(rules(a(`volumes = ${list(50, (at) => `v:/v${at}`)}`))).to.deep.equal([]);
    expect(rules(a(`volumes = ${list(51, (at) => `v:/v${at}`)}`))).to.deep.equal(['volume/limit']);
    expect(rules(a(`cmd = ${list(200, String)}`))).to.deep.equal([]);
    expect(rules(a(`cmd = ${list(201, String)}`))).to.deep.equal(['component/cmd']);
    expect(rules(a(`cmd = ["${'x'.repeat(32 * 1024)}"]`))).to.deep.equal([]);
    expect(rules(a(`cmd = ["${'x'.repeat(32 * 1024)}", "y"]`))).to.deep.equal(['component/cmd']);
  });

  it('100 variables of 4 KiB each', () => {
    const entry = (bytes: number): string => `V=${'é'.repeat((bytes - 2) / 2)}`;
    expect(rules(a(`env = ${list(100, (at) => `V${at}=1`)}`))).to.deep.equal([]);
    expect(rules(a(`env = ${list(101, (at) => `V${at}=1`)}`))).to.deep.equal(['env/limit']);
    expect(rules(a(`env = ["${entry(4096)}"]`))).to.deep.equal([]);
    expect(rules(a(`env = ["${entry(4096)}x"]`))).to.deep.equal(['env/limit']);
  });

  it('50 findings a file are told, and how many there are more', () => {
    const { issues } = resolved(a(many(60, (at) => `k${at} = 1\n`))).desired;
    expect(issues).to.have.length(51);
    expect(issues[0]?.message).to.equal('there are 60 findings in this file, and 50 are told');
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
