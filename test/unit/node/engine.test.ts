import { expect } from 'chai';
import { Readable } from 'node:stream';
import { DeadlineError } from '../../../src/base/deadline.ts';
import { Secret } from '../../../src/base/secret.ts';
import { differences } from '../../../src/node/engine/differences.ts';
import { jsonLines } from '../../../src/node/engine/events.ts';
import { EngineError, failureOf } from '../../../src/node/engine/failure.ts';
import {
  observedFromInspection,
  observedFromList,
  type Inspection,
} from '../../../src/node/engine/inspect.ts';
import { withoutFrames } from '../../../src/node/engine/logs.ts';
import { engineReference, referenceParts } from '../../../src/node/engine/reference.ts';
import {
  containerInput,
  dockerRequest,
  podmanRequest,
  sizeInBytes,
  type ContainerInput,
} from '../../../src/node/engine/request.ts';
import { findSocket } from '../../../src/node/engine/socket.ts';
import { LABELS, type ContainerSpec } from '../../../src/node/types.ts';

const spec: ContainerSpec = {
  ...{
    owner: 'n1/main',
    service: 'blog',
    component: 'web',
    name: 'blog-web',
    image: 'host:5000/mc/web:v1.0.0',
  },
  env: [
    { name: 'B', hash: '1' },
    { name: 'A', hash: '2' },
  ],
  agentEnv: [{ name: 'PORT', value: '8080' }],
  mounts: [
    { kind: 'bind', source: '/srv/blog/', target: '/srv/blog', readOnly: true },
    { kind: 'volume', volume: 'blog-db', target: '/var/lib/db', readOnly: false },
  ],
  cmd: ['serve', '--all'],
  networks: [
    { name: 'mcpnet', aliases: ['blog-web'] },
    { name: 'mc-blog', aliases: ['web'] },
  ],
  user: '0:0',
  restart: 'unless-stopped',
  publish: [
    { ip: '127.0.0.1', host: 12_001, container: 8080, protocol: 'tcp' },
    { ip: '127.0.0.1', host: 12_001, container: 8080, protocol: 'udp' },
  ],
  leases: { rest: 12_001 },
  logMaxSize: '10m',
  logMaxFiles: 3,
};
const values = new Map([
  ['A', 'one'],
  ['B', 'two=2'],
]);

function input(changes: Partial<ContainerSpec> = {}): ContainerInput {
  const made = containerInput('blog-web.new', { ...spec, ...changes }, 'f00d', values);
  if (made.kind !== 'ok') throw new Error(made.why);
  return made.value;
}

function inspection(changes: Partial<Inspection> = {}): Inspection {
  return {
    Id: 'a'.repeat(64),
    Name: '/blog-web.new',
    Image: `sha256:${'b'.repeat(64)}`,
    State: { Status: 'created', Running: false, ExitCode: 0, StartedAt: '0001-01-01T00:00:00Z', Pid: 0 },
    Config: {
      ...{ Image: spec.image, User: '0:0', Cmd: ['serve', '--all'] },
      Env: ['PATH=/bin', 'A=one', 'B=two=2', 'PORT=8080'],
      Labels: { ...input().labels, 'traefik.auth': 'admin:$apr1$' },
    },
    HostConfig: {
      NetworkMode: 'mcpnet',
      PortBindings: {
        '8080/udp': [{ HostIp: '127.0.0.1', HostPort: '12001' }],
        '8080/tcp': [{ HostIp: '127.0.0.1', HostPort: '12001' }],
      },
      RestartPolicy: { Name: 'unless-stopped' },
      SecurityOpt: ['no-new-privileges'],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
    },
    Mounts: [
      { Type: 'bind', Source: '/srv/blog', Destination: '/srv/blog', RW: false },
      { Type: 'volume', Name: 'blog-db', Source: '/x', Destination: '/var/lib/db', RW: true },
    ],
    NetworkSettings: {
      Networks: {
        mcpnet: { Aliases: ['blog-web', 'aaaa'] },
        'mc-blog': { Aliases: null, DNSNames: ['web'] },
      },
    },
    ...changes,
  };
}

