import { serviceText } from './support.ts';

/** What may be found in a repository that somebody hostile, careless or unlucky can write to (G44). */
export interface Case {
  readonly title: string;
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly refused?: readonly { readonly path: string; readonly why: string }[];
  /** The rule that is told; `accepted`: it is harmless, and in force. */
  readonly expect: string;
}

const ROUTE = '[[components.routes]]\nport = 8443\nmode = "l4"\n';
const DIGEST = `@sha256:${'0'.repeat(64)}`;

function component(expected: string, cases: Readonly<Record<string, string>>): Case[] {
  return Object.entries(cases).map(([title, more]) => ({
    title,
    files: { 'services/a.toml': serviceText('a', more) },
    expect: expected,
  }));
}

function top(expected: string, cases: Readonly<Record<string, string>>): Case[] {
  return Object.entries(cases).map(([title, head]) => ({
    title,
    files: { 'services/a.toml': serviceText('a', '', head) },
    expect: expected,
  }));
}

function image(expected: string, references: readonly string[]): Case[] {
  return references.map((reference) => ({
    title: `image ${JSON.stringify(reference).slice(0, 60)} of ${reference.length} characters`,
    files: {
      'services/a.toml': serviceText('a').replace('"registry.example.net/a:v1.0.0"', () =>
        JSON.stringify(reference),
      ),
    },
    expect: expected,
  }));
}

function volume(expected: string, volumes: readonly string[]): Case[] {
  return component(
    expected,
    Object.fromEntries(
      volumes.map((text) => [
        `volume ${JSON.stringify(text).slice(0, 70)}`,
        `volumes = [${JSON.stringify(text)}]`,
      ]),
    ),
  );
}

function hostname(expected: string, names: readonly string[]): Case[] {
  return component(
    expected,
    Object.fromEntries(
      names.map((text) => [
        `host name ${JSON.stringify(text).slice(0, 70)}`,
        `${ROUTE}hostname = ${JSON.stringify(text)}`,
      ]),
    ),
  );
}

function whole(expected: string, cases: Readonly<Record<string, string | Uint8Array>>): Case[] {
  return Object.entries(cases).map(([title, content]) => ({
    title,
    files: { 'services/a.toml': content },
    expect: expected,
  }));
}

function bytes(...parts: (string | number[])[]): Uint8Array {
  return Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))),
  );
}

const TEXT = serviceText('a');

