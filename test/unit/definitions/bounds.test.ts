import { expect } from 'chai';
import type { Component } from '../../../src/definitions/types.ts';
import { isInside, overlaps, insidePath, readHostname } from '../../../src/definitions/fields.ts';
import { readImage, tagFault } from '../../../src/definitions/image.ts';
import { readMount } from '../../../src/definitions/mounts.ts';
import { L4, resolved, serviceText, toldOf } from './support.ts';

function told(more: string): string[] {
  return toldOf(resolved({ 'services/a.toml': serviceText('a', more) }).desired.issues);
}

function componentOf(more: string): Component {
  const { desired } = resolved({ 'services/a.toml': serviceText('a', more) });
  expect(toldOf(desired.issues), more).to.deep.equal([]);
  const found = desired.services[0]?.service.components[0];
  if (found === undefined) throw new Error('no component');
  return found;
}

describe('what a component may say, up to its bounds', () => {
  it('a user: numbers of ten digits, names of 32 characters, each with or without a group', () => {
    const name = `_${'a-_9'.repeat(7)}b-_`;
    for (const user of ['0', '0:0', '1234567890:1234567890', 'root', 'root:wheel', `${name}:${name}`])
      expect(componentOf(`user = "${user}"\n`).user).to.equal(user);
    for (const user of ['0:12345678901', `${name}x`, `root:${name}x`, 'root:Wheel', 'root:9', 'xroot ', '1a'])
      expect(told(`user = "${user}"`), user).to.deep.equal([`7:8 component/user: "${user}" is no user`]);
  });

  it('a command, an entrypoint, a network and a restart policy are what the file says, and absent where it is silent', () => {
    const said = componentOf('cmd = ["a", ""]\nentrypoint = ["b"]\nnetwork = "none"\nrestart = "no"\n');
    expect(said).to.deep.include({ cmd: ['a', ''], entrypoint: ['b'], network: 'none', restart: 'no' });
    expect(componentOf('')).to.not.have.any.keys('cmd', 'entrypoint', 'user', 'stopSignal', 'replaces');
  });

  it('a network has 63 characters at most', () => {
    const name = `N${'a_.-'.repeat(15)}zz`;
    expect(componentOf(`network = "${name}"\n`).network).to.equal(name);
    expect(told(`network = "${name}z"`)).to.deep.equal([
      `7:11 network/name: "${name}z" is no name of a network`,
    ]);
  });

  it('signals that end a process, up to the last one of the real-time ones', () => {
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGRTMIN', 'SIGRTMIN+1', 'SIGRTMIN+29', 'SIGRTMIN+30'])
      expect(componentOf(`stop_signal = "${signal}"\n`).stopSignal).to.equal(signal);
    for (const signal of ['SIGRTMIN+0', 'SIGTERMX', 'SIGRTMIN+300'])
      expect(told(`stop_signal = "${signal}"`), signal).to.have.length(1);
  });

  it('a container to replace has 2 to 128 characters', () => {
    for (const name of ['ab', `A${'b_.-'.repeat(31)}ccc`])
      expect(componentOf(`replaces = "${name}"\n`).replaces).to.equal(name);
    expect(told(`replaces = "A${'b_.-'.repeat(31)}cccc"`)).to.have.length(1);
  });

  it('a route has its own container port, also where a fixed port is of another protocol', () => {
    const { routes } = componentOf(`ports = ["81:81/udp"]\n${L4}container_port = 81\n`);
    expect(routes[0]).to.deep.include({ containerPort: 81, backendTls: false });
    expect(componentOf(L4).routes[0]).to.not.have.any.keys('containerPort', 'edge');
    const l7 = '[[components.routes]]\nport = 443\nmode = "l7"\nbackend_tls = true\n';
    expect(componentOf(l7).routes[0]).to.deep.include({ backendTls: true });
  });

  it('labels of one character up to 255, with values of 4 KiB', () => {
    const name = `a${'b._/-]['.repeat(36)}c]`;
    const { labels } = componentOf(`labels = { "${name}" = "${'x'.repeat(4096)}", b = "" }\n`);
    expect(labels?.map((one) => [one.name.length, one.value.length])).to.deep.equal([
      [255, 4096],
      [1, 0],
    ]);
    expect(told(`labels = { b = "${'x'.repeat(4097)}" }`)).to.have.length(1);
    expect(told(`labels = { ".b" = "" }`)).to.have.length(1);
    expect(told(`labels = { "c${name}" = "" }`)).to.have.length(1);
    const many = (count: number): string =>
      `labels = { ${Array.from({ length: count }, (_, at) => `l${at} = ""`).join(', ')} }`;
    expect(told(many(50))).to.deep.equal([]);
    expect(told(many(51))).to.deep.equal(['7:1 component/labels: there are 51 labels']);
  });

  it('fixed ports from 1 to 65535, with an address of either kind in its short form', () => {
    expect(
      componentOf('ports = ["1:65535", "65535:1/udp", "[2001:DB8:0::1]:2:2", "192.0.2.1:3:3/tcp"]\n').ports,
    ).to.deep.equal([
      { host: 1, container: 65_535, protocol: 'tcp' },
      { host: 65_535, container: 1, protocol: 'udp' },
      { ip: '2001:db8::1', host: 2, container: 2, protocol: 'tcp' },
      { ip: '192.0.2.1', host: 3, container: 3, protocol: 'tcp' },
    ]);
    for (const port of [
      'x53:53',
      '::1:53:53',
      '[192.0.2.1]:53:53',
      '[::1:53:53',
      '53:53/tcpx',
      '65536:1',
      '1:0',
    ])
      expect(told(`ports = ["${port}"]`), port).to.have.length(1);
  });

  it('a variable: any name that only begins like one of ours, and a value with everything behind the first =', () => {
    for (const name of ['PORTAL', 'XPORT_A', 'PEERS', '_', 'a1'])
      expect(told(`env = ["${name}=x"]`)).to.deep.equal([]);
    for (const name of ['A-B', 'A.', '1A', '']) expect(told(`env = ["${name}=x"]`), name).to.have.length(1);
    expect(told(`env = ["A=${'x'.repeat(4094)}"]`)).to.deep.equal([]);
    const { values } = resolved({ 'services/a.toml': serviceText('a', 'env = ["A=b=c", "B="]') });
    expect([...(values.get('a/web') ?? [])]).to.deep.equal([
      ['A', 'b=c'],
      ['B', ''],
    ]);
  });

  it('an empty argument is one; an empty program is none where it has to be a file', () => {
    expect(componentOf('cmd = [""]\n').cmd).to.deep.equal(['']);
    expect(componentOf('entrypoint = ["a", ""]\n').entrypoint).to.deep.equal(['a', '']);
    expect(told('entrypoint = [""]')).to.deep.equal(['7:15 component/entrypoint: the program is empty']);
  });

  it('limits of which only one is said, and a health check with its route or its port', () => {
    const resources = (text: string): unknown => componentOf(`[components.resources]\n${text}\n`).resources;
    expect(resources('memory = "6m"')).to.deep.equal({ memoryBytes: 6_291_456 });
    expect(resources('shm = "64k"')).to.deep.equal({ shmBytes: 65_536 });
    expect(resources('cpus = 2')).to.deep.equal({ cpus: 2 });
    expect(resources('pids = 9')).to.deep.equal({ pids: 9 });
    const health = (text: string, before = ''): unknown =>
      componentOf(`${before}[components.health]\n${text}\n${L4}name = "x"\n`).health;
    expect(health('type = "tls"\nroute = "x"'))
      .to.include({ type: 'tls', route: 'x' })
      .and.not.have.any.keys('port', 'path');
    expect(health('type = "http"\nport = 81', 'ports = ["80:81"]\n'))
      .to.include({ port: 81 })
      .and.not.have.property('route');
    for (const [expected, range] of [
      ['200', [200, 200]],
      ['200-200', [200, 200]],
      ['204-399', [204, 399]],
    ] as const)
      expect(health(`type = "http"\nexpect = "${expected}"`)).to.deep.include({ expect: range });
    const path = `/${'x'.repeat(1023)}`;
    expect(health(`type = "http"\npath = "${path}"`)).to.include({ path });
    for (const bad of [`${path}x`, 'a/b', '/a b', ''])
      expect(told(`[components.health]\ntype = "http"\npath = "${bad}"\n${L4}`), bad).to.have.length(1);
    const published = (ports: string): string[] =>
      told(`ports = ["${ports}"]\n[components.health]\ntype = "http"\nport = 81`);
    expect([published('80:81'), published('80:81/udp').length, published('81:80').length]).to.deep.equal([
      [],
      1,
      1,
    ]);
  });

  it('more than there may be of a kind is counted', () => {
    const list = (count: number, made: (at: number) => string): string =>
      `[${Array.from({ length: count }, (_, at) => JSON.stringify(made(at))).join(', ')}]`;
    const nodes = (count: number): string => `${L4}edge = ${list(count, (at) => `n${at}`)}\n`;
    const routes = (count: number): string =>
      Array.from(
        { length: count },
        (_, at) => `${L4}hostname = "a${at}.example.net"\nname = "r${at}"\n`,
      ).join('');
    expect(told(routes(21))).to.deep.equal(['7:14 route/limit: there are 21 routes']);
    expect(told(nodes(21))).to.include('10:8 route/edge: it names 21 nodes');
    expect(told(nodes(20)).join()).to.not.contain('it names');
    expect(told(`ports = ${list(51, (at) => `${at + 1}:1`)}`)).to.deep.equal([
      '7:9 ports/limit: there are 51 fixed ports',
    ]);
    expect(told(`volumes = ${list(51, (at) => `v:/v${at}`)}`)).to.deep.equal([
      '7:11 volume/limit: there are 51 volumes',
    ]);
    expect(told(`env = ${list(101, (at) => `V${at}=1`)}`)).to.deep.equal([
      '7:7 env/limit: there are 101 variables',
    ]);
    expect(told(`env = ["A=${'x'.repeat(4095)}"]`)).to.deep.equal([
      '7:8 env/limit: the entry has more than 4096 bytes',
    ]);
    expect(told(`cmd = ${list(201, String)}`)).to.deep.equal(['7:7 component/cmd: there are 201 strings']);
    expect(told(`cmd = ["${'x'.repeat(32_769)}"]`)).to.deep.equal([
      '7:7 component/cmd: there are 32769 bytes',
    ]);
  });
});

