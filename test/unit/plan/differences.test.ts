import { expect } from 'chai';
import { shortCheck } from '../../../src/base/check.ts';
import type { Component, Mount, Service } from '../../../src/definitions/types.ts';
import type { ContainerParts, ContainerSpec, ObservedContainer, SeenText } from '../../../src/node/types.ts';
import { becauseOf } from '../../../src/plan/because.ts';
import { takeOverDifferences } from '../../../src/plan/differences.ts';
import { specOf } from '../../../src/plan/spec.ts';
import type { Applied } from '../../../src/registry/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const OWN: SeenText = { check: 'x', given: true };
const BIND: Mount = { kind: 'bind', source: '/srv/a', target: '/data', readOnly: false };
const PLAIN: ContainerParts = {
  ...{ env: {}, agentEnv: {}, labels: {}, rights: [], mounts: [], resources: {} },
  ...{ networks: { mcpnet: [] }, restart: 'unless-stopped', user: OWN, entrypoint: OWN, cmd: OWN },
};

function specFor(change: Partial<Component> = {}): ContainerSpec {
  const one = component('a', change);
  return specOf(new World().facts(), service('a', [one]), one);
}

/** What is told of a container started by hand, without its name. */
function told(
  parts: Partial<ContainerParts> | undefined,
  change: Partial<Component> = {},
  old: Partial<ObservedContainer> = {},
): string | undefined {
  const container = { name: 'old', image: component('a').image.reference, publish: [], ...old };
  const seen = { ...container, ...(parts === undefined ? {} : { parts: { ...PLAIN, ...parts } }) };
  return takeOverDifferences(specFor(change), seen as unknown as ObservedContainer)?.replace('old has ', '');
}

const lost = (what: string): string => `what its successor will not have: ${what}`;
const other = (what: string): string => `otherwise than its successor: ${what}`;

describe('in what a container started by hand differs from its successor (L27)', () => {
  it('in nothing, where it is the same, or nothing but the list is known', () => {
    expect(told({})).to.equal(undefined);
    expect(told(undefined)).to.equal(undefined);
    expect(told(undefined, {}, { image: 'x:1' })).to.equal(
      other('image x:1 (then mcr.example.net/a:v1.0.0)'),
    );
  });

  it('in mounts that it alone has, and those from elsewhere or with other rights', () => {
    const mounts = [BIND, { kind: 'volume', volume: 'v', target: '/v', readOnly: true }] as const;
    expect(told({ mounts })).to.equal(lost('mount /data (/srv/a), mount /v (volume v read-only)'));
    expect(
      told({ mounts: [{ kind: 'volume', volume: 'a'.repeat(64), target: '/v', readOnly: false }] }),
    ).to.equal(lost('mount /v (an anonymous volume)'));
    expect(
      told({ mounts: [BIND] }, { mounts: [{ ...BIND, source: '/srv//a/', target: '/data/' }] }),
    ).to.equal(undefined);
    expect(told({ mounts: [BIND] }, { mounts: [{ ...BIND, source: '/srv/b' }] })).to.equal(
      other('mount /data (/srv/a, then /srv/b)'),
    );
    expect(told({ mounts: [BIND] }, { mounts: [{ ...BIND, readOnly: true }] })).to.equal(
      other('mount /data (/srv/a, then /srv/a read-only)'),
    );
  });

  it('in ports that will not be published, each once for both kinds of address', () => {
    const port = { ip: '0.0.0.0', host: 80, container: 81, protocol: 'tcp' } as const;
    const publish = [port, { ...port, ip: '::' }, { ...port, ip: '127.0.0.1', host: 82 }];
    expect(told(undefined, {}, { publish })).to.equal(
      lost('published port 0.0.0.0:80:81/tcp, published port 127.0.0.1:82:81/tcp'),
    );
    expect(told(undefined, { ports: [{ host: 80, container: 81, protocol: 'tcp' }] }, { publish })).to.equal(
      lost('published port 127.0.0.1:82:81/tcp'),
    );
  });

  it("in networks that it alone has, but for a rootless engine's own way out", () => {
    expect(told({ networks: { mcpnet: [], bridge: [], pasta: [], slirp4netns: [] } })).to.equal(
      lost('network bridge'),
    );
  });

  it('in rights and limits that its successor does not have', () => {
    const resources = { memoryBytes: 1, cpus: 1 };
    expect(told({ rights: ['privileged'], resources })).to.equal(
      lost('privileged, its memory limit, its processor limit'),
    );
    expect(told({ resources }, { resources })).to.equal(undefined);
  });

  it('in user, entrypoint, command and restart policy, where they are not what they would be anyway', () => {
    const given = (value: unknown): SeenText => ({ check: shortCheck(value), given: false });
    const by = { user: given('1000'), entrypoint: given('/bin/a'), cmd: given(['x']), restart: 'always' };
    expect(told(by)).to.equal(
      other('user, restart policy always (then unless-stopped), entrypoint, command'),
    );
    const same = { user: '1000', entrypoint: ['/bin/a', 'x'], restart: 'no' } as const;
    expect(told({ ...by, restart: 'no' }, same), 'the rest of the entrypoint is of the command').to.equal(
      undefined,
    );
    expect(told({ ...by, restart: 'no' }, { ...same, entrypoint: ['/bin/a'], cmd: ['y'] })).to.equal(
      other('command'),
    );
    expect(told({ user: { check: 'x' } }), 'of an image that is not known').to.equal(undefined);
  });

  it('in variables by their names: those of the image and PORT… are nobody’s', () => {
    const env = { A: 'h1', B: 'h2', C: 'h3', PATH: 'p', PORT: 'q', PORT_X: 'r', PORTAL: 's' };
    const wanted = {
      env: [
        { name: 'B', hash: 'h2' },
        { name: 'C', hash: 'h9' },
      ],
    };
    expect(told({ env, given: ['PATH'], agentEnv: {} }, wanted)).to.equal(
      `${lost('variable A, variable PORTAL')}; ${other('variable C')}`,
    );
  });

  it('in at most twenty words, and so many more', () => {
    const rights = Array.from({ length: 22 }, (_, at) => `r${at}`);
    expect(told({ rights })).to.match(/, r19 and 2 more$/);
    expect(told({ rights: rights.slice(0, 20) })).to.match(/, r19$/);
  });
});

