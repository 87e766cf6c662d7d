import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { run } from '../../src/demo/process.ts';
import type { Preview } from '../../src/report/preview.ts';

const text = (name: string, more = '', node = 'rift', version = 'v1.0.0'): string =>
  `name = "${name}"\nnode = "${node}"\n[build.images]\n${name} = "Dockerfile"\n[[components]]\nname = "${name}"\nimage = "mcr.svc.mcp.metacircular.net:8443/${name}:${version}"\n${more}\n[[components.routes]]\nport = 443\nmode = "l7"\n`;

describe('mc-gitops plan --base', function () {
  this.timeout(300_000);
  let dir: string;
  const git = (...args: string[]): Promise<unknown> =>
    run('git', ['-C', dir, '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args]);
  const put = (files: Readonly<Record<string, string>>): Promise<unknown> =>
    Promise.all(Object.entries(files).map(([path, content]) => writeFile(join(dir, path), content)));
  const plan = async (...args: string[]): Promise<string> => {
    const program = ['--import', 'tsx', 'src/main.ts', 'plan', dir, ...args];
    return (await run(process.execPath, program)).stdout;
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mcg-plan-base-'));
    await git('init', '--quiet', '--initial-branch=main');
    await run('mkdir', [join(dir, 'services')]);
    await put({
      'services/same.toml': text('same'),
      'services/image.toml': text('image'),
      'services/gone.toml': text('gone'),
      'services/move.toml': text('move', 'volumes = ["/srv/move:/srv/move"]'),
    });
    await git('add', '--all');
    await git('commit', '--quiet', '--message', 'base');
    await git('tag', 'v1');
    await put({
      'services/image.toml': text('image', 'env = ["A=canary-7f21"]', 'rift', 'v1.1.0'),
      'services/new.toml': text('new', '', 'orion'),
      'services/move.toml': text('move', 'volumes = ["/srv/move:/srv/move"]', 'orion'),
    });
    await rm(join(dir, 'services/gone.toml'));
    await git('add', '--all');
    await git('commit', '--quiet', '--message', 'change');
  });
  after(() => rm(dir, { recursive: true }));

  it('tells the change between two revisions without any state, node by node', async () => {
    // A service that may not move is an error: exit code 1, and the plan all the same.
    const failed = await plan('--base', 'HEAD~1', '--format', 'json').catch((error: unknown) =>
      String(error),
    );
    expect(failed).to.contain('ended with 1');
    await put({ 'services/move.toml': text('move', 'volumes = ["/srv/move:/srv/move"]') });
    const all = JSON.parse(await plan('--base', 'v1', '--format', 'json')) as Preview[];
    expect(
      all.map(({ node, services }) => [node, services.map(({ name, action }) => `${name} ${action}`)]),
    ).to.deep.equal([
      ['orion', ['new create']],
      ['rift', ['gone remove', 'image replace', 'move nothing', 'same nothing']],
    ]);
    const image = all[1]?.services.find(({ name }) => name === 'image');
    expect(image?.patch?.map(({ path }) => path)).to.deep.equal([
      '/components/image/image',
      '/components/image/env/A',
    ]);
    expect(image?.images.built).to.deep.equal(['mcr.svc.mcp.metacircular.net:8443/image:v1.1.0']);
    expect(image?.downtime).to.contain('a restart');
    const gone = all[1]?.services.find(({ name }) => name === 'gone');
    expect(gone?.routes.removed).to.deep.equal(['gone.svc.mcp.metacircular.net:443 l7 → gone']);
    expect(gone?.records.removed).to.deep.equal(['gone.svc.mcp.metacircular.net']);
    expect(gone?.ports.removed).to.have.length(1);
    expect(all[1]?.budget).to.deep.equal({ spent: ['gone'], named: [], allowed: 1, of: 4 });
    expect(JSON.stringify(all)).to.not.contain('canary-7f21');
  });

  it('--node tells one node, and Markdown has the mark by which a comment is found again', async () => {
    const said = await plan('--base', 'v1', '--node', 'orion', '--format', 'markdown');
    expect(said).to.match(/^<!-- mc-gitops plan -->\n/);
    expect(said).to.contain('| new | **create** |').and.not.contain('rift');
  });

  it('L31 counts the trailers of all commits since the base, and ends with 1 when it refuses', async () => {
    await put({ 'services/move.toml': text('move', 'volumes = ["/srv/move:/srv/move"]') });
    await git('add', '--all');
    await git('commit', '--quiet', '--message', 'back where it was');
    await git('tag', 'before');
    await rm(join(dir, 'services/same.toml'));
    await rm(join(dir, 'services/image.toml'));
    await git('add', '--all');
    await git('commit', '--quiet', '--message', 'go\n\nRemove-Services: same, image');
    await put({ 'services/last.toml': text('last') });
    await git('add', '--all');
    await git('commit', '--quiet', '--message', 'on top');
    const [rift] = JSON.parse(
      await plan('--base', 'before', '--node', 'rift', '--format', 'json'),
    ) as Preview[];
    expect(rift?.services.map(({ name, action, held }) => [name, action, held])).to.deep.equal([
      ['image', 'remove', undefined],
      ['last', 'create', undefined],
      ['move', 'nothing', undefined],
      ['same', 'remove', undefined],
    ]);
    await git('reset', '--quiet', '--soft', 'before');
    await git('commit', '--quiet', '--message', 'without a trailer');
    const refused = await plan('--base', 'before', '--node', 'rift').catch((error: unknown) => String(error));
    expect(refused).to.contain('ended with 1');
  });

  it('says what is missing when it has nothing to start from, or no such revision', async () => {
    const said = async (...args: string[]): Promise<string> =>
      plan(...args).catch((error: unknown) => String(error));
    expect(await said())
      .to.contain('ended with 2')
      .and.contain('--base REF');
    expect(await said('--base', 'nowhere'))
      .to.contain('ended with 2')
      .and.contain('no revision nowhere');
    const state = join(dir, 'state.json');
    await writeFile(state, '{"format":1,"node":"rift"}');
    expect(await said('--state', state, '--state', state))
      .to.contain('ended with 2')
      .and.contain('two of the states are of the node rift');
  });
});
