import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { StepKind } from '../../src/plan/types.ts';
import type { ServiceView } from '../../src/report/types.ts';
import { definitionOf, plainDefinition } from '../support/agentrig.ts';
import { until } from '../support/until.ts';
import { BASE, DEPLOY, GOOD, NEXT, type Scene } from './kill.scene.ts';

/** One change of the node, and where in it an agent is killed, in the order in which these come. */
export interface Chapter {
  readonly title: string;
  readonly files: (scene: Scene) => Readonly<Record<string, string | undefined>>;
  readonly message?: string;
  /** Settings besides those of the scene. */
  readonly settings?: (scene: Scene) => object;
  /** What is done by hand before. */
  readonly before?: (scene: Scene) => Promise<unknown>;
  /** What happens while an agent lives that is to die. */
  readonly amid?: (scene: Scene) => Promise<unknown>;
  readonly cuts: readonly Cut[];
  /** What runs in the end, by name, with its image. */
  readonly ends: Readonly<Record<string, string>> | ((scene: Scene) => Readonly<Record<string, string>>);
  /** States of services that end otherwise than converged or stopped. */
  readonly states?: Readonly<Record<string, ServiceView['state']>>;
  /** What is done for no service: that it is done is seen in no state. */
  readonly isTidy?: (scene: Scene) => Promise<boolean>;
  /** It goes on doing something: there is no pass without a step to wait for. */
  readonly isRestless?: true;
  /** What else must be so in the end. */
  readonly proved?: (scene: Scene) => Promise<void>;
}

/** A kind of step, or a job that goes on after its step. */
export type Cut = StepKind | 'a pull under way' | 'a push under way';

/** From nothing to nothing: created, replaced, replaced with both running, stopped, removed. */
export const STORY: readonly Chapter[] = [
  {
    title: 'a new service',
    files: ({ rig }) => ({ 'services/web.toml': definitionOf(rig, 'web', GOOD) }),
    cuts: [
      'lease-ports',
      'record-image',
      'issue-certificate',
      'create-network',
      'create-container',
      'record-trial',
      'start-container',
      'put-routes',
      'record-applied',
    ],
    ends: { web: GOOD },
  },
  {
    title: 'a new version',
    files: ({ rig }) => ({ 'services/web.toml': definitionOf(rig, 'web', NEXT) }),
    cuts: ['create-container', 'retire-container', 'start-container', 'record-applied', 'remove-container'],
    ends: { web: NEXT },
  },
  {
    title: 'a new version with blue-green',
    files: ({ rig }) => ({
      'services/web.toml': definitionOf(rig, 'web', GOOD, '', '[deploy]\nstrategy = "blue-green"\n'),
    }),
    cuts: ['lease-ports', 'set-aside-container', 'put-routes', 'remove-container'],
    ends: { web: GOOD },
  },
  {
    title: 'a service of two components, and a stop',
    files: ({ rig }) => ({
      'services/web.toml': definitionOf(
        rig,
        'web',
        GOOD,
        '',
        'active = false\n[deploy]\nstrategy = "blue-green"\n',
      ),
      'services/pair.toml': `${plainDefinition('pair', GOOD)}[[components]]\nname = "second"\nimage = "${GOOD}"\n`,
    }),
    cuts: ['remove-routes', 'stop-container'],
    ends: { pair: GOOD, 'pair-second': GOOD },
  },
  {
    title: 'a removal of the one that is stopped, whose certificate nobody needs any more',
    files: () => ({ 'services/web.toml': undefined }),
    message: 'Away with it\n\nRemove-Services: web',
    cuts: ['forget-service', 'remove-certificate'],
    ends: { pair: GOOD, 'pair-second': GOOD },
    proved: async ({ rig }) => {
      const left = (await readdir(join(rig.dir, 'certs'))).filter((name) => name.endsWith('.pem'));
      expect(left, 'certificates').to.deep.equal([]);
    },
  },
  {
    title: 'a removal',
    files: () => ({ 'services/pair.toml': undefined, 'README.md': 'empty\n' }),
    message: 'Away with them\n\nRemove-Services: pair',
    cuts: ['remove-container', 'remove-network', 'forget-service'],
    ends: {},
  },
];

const SILENT = 'env = ["BEHAVIOUR=silent"]';