describe('engine: what is asked of it', () => {
  it('gives Docker every part of a container, sources as mounts that must be there (L24)', () => {
    expect(dockerRequest(input())).to.deep.equal({
      Image: 'host:5000/mc/web:v1.0.0',
      Labels: {
        [LABELS.owner]: 'n1/main',
        [LABELS.service]: 'blog',
        [LABELS.component]: 'web',
        [LABELS.spec]: 'f00d',
        [LABELS.ports]: '{"rest":12001}',
        [LABELS.format]: '1',
      },
      Env: ['B=two=2', 'A=one', 'PORT=8080'],
      Cmd: ['serve', '--all'],
      User: '0:0',
      ExposedPorts: { '8080/tcp': {}, '8080/udp': {} },
      HostConfig: {
        Mounts: [
          {
            ...{ Type: 'bind', Source: '/srv/blog/', Target: '/srv/blog', ReadOnly: true },
            BindOptions: { Propagation: 'rprivate' },
          },
          { Type: 'volume', Source: 'blog-db', Target: '/var/lib/db', ReadOnly: false },
        ],
        PortBindings: {
          '8080/tcp': [{ HostIp: '127.0.0.1', HostPort: '12001' }],
          '8080/udp': [{ HostIp: '127.0.0.1', HostPort: '12001' }],
        },
        NetworkMode: 'mcpnet',
        RestartPolicy: { Name: 'unless-stopped' },
        LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
        SecurityOpt: ['no-new-privileges'],
        ...{ Init: false, Privileged: false, AutoRemove: false },
      },
      NetworkingConfig: { EndpointsConfig: { mcpnet: { Aliases: ['blog-web'] } } },
    });
  });

  it('gives Podman the same by its own call', () => {
    const request = podmanRequest(input()) as Record<string, unknown>;
    expect(request).to.deep.include({
      name: 'blog-web.new',
      env: { A: 'one', B: 'two=2', PORT: '8080' },
      command: ['serve', '--all'],
      user: '0:0',
      volumes: [{ name: 'blog-db', dest: '/var/lib/db', options: ['rw'] }],
      netns: { nsmode: 'bridge' },
      networks: { mcpnet: { aliases: ['blog-web'] }, 'mc-blog': { aliases: ['web'] } },
      restart_policy: 'unless-stopped',
      log_configuration: { driver: 'k8s-file', size: 10_000_000 },
      ...{ no_new_privileges: true, privileged: false, httpproxy: false, systemd: 'false' },
    });
    expect(request['mounts']).to.deep.equal([
      {
        ...{ type: 'bind', source: '/srv/blog/', destination: '/srv/blog' },
        options: ['ro', 'rbind', 'rprivate'],
      },
    ]);
    expect(request['portmappings']).to.deep.include({
      ...{ host_ip: '127.0.0.1', host_port: 12_001, container_port: 8080, protocol: 'udp' },
    });
  });

  it('takes no network, and one called none, as none', () => {
    for (const networks of [[], [{ name: 'none', aliases: [] }]]) {
      expect(dockerRequest(input({ networks }))).to.have.nested.property('HostConfig.NetworkMode', 'none');
      expect(dockerRequest(input({ networks }))).to.not.have.property('NetworkingConfig');
      expect(podmanRequest(input({ networks }))).to.deep.include({ netns: { nsmode: 'none' } });
    }
  });

  it('blocks when a variable has no value, and names the variable', () => {
    const made = containerInput('x', spec, 'd', new Map([['A', 'one']]));
    expect(made).to.include({ kind: 'blocked' });
    expect('why' in made && made.why).to.include('variable B');
  });

  it('counts log sizes as the engines do', () => {
    expect(['512', '10k', '10m', '1G', '5MB'].map(sizeInBytes)).to.deep.equal([512, 1e4, 1e7, 1e9, 5e6]);
    expect(() => sizeInBytes('a lot')).to.throw('a lot');
  });

  it('takes references apart, and leaves out the tag beside a digest', () => {
    const digest = `sha256:${'c'.repeat(64)}`;
    expect(referenceParts('h:5000/a/b')).to.deep.equal({ name: 'h:5000/a/b' });
    expect(referenceParts(`h:5000/a:v1@${digest}`)).to.deep.equal({ name: 'h:5000/a', tag: 'v1', digest });
    expect(engineReference(`h:5000/a:v1@${digest}`)).to.equal(`h:5000/a@${digest}`);
    expect(engineReference('a:v1')).to.equal('a:v1');
  });

  it('finds the socket by setting, then by DOCKER_HOST, and refuses another machine', () => {
    const env = { DOCKER_HOST: 'unix:///run/a.sock' };
    expect(findSocket('/run/b.sock', env)).to.deep.equal({ kind: 'ok', value: '/run/b.sock' });
    expect(findSocket(undefined, env)).to.deep.equal({ kind: 'ok', value: '/run/a.sock' });
    const remote = findSocket('ssh://me:pass@there', {});
    expect(remote).to.include({ kind: 'blocked' });
    expect('why' in remote && remote.why)
      .to.include('[engine] socket')
      .and.not.include('pass@');
  });
});

