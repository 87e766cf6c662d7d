import { expect } from 'chai';
import { digestOf } from '../../../src/base/json.ts';
import { known, unknown } from '../../../src/base/outcome.ts';
import { foreseeBetween, nothingRuns } from '../../../src/commands/between.ts';
import type { Directory } from '../../../src/commands/directory.ts';
import { foresee, resolved, type Standing } from '../../../src/commands/foresee.ts';
import type { ObservedContainer } from '../../../src/node/types.ts';
import { specDigest, specOf } from '../../../src/plan/spec.ts';
import type { Preview, ServicePreview } from '../../../src/report/preview.ts';
import { formatPreview, markdownPreview } from '../../../src/report/previewtext.ts';
import { STATE_FORMAT } from '../../../src/report/state.ts';
import { parseSettings } from '../../../src/settings.ts';
import type { SourceFiles } from '../../../src/source/types.ts';
import { definitionOptions, planSettings } from '../../../src/wiring.ts';

const HOST = 'mcr.svc.mcp.metacircular.net:8443';
/** A Thursday, at noon. */
const NOW = Date.UTC(2026, 0, 1, 12);

type Files = Readonly<Record<string, string>>;

/** A service whose image no node builds, with a route. */
function text(
  name: string,
  change: { version?: string; node?: string; more?: string; tail?: string } = {},
): string {
  const { version = 'v1.0.0', node = 'rift', more = '', tail = '' } = change;
  return `name = "${name}"\nnode = "${node}"\n${more}\n[[components]]\nname = "${name}"\nimage = "${HOST}/${name}:${version}"\n${tail}\n[[components.routes]]\nport = 443\nmode = "l7"\n`;
}

function directory(files: Files): Directory {
  const all = Object.entries(files).map(([path, content]) => ({
    path,
    oid: digestOf(`${path} ${content}`).slice(0, 40),
    bytes: Buffer.from(content),
  }));
  return { files: all.sort((a, b) => (a.path < b.path ? -1 : 1)), refused: [] };
}

async function between(
  base: Files,
  fresh: Files,
  about: Parameters<typeof foreseeBetween>[3] = {},
): Promise<Preview[]> {
  const commit = { oid: 'b'.repeat(40), author: '', email: '', at: 0, message: '', parents: [] };
  const source: SourceFiles = { ...directory(base), commit };
  const previews = await foreseeBetween(source, directory(fresh), '', { now: NOW, ...about });
  if (previews.kind !== 'ok') throw new Error(`${previews.why} ${previews.hint ?? ''}`);
  return previews.value;
}

async function one(
  base: Files,
  fresh: Files,
  about?: Parameters<typeof foreseeBetween>[3],
): Promise<Preview> {
  const [preview] = await between(base, fresh, about);
  if (preview === undefined) throw new Error('no node');
  return preview;
}

function of(preview: Preview | undefined, name: string): ServicePreview {
  const found = preview?.services.find((service) => service.name === name);
  if (found === undefined) throw new Error(`nothing is said of ${name}`);
  return found;
}

const file = (name: string): string => `services/${name}.toml`;

/** Both ways in which a person reads it. */
function said(preview: Preview): string {
  return `${formatPreview(preview)}\n${markdownPreview([preview])}`;
}