/** Images, names, what was there before, and what is left over; from nothing to nothing, too. */
export const MORE: readonly Chapter[] = [
  {
    title: 'an image that is built and pushed, with two names in DNS',
    before: (scene) => scene.source('hello', ['v1.0.0', 'v1.1.0']),
    files: (scene) => ({
      'nodes/n1.toml': `addresses = ["127.0.0.1"]\nhostname_suffix = "${scene.names.zone}"\n`,
      'services/hello.toml': built(scene, 'v1.0.0', ['web', 'api']),
    }),
    cuts: ['build-image', 'push-image', 'put-records', 'a push under way'],
    ends: (scene) => ({ hello: scene.image('hello', 'v1.0.0') }),
    proved: async ({ names, pushed }) => {
      await pushed('hello', 'v1.0.0');
      for (const name of ['hello', 'api'])
        expect(await names.dig(`${name}.${names.zone}`, 'A'), name).to.deep.equal(['127.0.0.1']);
    },
  },
  {
    title: 'a newer version of it with one name, and room for one version',
    settings: () => ({ images: { keep: 1 } }),
    files: (scene) => ({ 'services/hello.toml': built(scene, 'v1.1.0', ['web']) }),
    cuts: ['remove-records', 'release-leases', 'remove-image'],
    ends: (scene) => ({ hello: scene.image('hello', 'v1.1.0') }),
    proved: async ({ names, image, rig }) => {
      expect(await names.dig(`api.${names.zone}`, 'A'), 'the name that went').to.deep.equal([]);
      expect(await names.dig(`hello.${names.zone}`, 'A'), 'the one that stayed').to.deep.equal(['127.0.0.1']);
      expect(await rig.engine.inspectImage(image('hello', 'v1.0.0')), 'the old image').to.include({
        value: undefined,
      });
    },
  },
  {
    title: 'a builder that remembers more than it may',
    settings: ({ rig }) => ({ build: { workspace: join(rig.dir, 'src'), cache_mib: 0 } }),
    files: () => ({ 'README.md': 'room\n' }),
    cuts: ['prune-build-cache'],
    ends: (scene) => ({ hello: scene.image('hello', 'v1.1.0') }),
    // The disk is measured beside the passes: the service is in line long before.
    isTidy: async ({ rig }) => {
      const disk = await rig.engine.disk();
      return disk.kind === 'ok' && disk.value.cacheBytes === 0;
    },
  },
  {
    title: 'a build that nobody waits for any more: while it is under way, git takes its service back',
    before: ({ source }) => source('early', ['v1.0.0'], 'RUN ["/bin/busybox", "sleep", "600"]'),
    files: (scene) => ({
      'services/early.toml': `${plainDefinition('early', scene.image('early', 'v1.0.0'))}[build.images]\nearly = "Dockerfile"\n`,
    }),
    amid: async ({ rig }) => {
      const isBuilt = (): boolean => rig.lines.some((line) => /"step":"build-image".*early/.test(line));
      await until('the build to be begun', isBuilt, 60_000);
      await rig.push({ 'services/early.toml': undefined });
    },
    cuts: ['cancel-image'],
    ends: (scene) => ({ hello: scene.image('hello', 'v1.1.0') }),
  },
  {
    title: 'a service of the version that its registry alone has',
    files: (scene) => ({
      'services/other.toml': plainDefinition('other', scene.image('hello', 'v1.0.0')),
    }),
    cuts: ['pull-image', 'a pull under way'],
    ends: (scene) => ({ hello: scene.image('hello', 'v1.1.0'), other: scene.image('hello', 'v1.0.0') }),
  },
  {
    title: 'two places that services take, one of which is given back, as its version is not proved',
    before: async ({ byHand }) => {
      for (const name of ['taken-old', 'given-old']) await byHand(name);
    },
    files: (scene) => ({
      'services/taken.toml': plainDefinition('taken', BASE, replaces(scene, 'taken-old')),
      'services/given.toml': definitionOf(
        scene.rig,
        'given',
        BASE,
        `${SILENT}\n${replaces(scene, 'given-old')}`,
        '[deploy]\ntimeout = "3s"\n',
      ),
    }),
    cuts: ['take-over-container', 'give-back-container'],
    ends: (scene) => ({ ...helloAndOther(scene), taken: BASE }),
    states: { given: 'held back' },
    proved: async ({ handMade, handName }) => {
      const taken = await handMade('taken-old');
      expect(taken?.state).to.equal('exited');
      expect(taken?.name).to.match(/taken-old\.prev-[0-9a-f]{8}$/);
      expect(await handMade('given-old')).to.include({ name: handName('given-old'), state: 'running' });
    },
  },
  {
    title: 'a service that git no longer has, when the registry and the file beside it are lost',
    before: async (scene) => {
      await loseRegistry(scene);
      await rm(join(scene.rig.dir, 'data', 'kept-registry.json'));
    },
    files: () => ({ 'services/other.toml': undefined, 'services/given.toml': undefined }),
    cuts: ['record-orphan'],
    ends: (scene) => ({ ...helloAndOther(scene), taken: BASE }),
    states: { other: 'orphan', given: 'orphan' },
  },
  {
    title: 'a container that exits again and again',
    settings: () => ({ deploy: { ...DEPLOY, flapping_exits: 2, flapping_window_s: 600 } }),
    files: () => ({ 'services/crash.toml': plainDefinition('crash', BASE, 'env = ["BEHAVIOUR=exit"]') }),
    message: 'Away with what nobody knows\n\nRemove-Services: other, given',
    cuts: ['rest-container'],
    ends: (scene) => ({ hello: scene.image('hello', 'v1.1.0'), taken: BASE }),
    states: { crash: 'flapping' },
    isRestless: true,
  },
  {
    title: 'a removal of all that',
    files: () => ({
      'services/hello.toml': undefined,
      'services/taken.toml': undefined,
      'services/crash.toml': undefined,
    }),
    message: 'Away with them\n\nRemove-Services: hello, taken, crash',
    cuts: ['remove-records', 'remove-container'],
    ends: {},
    proved: async ({ names }) => {
      expect(await names.dig(`hello.${names.zone}`, 'A'), 'the last name').to.deep.equal([]);
    },
  },
];