export const CORPUS: readonly Case[] = [
  ...whole('file/encoding', {
    'invalid UTF-8': bytes(TEXT, '# ', [0xff, 0xfe]),
    'UTF-16 with its mark': bytes([0xff, 0xfe], [...Buffer.from(TEXT, 'utf16le')]),
    'an overlong slash': bytes('path = "', [0xc0, 0xaf], '"\n', TEXT),
    'a lone surrogate in CESU-8': bytes('# ', [0xed, 0xa0, 0x80], '\n', TEXT),
    'the end within a character': bytes(TEXT, '# ', [0xe2, 0x82]),
    'a picture': bytes([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0xff]),
  }),
  ...whole('file/syntax', {
    'NUL bytes': bytes(TEXT, [0, 0, 0]),
    'an unclosed array with a comment': `${TEXT}env = [1 #`,
    'an unclosed string': `${TEXT}cmd = ["x`,
    'an unclosed long string': `${TEXT}cmd = ["""x`,
    'an unclosed table': `${TEXT}[components`,
    'an unclosed inline table': `${TEXT}build = { images = {`,
    'a key twice': `${TEXT}image = "x:1.0.0"`,
    'a table twice': `[build]\n[build]\n${TEXT}`,
    'a table that is a value': `name = 1\n[name]\n`,
    'an array that is extended': `components = []\n[[components]]\nname = "a"\n`,
    'a huge integer': `${TEXT}user = 99999999999999999999`,
    'an impossible date': `${TEXT}user = 2024-13-45`,
    'a lone carriage return': `name = "a"\rnode = "rift"`,
    'a bell in a comment': `# \x07\n${TEXT}`,
    'arrays 10,000 deep': `${TEXT}cmd = ${'['.repeat(10_000)}`,
    'inline tables 10,000 deep': `${TEXT}x = ${'{a='.repeat(10_000)}`,
    JSON: '{ "name": "a", "node": "rift" }',
    YAML: 'name: a\nnode: rift\n',
    'a merge conflict': `<<<<<<< HEAD\n${TEXT}=======\n>>>>>>> other\n`,
    'HTML of a login page': '<!doctype html><title>Sign in</title>',
  }),
  ...whole('file/size', { 'a file of 1 MB': TEXT.padEnd(1024 * 1024, '#') }),
  ...whole('file/depth', {
    'tables 10,000 deep in one key': `${TEXT}${'a.'.repeat(10_000)}a = 1`,
    'a header 10,000 deep': `${TEXT}[${'a.'.repeat(10_000)}a]`,
    'arrays 40 deep': `${TEXT}cmd = ${'['.repeat(40)}${']'.repeat(40)}`,
    'tables of arrays of tables': `${TEXT}x = ${'[{a='.repeat(30)}1${'}]'.repeat(30)}`,
  }),
  ...whole('file/findings', {
    '20,000 keys': TEXT + Array.from({ length: 20_000 }, (_, at) => `k${at} = 1\n`).join(''),
  }),
  ...whole('key/missing', {
    'an empty file': '',
    'only a comment': '# nothing\n',
    'only newlines': '\n\r\n\n',
    'no node': TEXT.replace('node = "rift"\n', ''),
    'no image': TEXT.replace(/image = .*\n/, ''),
    'a route without a mode': `${TEXT}[[components.routes]]\nport = 1\n`,
  }),
  ...whole('accepted', {
    'CRLF line ends': TEXT.replaceAll('\n', '\r\n'),
    'a byte order mark': `\ufeff${TEXT}`,
    'no newline at the end': TEXT.trimEnd(),
    'everything in inline tables':
      'name = "a"\nnode = "rift"\ncomponents = [{ name = "web", image = "registry.example.net/a:v1.0.0" }]\n',
    'quoted and dotted keys':
      '"name" = "a"\n\'node\' = "rift"\nbuild.images.a = "Dockerfile"\n[["components"]]\nname = "web"\nimage = "registry.example.net/a:v1.0.0"\n',
  }),
  ...top('key/unknown', {
    'a key in capitals': 'Active = true\n',
    'a look-alike key with a Cyrillic a': '"\u0430ctive" = true\n',
    'an empty key': '"" = 1\n',
    'a key of 100,000 characters': `${'k'.repeat(100_000)} = 1\n`,
    'a key with a newline and colours': '"a\\n\\u001b[31mb" = 1\n',
    toString: 'toString = 1\n',
    hasOwnProperty: 'hasOwnProperty = 1\n',
  }),
  ...top('key/reserved', {
    __proto__: '__proto__ = { active = false }\n',
    '__proto__ as a table': '[__proto__]\nactive = false\n',
    '__proto__ by a dotted key': '__proto__.active = false\n',
    constructor: 'constructor = 1\n',
    'constructor.prototype': 'constructor.prototype.x = 1\n',
    '__proto__ among the images': '[build.images]\n__proto__ = "Dockerfile"\n',
    'prototype among the images': '[build.images]\nprototype = "Dockerfile"\n',
  }),
  ...top('value/type', {
    'active as a string': 'active = "false"\n',
    'active as a number': 'active = 0\n',
    'path as an array': 'path = ["a"]\n',
    'path as a date': 'path = 2024-01-01\n',
    'build as an array': 'build = []\n',
    'images as an array of tables': '[[build.images]]\na = "Dockerfile"\n',
    'a Dockerfile that is a table': '[build.images.a]\nx = 1\n',
    'path as infinity': 'path = inf\n',
  }),
  ...top('service/path', {
    'a path out of the workspace': 'path = "../secret"\n',
    'a path out of the workspace in the middle': 'path = "a/../../b"\n',
    'an absolute path': 'path = "/etc"\n',
    'an empty path': 'path = ""\n',
    'a path of dots': 'path = "./."\n',
    'a path with a backslash': 'path = "a\\\\..\\\\b"\n',
    'a path with NUL': 'path = "a\\u0000b"\n',
    'a path with a newline': 'path = "a\\nb"\n',
    'a path into .git': 'path = "a/.GIT/hooks"\n',
    'a path with a division slash': 'path = "a\\u2215..\\u2215b"\n',
    'a path with a part of 256 characters': `path = "${'x'.repeat(256)}"\n`,
    'a path of 2,000 characters': `path = "${'x/'.repeat(1_000)}"\n`,
  }),
  ...top('build/dockerfile', {
    'a Dockerfile outside': '[build.images]\na = "../Dockerfile"\n',
    'a Dockerfile by address': '[build.images]\na = "/etc/passwd"\n',
    'a Dockerfile in .git': '[build.images]\na = ".git/config"\n',
    'an empty Dockerfile path': '[build.images]\na = ""\n',
  }),
  ...top('build/name', {
    'a build image with a slash': '[build.images]\n"x/a" = "Dockerfile"\n',
    'a build image with a tag': '[build.images]\n"a:v1" = "Dockerfile"\n',
    'a build image with a command': '[build.images]\n"$(id)" = "Dockerfile"\n',
  }),
  ...image('image/reference', [
    '',
    ' ',
    'registry.example.net/a b:v1.0.0',
    'registry.example.net/$(id):v1.0.0',
    'registry.example.net/a;id:v1.0.0',
    'registry.example.net/A:v1.0.0',
    'Registry.example.net/a:v1.0.0',
    'registry.example.net:99999/a:v1.0.0',
    'registry.example.net:/a:v1.0.0',
    '[::1]:5000/a:v1.0.0',
    'https://registry.example.net/a:v1.0.0',
    'user:pass@registry.example.net/a:v1.0.0',
    '-registry.example.net/a:v1.0.0',
    'registry.example.net//a:v1.0.0',
    'registry.example.net/../a:v1.0.0',
    'registry.example.net/a/:v1.0.0',
    'registry.example.net/a@sha256:abc',
    `registry.example.net/a:v1.0.0${DIGEST}x`,
    `registry.example.net/a:v1.0.0${DIGEST}${DIGEST}`,
    'registry.example.net/a:v1.0.0 ',
    'registry.example.net/a:v1.0.0\n',
    'registry.example.net/\u0430:v1.0.0',
    '--privileged',
    `registry.example.net/${'a'.repeat(40)}!`,
    `registry.example.net/${'a'.repeat(30_000)}:v1.0.0`,
    `registry.example.net/${'a-'.repeat(120)}:v1.0.0`,
    `${'a.'.repeat(130)}net/a:v1.0.0`,
  ]),
  ...image('image/semver-tag', [
    'registry.example.net/a',
    'registry.example.net/a:latest',
    'registry.example.net/a:stable',
    'registry.example.net/a:v1',
    'registry.example.net/a:1.0',
    'registry.example.net/a:v01.0.0',
    'registry.example.net/a:v1.0.0.0',
    'registry.example.net/a:vv1.0.0',
    'registry.example.net/a:v1.0.0-01',
    `registry.example.net/a${DIGEST}`,
    `registry.example.net/a:latest${DIGEST}`,
    'registry.example.net:5000/a',
  ]),
  ...image('image/build-metadata', ['registry.example.net/a:v1.0.0+x']),
  ...image('image/host', [
    'docker.io/library/a:v1.0.0',
    'localhost/a:v1.0.0',
    'registry.example.net:5000/a:v1.0.0',
    'registry.example.net.evil.net/a:v1.0.0',
  ]),
  ...image('accepted', [
    `registry.example.net/mc/a:1.0.0-rc.1${DIGEST}`,
    'registry.example.net/a__b-c.d:v10.20.30',
    'a:v1.0.0',
  ]),
  ...volume('volume/syntax', [
    '',
    ':',
    'a',
    '/srv/a',
    '/srv/a:',
    ':/srv/a',
    '/srv/a:/a:ro:z',
    '/srv/a:/a:U',
    '/srv/a:/a:Z',
    '/srv/a:/a:shared',
    '/srv/a:/a:rw,volume-opt=device=/dev/sda',
    'a b:/a',
    '..:/a',
    '$HOME:/a',
    '~:/a',
  ]),
  ...volume('volume/path', [
    '/srv/a/../../etc:/a',
    '/srv/a:/a/../../proc',
    './a:/a',
    '../a:/a',
    'a/b:/a',
    '/srv/a:a',
    '/srv/a\u0000:/a',
    '/srv/a\n:/a',
    '/srv\u2044a:/a',
    '/srv/\u0430:/a',
    '/srv/a b:/a',
    '/srv/a\\..\\b:/a',
    `/srv/a/${'x'.repeat(256)}:/a`,
    `/srv/a${'/x'.repeat(600)}:/a`,
  ]),
  ...volume('volume/forbidden', [
    '/:/host',
    '//:/host',
    '/./:/host',
    '/etc:/host',
    '/proc:/host',
    '/proc/1/root:/host',
    '/sys:/host',
    '/dev:/host',
    '/dev/sda:/host',
    '/root/.ssh:/host',
    '/run/docker.sock:/sock',
    '/var/run/docker.sock:/sock',
    '/var//run/./docker.sock:/sock',
    '/run/user/1000/podman/podman.sock:/sock',
    '/srv/a/docker.sock:/sock',
    '/run/containerd/containerd.sock:/sock',
    '/var/lib/docker:/host',
    '/var/lib/containers/storage:/host',
    '/var/lib/mc-gitops/registry.db:/host',
    '/etc/mc-gitops:/host',
    '/usr/bin:/host',
    '/srv:/host',
    '/srv/:/host',
    '/home:/host',
    '/var/lib:/host',
  ]),
  ...volume('volume/target', [
    '/srv/a:/',
    '/srv/a:/./',
    '/srv/a:/proc',
    '/srv/a:/proc/sys',
    '/srv/a:/sys',
    '/srv/a:/dev/',
  ]),
  ...volume('volume/policy', [
    '/srv/b:/a',
    '/srv/aa:/a',
    '/srv/a-b:/a',
    '/SRV/a:/a',
    '/data:/a',
    '/etc/ssl/certs:/certs:ro',
  ]),
  ...volume('accepted', ['/srv/a:/srv/a', '/srv/a//x/:/x:ro', 'a-db:/db', '/srv/a/...:/dots']),
  ...component('volume/duplicate', {
    'two volumes on one target': 'volumes = ["/srv/a/x:/x", "/srv/a/y:/x/./"]',
  }),
  ...component('env/syntax', {
    'env without =': 'env = ["A"]',
    'env without a name': 'env = ["=x"]',
    'env with a space in its name': 'env = ["A B=x"]',
    'env with a dash in its name': 'env = ["A-B=x"]',
    'env that begins with a digit': 'env = ["1A=x"]',
    'env with NUL in its name': 'env = ["A\\u0000=x"]',
    'env with a look-alike name': 'env = ["\\u0410=x"]',
    'an empty env entry': 'env = [""]',
  }),
  ...component('env/value', {
    'env with a newline': 'env = ["A=x\\ny"]',
    'env with a carriage return': 'env = ["A=x\\ry"]',
    'env with NUL': 'env = ["A=x\\u0000y"]',
    'env over several lines': 'env = ["""A=x\ny"""]',
  }),
  ...component('env/reserved', {
    'PORT is set': 'env = ["PORT=1"]',
    'PORT_REST is set': 'env = ["PORT_REST=1"]',
    'PEER_API is set': 'env = ["PEER_API=evil:1"]',
  }),
  ...component('accepted', {
    'env whose value has =': 'env = ["A=b=c"]',
    'env that only begins like ours': 'env = ["PORTAL=1", "PEERS=2"]',
    'env with a shell command': 'env = ["A=$(id) `id` ; rm -rf /"]',
    'a command with shell characters': 'cmd = ["sh", "-c", "echo $HOME; id"]',
    'an empty list everywhere': 'env = []\nvolumes = []\nports = []\nroutes = []',
  }),
  ...component('key/unknown', {
    privileged: 'privileged = true',
    capabilities: 'cap_add = ["SYS_ADMIN"]',
    devices: 'devices = ["/dev/sda"]',
    'security options': 'security_opt = ["seccomp=unconfined"]',
    "the host's processes": 'pid = "host"',
    'a mode of the network': 'network_mode = "host"',
  }),
  ...component('component/label-reserved', {
    'a label that makes it ours': '[components.labels]\n"net.metacircular.gitops.owner" = "rift/main"',
    'such a label in capitals': '[components.labels]\n"Net.Metacircular.GitOps.owner" = "x"',
    "a label of the engine's own tools": '[components.labels]\n"com.docker.compose.project" = "x"',
  }),
  ...component('component/labels', {
    'a label with =': '[components.labels]\n"a=b" = "x"',
    'a label with a newline in its value': '[components.labels]\na = "x\\ny"',
    'a label without a name': '[components.labels]\n"" = "x"',
  }),
  ...component('key/reserved', { 'a label __proto__': '[components.labels]\n__proto__ = "x"' }),
  ...component('component/replaces', {
    'a container by path': 'replaces = "../x"',
    'a container by an option': 'replaces = "--all"',
  }),
  ...component('component/stop-signal', {
    'a signal that stops and does not end': 'stop_signal = "SIGSTOP"',
  }),
  ...component('component/entrypoint', { 'an entrypoint with NUL': 'entrypoint = ["a\\u0000b"]' }),
  ...component('health/path', {
    'a request with a second header': '[components.health]\ntype = "http"\npath = "/ HTTP/1.1\\r\\nX: y"',
    'a whole address as a path': '[components.health]\ntype = "http"\npath = "http://169.254.169.254/"',
  }),
  ...component('value/duration', {
    'an interval that is no wait': '[components.health]\ntype = "exec"\ncommand = ["true"]\ninterval = "0s"',
    'a duration of 100,000 parts': `[components.health]\ntype = "exec"\ncommand = ["true"]\ninterval = "${'999999h'.repeat(30_000)}"`,
  }),
  ...component('value/size', {
    'more memory than there is': '[components.resources]\nmemory = "999999999999g"',
  }),
  ...component('resources/cpus', {
    'no processor': '[components.resources]\ncpus = -1',
    'infinitely many': '[components.resources]\ncpus = inf',
  }),
  ...component('network/name', {
    "the host's network": 'network = "host"',
    "another container's network": 'network = "container:mcr"',
    'a namespace by path': 'network = "ns:/proc/1/ns/net"',
    'an empty network': 'network = ""',
    "another service's own network": 'network = "mcg-metacrypt"',
    'a network with options': 'network = "slirp4netns:allow_host_loopback=true"',
    'a network that is an option': 'network = "--privileged"',
  }),
  ...component('network/policy', { 'a network of somebody else': 'network = "backend"' }),
  ...component('network/none', { 'no network but a route': `network = "none"\n${ROUTE}` }),
  ...component('component/user', {
    'a user with an option': 'user = "0 --privileged"',
    'an empty user': 'user = ""',
    'a negative user': 'user = "-1"',
    'a user with a newline': 'user = "0\\n"',
  }),
  ...component('component/cmd', {
    'an empty command': 'cmd = []',
    'a command with NUL': 'cmd = ["a\\u0000b"]',
  }),
  ...component('value/choice', { 'a restart policy of others': 'restart = "on-failure:5"' }),
  ...component('value/type', {
    'ports as numbers': 'ports = [53]',
    'routes as a table': 'routes = { port = 1, mode = "l4" }',
    'env as a table': 'env = { A = "x" }',
    'cmd as a string': 'cmd = "sh -c id"',
    'a port as a string': '[[components.routes]]\nport = "8443"\nmode = "l4"',
    'nested lists': 'cmd = [["a"]]',
    'route port nan': '[[components.routes]]\nport = nan\nmode = "l4"',
  }),
  ...component('ports/syntax', {
    'a port alone': 'ports = ["53"]',
    'port 0': 'ports = ["0:53"]',
    'port 65536': 'ports = ["65536:53"]',
    'a range of ports': 'ports = ["8000-8010:8000-8010"]',
    'a protocol that is none': 'ports = ["53:53/sctp"]',
    'an address that is none': 'ports = ["999.1.1.1:53:53"]',
    'a host name as address': 'ports = ["localhost:53:53"]',
    'an IPv6 address without brackets': 'ports = ["::1:53:53"]',
    'a port with a space': 'ports = ["53: 53"]',
    'a hexadecimal port': 'ports = ["0x35:53"]',
  }),
  ...component('ports/policy', { 'port 22': 'ports = ["22:22"]' }),
  ...component('ports/duplicate', { 'one port twice': 'ports = ["5300:53", "127.0.0.1:5300:54"]' }),
  ...component('route/port', {
    'route port 0': '[[components.routes]]\nport = 0\nmode = "l4"',
    'route port -1': '[[components.routes]]\nport = -1\nmode = "l4"',
    'route port 65536': '[[components.routes]]\nport = 65536\nmode = "l4"',
    'route port 1.5': '[[components.routes]]\nport = 1.5\nmode = "l4"',
    'container port infinity': `${ROUTE}container_port = inf`,
  }),
  ...component('route/name', {
    'an empty route name': `${ROUTE}name = ""`,
    'a route name with a newline': `${ROUTE}name = "a\\nb"`,
    'a route name with a shell character': `${ROUTE}name = "a$b"`,
    'a route name of 33 characters': `${ROUTE}name = "${'x'.repeat(33)}"`,
  }),
  ...component('route/fold', {
    'route names that fold': `${ROUTE}name = "a-b"\n[[components.routes]]\nname = "a_B"\nport = 1\nmode = "l4"`,
  }),
  ...hostname('route/hostname', [
    '',
    '.',
    '*',
    '*.metacircular.net',
    'a..metacircular.net',
    '.metacircular.net',
    'metacircular.net.',
    'a.metacircular.net\r\nX: y',
    'a.metacircular.net\u0000',
    'a metacircular.net',
    'a_b.metacircular.net',
    '-a.metacircular.net',
    `${'a'.repeat(64)}.metacircular.net`,
    `${'a.'.repeat(120)}metacircular.net`,
    '192.0.2.1',
    '::1',
    '1.2.3.4.5',
    'localhost',
    'm\u00e9tacircular.net',
    'a.metacircular.net/path',
    'a.metacircular.net:443',
    'https://a.metacircular.net',
    '$(id).metacircular.net',
  ]),
  ...hostname('route/domain', [
    'evilmetacircular.net',
    'metacircular.net.evil.org',
    'xn--mtacircular-bbb.net',
    'metacircular.org',
    'google.com',
  ]),
  ...hostname('accepted', [
    'metacircular.net',
    'Docs.METACIRCULAR.net',
    'xn--bcher-kva.metacircular.net',
    'a.b.c.metacircular.net',
  ]),
  ...['A', 'a.b', 'a_b', '-a', 'a-', 'x'.repeat(64), 'a b', '../a', '\u0430', ''].map((name): Case => ({
    title: `service name ${JSON.stringify(name).slice(0, 20)}`,
    files: { [`services/${name}.toml`]: TEXT.replace('name = "a"', `name = ${JSON.stringify(name)}`) },
    expect: 'service/name',
  })),
  {
    title: "a name that is not the file's",
    files: { 'services/b.toml': TEXT },
    expect: 'service/file-name',
  },
  {
    title: 'two files with one name',
    files: { 'services/x/a.toml': TEXT, 'services/y/a.toml': TEXT },
    expect: 'service/duplicate',
  },
  {
    title: 'files that differ in case only',
    files: { 'services/a.toml': TEXT, 'services/A.toml': TEXT },
    expect: 'service/file-name',
  },
  {
    title: 'a container name made of other parts',
    files: {
      'services/a.toml': `${TEXT}[[components]]\nname = "b"\nimage = "a:1.0.0"\n`,
      'services/a-b.toml': serviceText('a-b'),
    },
    expect: 'component/container-duplicate',
  },
  {
    title: 'a host name of another service',
    files: {
      'services/a.toml': serviceText('a', ROUTE),
      'services/b.toml': serviceText('b', `${ROUTE}hostname = "a.svc.mcp.metacircular.net"`),
    },
    expect: 'route/duplicate',
  },
  ...[
    ['a symbolic link', 'services/a.toml'],
    ['a submodule', 'services/sub'],
    ['a folder that is a link', 'services'],
    ['a name with a newline', 'services/a\nb.toml'],
    ['a .git folder', 'services/.git/config'],
  ].map(([why = '', path = '']): Case => ({
    title: why,
    files: {},
    refused: [{ path, why }],
    expect: 'file/refused',
  })),
  { title: 'a node file with a bad name', files: { 'nodes/..toml': '' }, expect: 'node/file-name' },
  {
    title: 'a node file that widens the domains',
    files: { 'nodes/rift.toml': 'hostname_suffix = "evil.org"' },
    expect: 'route/domain',
  },
  {
    title: 'a node file with a wildcard',
    files: { 'nodes/rift.toml': 'hostname_suffix = "*"' },
    expect: 'route/hostname',
  },
  {
    title: "a node file that takes the host's network",
    files: { 'nodes/rift.toml': '[defaults]\nnetwork = "host"' },
    expect: 'network/name',
  },
  {
    title: 'a node file with a policy',
    files: { 'nodes/rift.toml': '[policy]\nmounts = ["/"]' },
    expect: 'key/unknown',
  },
  {
    title: 'removals that are no names',
    files: { 'removals.toml': 'services = ["*"]' },
    expect: 'removals/name',
  },
  {
    title: 'an unknown key of the removals',
    files: { 'removals.toml': 'all = true' },
    expect: 'key/unknown',
  },
];