describe('what a plan foretells', function () {
  this.timeout(300_000);

  it('shows the steps of a change, and that they wait for the window of the service, which opens when', async () => {
    const more = '[deploy]\nwindow = { cron = "0 3 * * sun", for = "2h", timezone = "UTC" }\n';
    const preview = await one(
      { [file('dd')]: text('dd', { more }) },
      { [file('dd')]: text('dd', { more, version: 'v1.1.0' }) },
    );
    expect(of(preview, 'dd').steps.map(({ kind }) => kind)).to.include('retire-container');
    for (const form of [formatPreview(preview), markdownPreview([preview])]) {
      expect(form).to.contain('replace, in its window');
      expect(form).to.contain('waits for the window of dd, which opens at 2026-01-04T03:00:00.000Z');
    }
    expect(of(preview, 'dd').notes).to.deep.equal(['changes only in its window: "0 3 * * sun" for 2 h, UTC']);
  });

  it('tells the windows of the node, and mode = "observe": the steps are shown, and nothing of them is done', async () => {
    const node = 'mode = "observe"\nwindows = [{ cron = "0 3 * * *", for = "30m", timezone = "UTC" }]\n';
    const preview = await one(
      { [file('aa')]: text('aa'), 'nodes/rift.toml': node },
      { [file('aa')]: text('aa', { version: 'v1.1.0' }), 'nodes/rift.toml': node },
    );
    expect(of(preview, 'aa').steps).to.not.deep.equal([]);
    for (const form of [formatPreview(preview), markdownPreview([preview])]) {
      expect(form).to.contain('mode observe: nothing of this is done');
      expect(form).to.contain('replace, in its window (mode observe: not done)');
    }
    expect(formatPreview(preview)).to.contain('windows of this node: "0 3 * * *" for 30 min, UTC');
  });

  it('tells of a service that it never returns by itself, and that drift restarts nothing', async () => {
    const more = '[deploy]\nreturn = "never"\nrestart = "manual"\n';
    const preview = await one(
      { [file('aa')]: text('aa', { more }) },
      { [file('aa')]: text('aa', { more, version: 'v1.1.0' }) },
    );
    expect(said(preview)).to.contain('never returns by itself').and.contain('restarts nothing');
  });

  it('waits for nothing that only the simulation made up, and shows no name of it', async () => {
    const preview = await one(
      { [file('aa')]: text('aa') },
      { [file('aa')]: text('aa', { version: 'v1.1.0' }), [file('new')]: text('new') },
    );
    expect(preview.services.flatMap(({ waiting }) => waiting)).to.deep.equal([]);
    expect(JSON.stringify(preview)).to.not.match(/simulate/);
    expect(of(preview, 'aa').steps.at(-1)).to.deep.equal({ kind: 'remove-container', subject: 'aa.prev-…' });
  });

  it('L31 refuses what the budget does not give, says so once, with the trailer whole; a commit that has it is heard', async () => {
    const names = Array.from({ length: 45 }, (_, at) => `svc-${String(at).padStart(2, '0')}`);
    const base = Object.fromEntries(['stays', ...names].map((name) => [file(name), text(name)]));
    const fresh = { [file('stays')]: text('stays'), [file('new')]: text('new') };
    const preview = await one(base, fresh);
    expect(of(preview, 'svc-07')).to.include({ action: 'remove', held: 'refused', downtime: 'none' });
    const text_ = markdownPreview([preview]);
    expect(text_).to.contain('| svc-07 | **remove: refused** |');
    expect(text_).to.contain(
      '45 of 46 services would be stopped or removed at once, and the budget is 9: none',
    );
    expect(text_).to.not.contain('of 47 services would');
    expect(text_.match(/are refused\*\*/g)).to.have.length(1);
    const trailers = text_.split('\n').filter((line) => line.startsWith('Remove-Services: '));
    expect(trailers.map((line) => line.split(', ').length)).to.deep.equal([20, 20, 5]);
    const commits = [
      { message: `x\n\n${trailers.slice(0, 2).join('\n')}` },
      { message: `y\n\n${trailers[2]}` },
    ];
    const named = await one(base, fresh, { commits });
    expect(
      named.services.filter(({ action, held }) => action === 'remove' && held === undefined),
    ).to.have.length(45);
    expect(named.trailers).to.deep.equal([]);
  });

  it('tells a node that the change touches only as an edge; whose records change is said of no other', async () => {
    const edged = (edge: string, host = 'dd'): string =>
      text('dd').replace('mode = "l7"', `mode = "l7"\nhostname = "${host}.svc.mcp.metacircular.net"${edge}`);
    const before = { [file('dd')]: edged('\nedge = ["front"]') };
    const [front, rift] = await between(before, { [file('dd')]: edged('') });
    expect([front?.node, rift?.node]).to.deep.equal(['front', 'rift']);
    expect(of(front, 'dd@rift').action).to.equal('remove');
    expect(of(rift, 'dd').records).to.deep.equal({
      added: ['dd.svc.mcp.metacircular.net'],
      removed: [],
    });
    const [, moved] = await between(before, { [file('dd')]: edged('\nedge = ["front"]', 'st') });
    expect(of(moved, 'dd').records).to.deep.equal({ added: [], removed: [] });
  });

  it('tells what runs also where the file of its node is bad: it stays', async () => {
    const base = { [file('dd')]: text('dd') };
    const preview = await one(base, { ...base, 'nodes/rift.toml': 'mode = "obsrve"\n' }, { only: 'rift' });
    expect(preview.services.map(({ name, action }) => [name, action])).to.deep.equal([['dd', 'nothing']]);
  });

  it('L35 has a patch for every field that changed', async () => {
    for (const [field, more] of [
      ['/generation', 'generation = 1\n'],
      ['/prune', 'prune = false\n'],
      ['/deploy', '[deploy]\ntimeout = "9m"\n'],
    ] as const) {
      const preview = await one({ [file('dd')]: text('dd') }, { [file('dd')]: text('dd', { more }) });
      expect(
        of(preview, 'dd').patch?.map(({ path }) => path),
        field,
      ).to.deep.equal([field]);
    }
  });

  it('calls a move by its name on both nodes, with the gap between', async () => {
    const [orion, rift] = await between(
      { [file('docs')]: text('docs'), [file('aa')]: text('aa') },
      { [file('docs')]: text('docs', { node: 'orion' }), [file('aa')]: text('aa') },
    );
    for (const [preview, action] of [
      [orion, 'create'],
      [rift, 'remove'],
    ] as const) {
      expect(of(preview, 'docs')).to.include({ action, because: 'moves from rift to orion' });
      expect(of(preview, 'docs').downtime).to.contain('a gap');
    }
  });

  it('says of a file that moved that it moved, also of an inactive service', async () => {
    const off = { more: 'active = false' };
    const preview = await one(
      { [file('aa')]: text('aa'), [file('off')]: text('off', off) },
      { 'services/sub/aa.toml': text('aa'), 'services/sub/off.toml': text('off', off) },
    );
    for (const name of ['aa', 'off'])
      expect(of(preview, name)).to.include({
        action: 'adjust',
        because: `its file moved from services/${name}.toml to services/sub/${name}.toml`,
      });
  });

  it('replaces nothing where nothing ran, and gives no number of a port that nobody knows yet', async () => {
    const preview = await one(
      { [file('aa')]: text('aa', { more: 'active = false' }) },
      { [file('aa')]: text('aa', { more: 'active = true' }), [file('new')]: text('new') },
    );
    expect(of(preview, 'aa')).to.include({
      action: 'create',
      because: 'active changed → true',
      downtime: 'none',
    });
    expect(of(preview, 'new').ports.added).to.deep.equal(['new → a host port that is leased then']);
    expect(JSON.stringify(preview)).to.not.match(/→ \d/);
  });

  it('a node that nobody names is no empty plan: the nearest name is told', async () => {
    const asked = await between(
      { [file('aa')]: text('aa') },
      { [file('aa')]: text('aa') },
      { only: 'rifft' },
    ).catch(String);
    expect(asked).to.contain('"rifft"').and.contain('Did you mean rift?');
    const withFile = { 'nodes/orion.toml': '', [file('aa')]: text('aa') };
    expect(await between(withFile, withFile, { only: 'orion' })).to.have.length(1);
  });

  it('makes nothing up of an engine that does not answer: everything waits for it, removals too', async () => {
    const state = standing({
      files: [{ service: 'gone', file: file('gone'), oid: '1'.repeat(40), commit: 'c'.repeat(40) }],
      observed: { ...nothingRuns(), engine: unknown('the engine does not answer') },
    });
    const preview = await foresee(state, directory({ [file('new')]: text('new') }), new Map());
    if (preview.kind !== 'ok') throw new Error(preview.why);
    expect(preview.value.services.map(({ name, action, held }) => [name, action, held])).to.deep.equal([
      ['gone', 'remove', 'waits'],
      ['new', 'create', 'waits'],
    ]);
    const form = formatPreview(preview.value);
    expect(form).to.contain('remove: waits').and.contain('waits for engine: the engine does not answer');
    expect(form).to.contain('0 of 2 services stay as they are; 2 change later');
    expect(form).to.not.contain('is not on this engine');
  });

  it('knows a version that is being tried, and was never applied, by its container: its variables did not change', async () => {
    const tail = 'env = ["A=1"]';
    const tried = directory({ [file('dd')]: text('dd', { tail }) });
    const [accepted] = tried.files;
    if (accepted === undefined) throw new Error('no file');
    const files = [{ service: 'dd', file: file('dd'), oid: accepted.oid, commit: 'c'.repeat(40) }];
    const lastGood = new Map([[file('dd'), { file: accepted, commit: 'c'.repeat(40) }]]);
    const leases = [{ service: 'dd', component: 'dd', route: '', slot: 'a' as const, port: 20_000 }];
    const empty = standing({ files, leases });
    // As the node has it, whose key nobody else knows.
    const { desired } = resolved(empty, { files: [accepted], refusedFiles: [], lastGood });
    const hash = 'f'.repeat(32);
    const [entry] = desired.services;
    const [part] = entry?.service.components ?? [];
    if (entry === undefined || part === undefined) throw new Error('no service');
    const made = { ...part, env: [{ name: 'A', hash }] };
    const service = { ...entry.service, components: [made] };
    const facts = { desired, promised: empty.promised, observed: empty.observed, now: NOW };
    const spec = specOf({ ...facts, settings: { ...empty.settings, removable: [] } } as never, service, made);
    const container = (given: string): ObservedContainer => ({
      ...{ id: 'c1', name: 'dd', image: spec.image, imageId: `assumed:${spec.image}`, state: 'running' },
      ...{ restartCount: 0, labels: {}, publish: spec.publish, startedAt: NOW - 9_000 },
      identity: {
        ...{ owner: spec.owner, service: 'dd', component: 'dd', leases: { '': 20_000 }, format: '1' },
        spec: specDigest(spec, 'key'),
      },
      parts: {
        env: { A: given, PORT: '' },
        agentEnv: Object.fromEntries(spec.agentEnv.map(({ name, value }) => [name, value])),
        mounts: [],
        networks: Object.fromEntries(spec.networks.map(({ name, aliases }) => [name, aliases])),
        ...{ labels: {}, restart: spec.restart, rights: [], resources: {} },
        ...{ user: { check: '', given: true }, entrypoint: { check: '', given: true } },
        cmd: { check: '', given: true },
      },
    });
    for (const [given, action] of [
      [hash, false],
      ['e'.repeat(32), true],
    ] as const) {
      const observed = {
        ...nothingRuns([443]),
        engine: known({ ...ENGINE, containers: [container(given)] }),
      };
      const preview = await foresee(standing({ files, leases, observed }), tried, lastGood);
      if (preview.kind !== 'ok') throw new Error(preview.why);
      const kinds = of(preview.value, 'dd').steps.map(({ kind }) => kind);
      expect(kinds.includes('create-container'), kinds.join()).to.equal(action);
    }
  });
});

const ENGINE = {
  ...{ kind: 'docker' as const, version: '', id: '', storageRoot: '', networks: ['mcpnet'] },
};

function standing(
  change: Partial<Standing['promised']> & { readonly observed?: Standing['observed'] },
): Standing {
  const { observed = nothingRuns(), ...promised } = change;
  const settings = parseSettings('node = "rift"\n[source]\nurls = ["/nowhere"]\n', 'a test', {});
  if (settings.kind !== 'ok') throw new Error(settings.why);
  return {
    format: STATE_FORMAT,
    node: 'rift',
    commit: 'c'.repeat(40),
    settings: planSettings(settings.value, 'key'),
    defaults: definitionOptions(settings.value, () => '').defaults,
    root: '',
    promised: {
      ...{ applied: [], leases: [], routes: [], images: [], files: [], failures: [], trials: [] },
      ...promised,
    },
    observed,
  };
}
