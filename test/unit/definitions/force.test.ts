import { expect } from 'chai';
import type { Elsewhere } from '../../../src/definitions/types.ts';
import { COMMIT, fileOf, good, L4, POLICY, resolved, rulesOf, serviceText } from './support.ts';

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