describe('words of a definition, read by themselves', () => {
  it('a host name: 253 characters, labels of 63, in lower case, and no number at its end', () => {
    const label = 'a'.repeat(63);
    const longest = `${label}.${label}.${label}.${'a'.repeat(61)}`;
    for (const name of [longest, '1.a', 'a-1.b2', 'xn--bcher-kva.example', '1.2.3.4.a', 'a.1b'])
      expect(readHostname(name), name).to.deep.equal({ ok: true, hostname: name });
    expect(readHostname('Docs.Example.NET')).to.deep.equal({ ok: true, hostname: 'docs.example.net' });
    for (const name of [`${longest}a`, `a${label}.b`, 'a..b', 'a-.b', 'a.b-', '.a.b', 'a_b.c', 'a.12', '::1'])
      expect(readHostname(name).ok, name).to.equal(false);
    expect(readHostname(`${longest}a`))
      .to.have.property('why')
      .that.matches(/ is longer than 253 characters$/);
  });

  it('a host name lies inside a domain label by label, whatever the case and the dot before it', () => {
    for (const domain of ['example.net', '.example.net', 'Example.NET']) {
      expect(isInside('example.net', domain)).to.equal(true);
      expect(isInside('a.b.example.net', domain)).to.equal(true);
      expect(isInside('evilexample.net', domain)).to.equal(false);
      expect(isInside('example.net.evil', domain)).to.equal(false);
    }
  });

  it('an address of a fixed port takes that of another when they are the same, or one of them is all', () => {
    for (const all of [undefined, '0.0.0.0', '::']) {
      expect(overlaps(all, '192.0.2.1')).to.equal(true);
      expect(overlaps('192.0.2.1', all)).to.equal(true);
    }
    expect(overlaps('192.0.2.1', '192.0.2.1')).to.equal(true);
    expect(overlaps('192.0.2.1', '192.0.2.2')).to.equal(false);
  });

  it('a path stays inside where it begins, and comes back plain', () => {
    for (const [text, path] of [
      ['a', 'a'],
      ['./a//b/./c/', 'a/b/c'],
      ['..a/b..', '..a/b..'],
      ['a.git/.gitx', 'a.git/.gitx'],
      ['x'.repeat(255), 'x'.repeat(255)],
      [`${'x/'.repeat(511)}xx`, `${'x/'.repeat(511)}xx`],
    ] as const)
      expect(insidePath(text)).to.equal(path);
    for (const text of [
      '',
      '/a',
      'a\\b',
      'a\tb',
      'é',
      '.',
      './',
      '..',
      'a/../b',
      'a/.git',
      '.GIT/x',
      'x'.repeat(256),
    ])
      expect(insidePath(text), text).to.equal(undefined);
    expect(insidePath(`${'x/'.repeat(512)}x`), '1,025 characters').to.equal(undefined);
  });

  it('a volume: plain paths, and names of the engine of 128 characters', () => {
    const name = `V${'a_.-'.repeat(31)}zzz`;
    const ok = (text: string): unknown => {
      const read = readMount(text);
      return read.ok ? read.mount : read.message;
    };
    expect(ok(`${name}:/a`)).to.include({ kind: 'volume', volume: name, target: '/a', readOnly: false });
    expect(ok(`${name}z:/a`)).to.contain('is neither an absolute path nor the name of a volume');
    expect(ok('/srv/a/!~[]:/a:ro')).to.include({ kind: 'bind', source: '/srv/a/!~[]', readOnly: true });
    const long = `/srv/${'x'.repeat(255)}${`/${'y'.repeat(250)}`.repeat(3)}`;
    expect(ok(`${long.padEnd(1024, '/z')}:/a`)).to.have.property('kind', 'bind');
    expect(ok(`${long.padEnd(1025, '/z')}:/a`)).to.equal('the path is longer than 1,024 characters');
    expect(ok(`/srv/${'x'.repeat(256)}:/a`)).to.equal('a part of the path is longer than 255 characters');
    for (const source of [
      '/etc/ssl/certs',
      '/home/a',
      '/srv/a/docker.sock.d',
      '/usrx',
      '/etc/mc-gitopsx',
      '/var/libx',
    ])
      expect(ok(`${source}:/a`), source).to.have.property('source', source);
    for (const source of ['/run/podman/podman.sock', '/srv/a/docker-api.sock', '/srv/a/buildkitd.sock'])
      expect(ok(`${source}:/a`), source).to.contain('is the socket of a container engine');
    for (const target of ['/process', '/system', '/device', '/srv'])
      expect(ok(`v:${target}`), target).to.have.property('target', target);
  });

  it('an image: with port, nested repository, separators and digest, taken apart', () => {
    const digest = `sha256:${'0a'.repeat(32)}`;
    const read = (reference: string): unknown => {
      const one = readImage(reference);
      return one.ok ? one.image : one.message;
    };
    expect(read(`localhost/x/a__b-c.d:1.2.3-rc.1@${digest}`)).to.deep.equal({
      reference: `localhost/x/a__b-c.d:1.2.3-rc.1@${digest}`,
      host: 'localhost',
      repository: 'x/a__b-c.d',
      tag: '1.2.3-rc.1',
      digest,
    });
    expect(read('reg:65535/a:v1.0.0')).to.include({ host: 'reg:65535', repository: 'a' });
    expect(read('x/a:v1.0.0')).to.deep.equal({ reference: 'x/a:v1.0.0', repository: 'x/a', tag: 'v1.0.0' });
    expect(read(`a:any@${digest}`), 'a digest does not move').to.include({ tag: 'any' });
    const longest = `x/${'a'.repeat(243)}`;
    expect(read(`${longest}:v1.0.0`)).to.include({ repository: longest });
    expect(read(`${longest}a:v1.0.0`)).to.contain('is no repository');
    for (const bad of ['a-:v1.0.0', 'a___b:v1.0.0', '-r.b/a:v1.0.0', 'r.b-/a:v1.0.0', 'r.b:123456/a:v1.0.0'])
      expect(read(bad), bad).to.contain('is no image reference');
    expect(read(`${'a'.repeat(600)}:v1.0.0`)).to.contain('is longer than 456 characters');
  });

  it('a tag is a semantic version; one that is only short, or has zeros in front, is told in full', () => {
    for (const tag of ['v1.0.0', '1.0.0', 'v1.0.0-rc.1']) expect(tagFault(tag)).to.equal(undefined);
    for (const [tag, meant] of [
      ['1', ':v1.0.0'],
      ['v1.2', ':v1.2.0'],
      ['v01.002.3', ':v1.2.3'],
    ] as const)
      expect(tagFault(tag)?.hint).to.equal(`Write all three numbers, without leading zeros: "${meant}".`);
    for (const tag of ['stable', 'v1.2.3.4', 'x1', 'v1x']) expect(tagFault(tag)).to.not.have.property('hint');
  });
});