const FACTS = new World().facts();

describe('why a service changes, in words', () => {
  const A = component('a', {
    env: [{ name: 'X', hash: 'h1' }],
    labels: [{ name: 'team', value: 'a' }],
    mounts: [BIND],
    ports: [{ host: 53, container: 53, protocol: 'udp' }],
    cmd: ['secret'],
  });
  const because = (
    before: Partial<Component>,
    now: Partial<Component>,
    more: Partial<Service> = {},
  ): ReturnType<typeof becauseOf> => {
    const [old, next] = [service('a', [{ ...A, ...before }]), service('a', [{ ...A, ...now }], more)];
    const [desired] = desiredOf([next]).services;
    if (desired === undefined) throw new Error('nothing is wanted');
    const applied = { service: old, digest: 'before', file: desired.file } as unknown as Applied;
    return becauseOf(FACTS, desired, applied, {}, 'x');
  };

  it('names what was added, changed and removed, with what it is now', () => {
    for (const [before, now, summary] of [
      [{}, { user: '0:0' }, 'components/a/user added → 0:0'],
      [{ user: '0:0' }, {}, 'components/a/user removed'],
      [{}, { restart: 'no' }, 'components/a/restart changed → no'],
      [
        {},
        { ports: [{ ip: '::1', host: 53, container: 54, protocol: 'udp' }] },
        'components/a/ports/:53~1udp removed, components/a/ports/::1:53~1udp added → 54',
      ],
      [{}, { mounts: [{ ...BIND, readOnly: true }] }, 'components/a/mounts/~1data/readOnly changed → true'],
      [{}, { mounts: [] }, 'components/a/mounts/~1data removed'],
    ] as const)
      expect(because(before, now).summary).to.equal(summary);
  });

  it('G10 never with the value of a variable, an argument or a label', () => {
    expect(because({}, { env: [{ name: 'X', hash: 'h2' }] }).summary).to.equal('components/a/env/X changed');
    expect(because({}, { cmd: ['hunter2pw'] }).summary).to.equal('components/a/cmd/0 changed → •••');
    const labelled = because({}, { labels: [{ name: 'team', value: 'hunter2pw' }] });
    expect(labelled.summary).to.equal('components/a/labels/team changed → •••');
    expect(JSON.stringify([labelled, because({}, { cmd: ['hunter2pw'] })])).to.not.contain('hunter2pw');
    expect(
      because({ cmd: ['•••'] }, { cmd: ['hunter2pw'] }).patch,
      'what was there is not told',
    ).to.deep.equal([]);
  });

  it('three of them, and how many more', () => {
    const now = { user: '0:0', network: 'other', restart: 'no' } as const;
    expect(because({}, now).summary.split(', ')).to.have.length(3);
    const five = because({}, { ...now, stopSignal: 'SIGINT' }, { generation: 2 });
    expect(five.summary.split(', ')).to.have.length(4);
    expect(five.summary).to.match(/, 2 more changes$/);
    expect(five.patch).to.have.length(5);
  });

  it('in general words where no difference can be told', () => {
    const same = because({}, {});
    expect([same.summary, same.patch]).to.deep.equal(['the definition changed', []]);
    const [desired] = desiredOf([service('a', [A])]).services;
    if (desired === undefined) throw new Error('nothing is wanted');
    const { digest, file, commit } = desired;
    const old = { service: { name: 'a' }, digest: 'x', file } as unknown as Applied;
    expect(becauseOf(FACTS, desired, old, {}, 'x').summary, 'a record of another form').to.equal(
      'the definition changed',
    );
    const here = { service: desired.service, digest, file } as unknown as Applied;
    expect(becauseOf(FACTS, desired, undefined, {}, 'x')).to.deep.equal({
      summary: 'new service a',
      commit,
      file,
    });
    expect(becauseOf(FACTS, desired, here, {}, 'x').summary).to.equal('x');
    expect(becauseOf(FACTS, desired, here, { drift: 'it drifted' }, 'x').summary).to.equal('it drifted');
    expect(becauseOf(FACTS, desired, { ...here, file: 'services/old.toml' }, {}, 'x').summary).to.equal(
      'its file moved from services/old.toml to services/a.toml',
    );
  });
});