describe('engine: what is read of it', () => {
  const imageId = `sha256:${'b'.repeat(64)}`;

  it('finds a container as ordered without differences', () => {
    expect(differences(input(), imageId, inspection(), 'docker')).to.deep.equal([]);
  });

  it('names each part that differs, and no value', () => {
    const seen = inspection({
      ...{ Name: '/other', Image: 'sha256:00', Mounts: [], NetworkSettings: { Networks: { mcpnet: {} } } },
      Config: { Labels: {}, Env: ['A=one', 'PORT=8080', 'B=changed'], User: '', Cmd: ['x'] },
      HostConfig: { Privileged: true },
    });
    const found = differences(input(), imageId, seen, 'docker');
    expect(found).to.include.members([
      ...['name', 'image', `label ${LABELS.spec}`, 'variable B', 'mount at /srv/blog', 'published ports'],
      ...['alias blog-web on mcpnet', 'network mc-blog', 'user', 'command', 'restart policy', 'log limits'],
      ...['no-new-privileges', 'privileged'],
    ]);
    expect(found.join(' ')).to.not.match(/two=2|changed/);
  });

  it('reads the log limits of Podman where Podman has them', () => {
    const { HostConfig } = inspection();
    const limited = { ...HostConfig, LogConfig: { Type: 'k8s-file', Size: '10MB', Config: null } };
    expect(differences(input(), imageId, inspection({ HostConfig: limited }), 'podman')).to.deep.equal([]);
    const unlimited = { ...HostConfig, LogConfig: { Type: 'k8s-file', Size: '0B' } };
    expect(differences(input(), imageId, inspection({ HostConfig: unlimited }), 'podman')).to.deep.equal([
      'log limits',
    ]);
  });

  it('observes identity, times and the failed start of a container, and no foreign label (L12)', () => {
    const State = {
      ...{ Status: 'exited', Running: false, ExitCode: 3, Pid: 0, Error: 'port is\n taken' },
      ...{ StartedAt: '2026-01-01T00:00:00.5Z', FinishedAt: '2026-01-01T00:00:01Z' },
    };
    const seen = observedFromInspection(inspection({ State, RestartCount: 2 }));
    expect(seen).to.include({ name: 'blog-web.new', state: 'exited', exitCode: 3, restartCount: 2 });
    expect(seen).to.include({ startError: 'port is taken', finishedAt: Date.UTC(2026, 0, 1, 0, 0, 1) });
    expect(seen.identity).to.deep.equal({
      ...{ owner: 'n1/main', service: 'blog', component: 'web', spec: 'f00d', format: '1' },
      leases: { rest: 12_001 },
    });
    expect(JSON.stringify(seen)).to.not.include('apr1');
  });

  it('takes what older and newer engines leave out or null (G23)', () => {
    const bare = observedFromList({
      Id: 'c'.repeat(64),
      Names: null,
      Labels: null,
      Ports: null,
      State: 'stopped',
    });
    expect(bare).to.deep.equal({
      ...{ id: 'c'.repeat(64), name: '', image: '', imageId: '', state: 'exited', restartCount: 0 },
      ...{ labels: {}, publish: [] },
    });
    const labels = { ...input().labels, [LABELS.ports]: '{"a":0,"b":"x","c":7}' };
    const hand = observedFromList({
      Id: 'd',
      Names: ['/x'],
      Labels: labels,
      State: 'odd',
      Ports: [{ PrivatePort: 1 }],
    });
    expect(hand.identity?.leases).to.deep.equal({ c: 7 });
    expect(hand.state).to.equal('dead');
    const broken = { ...labels, [LABELS.ports]: '[nonsense' };
    expect(observedFromList({ Id: 'e', Labels: broken }).identity?.leases).to.deep.equal({});
  });

  it('reads objects of a stream whatever pieces they come in', async () => {
    const bytes = Buffer.from('{"a":"ä"}\r\n\n{"a":2}\n{"a":3}');
    const pieces = [...bytes].map((_, at) => bytes.subarray(at, at + 1));
    const items: unknown[] = [];
    for await (const item of jsonLines(Readable.from(pieces, { objectMode: false }))) items.push(item);
    expect(items).to.deep.equal([{ a: 'ä' }, { a: 2 }, { a: 3 }]);
  });

  it('takes the frames out of a log, and leaves a terminal’s output alone', () => {
    const frame = (stream: number, text: string): Buffer => {
      const head = Buffer.alloc(8);
      head.writeUInt8(stream, 0);
      head.writeUInt32BE(Buffer.byteLength(text), 4);
      return Buffer.concat([head, Buffer.from(text)]);
    };
    expect(withoutFrames(Buffer.concat([frame(1, 'out ü\n'), frame(2, 'err\n')]))).to.equal('out ü\nerr\n');
    expect(withoutFrames(Buffer.from('plain terminal text\n'))).to.equal('plain terminal text\n');
    expect(withoutFrames(Buffer.alloc(0))).to.equal('');
  });
});