/** What happens to a node besides: each boundary of it, among the long tests alone. */
export const BESIDES: readonly Chapter[] = [
  {
    title: 'a service again, by two commits in a row',
    before: async ({ rig, makeImages }) => {
      await makeImages();
      await rig.push({ 'services/web.toml': definitionOf(rig, 'web', NEXT) });
    },
    files: ({ rig }) => ({ 'services/web.toml': definitionOf(rig, 'web', GOOD) }),
    cuts: ['create-container', 'start-container', 'record-applied'],
    ends: { web: GOOD },
  },
  {
    title: 'a container that somebody removed',
    before: ({ remove }) => remove('web'),
    files: () => ({ 'README.md': 'removed by hand\n' }),
    cuts: ['create-container', 'start-container'],
    ends: { web: GOOD },
  },
  {
    title: 'a port that somebody took while its container was away',
    before: async ({ remove, takePort }) => takePort(await remove('web')),
    files: () => ({ 'README.md': 'another port\n' }),
    cuts: ['lease-ports', 'create-container', 'start-container', 'put-routes'],
    ends: { web: GOOD },
  },
  {
    title: 'a version that is not proved, and gives way',
    files: ({ rig }) => ({
      'services/web.toml': definitionOf(rig, 'web', NEXT, SILENT, '[deploy]\ntimeout = "3s"\n'),
    }),
    cuts: ['retire-container', 'start-container', 'record-trial', 'remove-container'],
    ends: { web: GOOD },
    states: { web: 'held back' },
  },
  // Two services change beside each other: what the second cut of one commit would meet depends on who was quicker.
  ...(['create-container', 'remove-routes', 'put-routes', 'remove-container', 'forget-service'] as const).map(
    (cut, index): Chapter => {
      const [from, to] = index % 2 === 0 ? (['web', 'site'] as const) : (['site', 'web'] as const);
      return {
        title: `another name for the service (${cut})`,
        files: ({ rig }) => ({
          [`services/${from}.toml`]: undefined,
          [`services/${to}.toml`]: definitionOf(rig, to, GOOD),
        }),
        message: `Another name\n\nRemove-Services: ${from}`,
        cuts: [cut],
        ends: { [to]: GOOD },
      };
    },
  ),
  {
    title: 'a lost registry, and a new version',
    before: loseRegistry,
    files: ({ rig }) => ({ 'services/site.toml': definitionOf(rig, 'site', NEXT) }),
    cuts: ['record-image', 'create-container', 'retire-container', 'record-applied'],
    ends: { site: NEXT },
  },
];

async function loseRegistry({ rig }: Scene): Promise<void> {
  for (const file of ['registry.db', 'registry.db-wal', 'registry.db-shm'])
    await rm(join(rig.dir, 'data', file), { force: true });
}

/** A service whose image is built, with a route and so a name for each of these. */
function built(scene: Scene, version: string, routes: readonly string[]): string {
  const [first = '', ...others] = routes;
  const more = others.map(
    (name) =>
      `[[components.routes]]\nname = "${name}"\nport = ${scene.rig.webPort}\nmode = "l7"\nhostname = "${name}.${scene.names.zone}"\n`,
  );
  // A name goes when its successor is ready, a port when that is proved: with so long between them, one after the other.
  const top = '[deploy]\nstable_for = "2s"\n[build.images]\nhello = "Dockerfile"\n';
  return `${definitionOf(scene.rig, 'hello', scene.image('hello', version), '', top)}name = "${first}"\n${more.join('')}`;
}

function replaces({ handName }: Scene, name: string): string {
  return `replaces = "${handName(name)}"`;
}

function helloAndOther({ image }: Scene): Record<string, string> {
  return { hello: image('hello', 'v1.1.0'), other: image('hello', 'v1.0.0') };
}