describe('engine: what its errors mean', () => {
  const judge = (error: unknown) => failureOf('start container web', '/run/x.sock', error);
  const said = (status: number, message: string) => judge(new EngineError(status, message));
  const withCode = (code: string) => Object.assign(new Error(`connect ${code}`), { code });

  it('an engine that is away is a retry, a closed socket a task for a person', () => {
    for (const code of ['ENOENT', 'ECONNREFUSED', 'ECONNRESET']) {
      expect(judge(withCode(code))).to.include({ kind: 'retry' });
      expect(judge(withCode(code)).why).to.equal(`engine unreachable at /run/x.sock (${code})`);
    }
    expect(judge(new Error('socket hang up'))).to.include({ kind: 'retry' });
    expect(judge(withCode('EACCES'))).to.include({ kind: 'blocked' });
    expect(judge(new DeadlineError('the engine', 50))).to.include({ kind: 'retry' });
    expect(judge(new TypeError('x is not a function'))).to.include({ kind: 'bug' });
  });

  it('the same fault has the same meaning in the words of each engine', () => {
    const cases: readonly (readonly [string, number, string])[] = [
      ['blocked', 400, 'invalid mount config for type "bind": bind source path does not exist: /srv/x'],
      ['blocked', 500, 'statfs /srv/x: no such file or directory'],
      ['blocked', 500, 'statfs /srv/x: permission denied'],
      [
        'retry',
        500,
        'driver failed programming external connectivity: Bind for 127.0.0.1:80 failed: port is already allocated',
      ],
      ['retry', 500, 'cannot listen on the TCP port: listen tcp4 127.0.0.1:80: bind: address already in use'],
      ['blocked', 409, 'Conflict. The container name "/web" is already in use by container "0a".'],
      ['blocked', 500, 'creating container storage: the container name "web" is already in use by 0a.'],
      ['blocked', 400, 'OCI runtime create failed: exec: "x": executable file not found in $PATH: unknown'],
      [
        'blocked',
        500,
        'runc: exec: "/x": stat /x: no such file or directory: OCI runtime attempted to invoke a command that was not found',
      ],
      ['blocked', 500, 'unauthorized: authentication required'],
      ['blocked', 404, 'manifest for h/a:v1 not found: manifest unknown: manifest unknown'],
      ['retry', 500, 'dial tcp 127.0.0.1:9: connect: connection refused'],
      ['retry', 500, 'write /var/lib: no space left on device'],
      ['retry', 404, 'network mcpnet not found'],
      ['blocked', 400, 'invalid reference format'],
    ];
    for (const [kind, status, message] of cases) expect(said(status, message), message).to.include({ kind });
  });

  it('never tells a secret, and never a whole page (G10)', () => {
    new Secret('correct-horse');
    const failure = said(500, `bad env PASS=correct-horse ${'x'.repeat(5000)}`);
    expect(failure.why).to.include('PASS=•••').and.have.length.below(500);
  });
});
