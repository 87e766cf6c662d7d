import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { run } from '../../src/demo/process.ts';
import type { Preview } from '../../src/report/preview.ts';
import { definitionOf, makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { buildBusyboxImage, buildNodeImage } from '../support/images.ts';
import { until } from '../support/until.ts';

const WEB = 'localhost/mcg-plan-test/web:v1.0.0';
const WEB_NEXT = 'localhost/mcg-plan-test/web:v1.1.0';
const IDLE = 'localhost/mcg-plan-test/idle:v1.0.0';
const SECRET = 'plan-canary-51c2d9';

describe('mc-gitops plan --state', () => {
  let docker: TestEngine;
  let rig: AgentRig;
  let checkout: string;

  before(async function () {
    this.timeout(300_000);
    docker = await startDocker();
    await buildNodeImage(docker, WEB);
    await buildNodeImage(docker, WEB_NEXT, undefined, { lines: ['ENV NEXT=yes'] });
    await buildBusyboxImage(docker, IDLE);
    rig = await makeAgentRig(docker);
    await rig.startProxy();
    await rig.push({
      'services/web.toml': definitionOf(rig, 'web', WEB, `env = ["TOKEN=${SECRET}", "LEVEL=info"]`),
      'services/idle.toml': plainDefinition('idle', IDLE),
    });
    await rig.start();
    await rig.state('web', 'converged');
    await rig.state('idle', 'converged');
    checkout = join(rig.dir, 'checkout');
    await run('git', ['clone', '--quiet', rig.definitions.path, checkout]);
  });
  after(() => rig.close());

  const plan = async (format: string): Promise<string> => {
    const { dashboard } = rig.address();
    const { stdout } = await run(process.execPath, [
      '--import',
      'tsx',
      'src/main.ts',
      'plan',
      checkout,
      '--state',
      dashboard,
      '--format',
      format,
    ]);
    return stdout;
  };
  const preview = async (): Promise<Preview> => JSON.parse(await plan('json')) as Preview;
  const action = (all: Preview, name: string): string | undefined =>
    all.services.find((service) => service.name === name)?.action;

  it('says nothing of a repository that is as the node is, and shows no value of a variable', async () => {
    const all = await preview();
    expect(all.services.map((service) => [service.name, service.action])).to.deep.equal([
      ['idle', 'nothing'],
      ['web', 'nothing'],
    ]);
    expect((await plan('text')) + (await plan('markdown')) + JSON.stringify(all)).to.not.contain(SECRET);
  });

  it('says what the agent then does, step by step', async () => {
    await writeFile(
      join(checkout, 'services/web.toml'),
      definitionOf(rig, 'web', WEB_NEXT, `env = ["TOKEN=${SECRET}", "LEVEL=debug"]`),
    );
    await writeFile(join(checkout, 'services/more.toml'), plainDefinition('more', IDLE));
    await rm(join(checkout, 'services/idle.toml'));
    const said = await preview();
    expect([action(said, 'web'), action(said, 'more'), action(said, 'idle')]).to.deep.equal([
      'replace',
      'create',
      'remove',
    ]);
    const web = said.services.find((service) => service.name === 'web');
    expect(web?.patch?.map((operation) => operation.path)).to.deep.equal([
      '/components/web/image',
      '/components/web/env/LEVEL',
    ]);
    expect(web?.downtime).to.contain('a restart');

    const commit = await rig.push({
      'services/web.toml': definitionOf(rig, 'web', WEB_NEXT, `env = ["TOKEN=${SECRET}", "LEVEL=debug"]`),
      'services/more.toml': plainDefinition('more', IDLE),
      'services/idle.toml': undefined,
    });
    await rig.state('web', 'converged');
    await rig.state('more', 'converged');
    await until('idle to be gone', async () =>
      (await rig.view()).services.every((service) => service.name !== 'idle'),
    );
    const passes = (await rig.view()).passes.filter((pass) => pass.commit === commit).reverse();
    for (const name of ['web', 'more', 'idle']) {
      const done = passes.flatMap((pass) =>
        pass.steps.filter((step) => step.service === name).map((step) => step.kind),
      );
      expect(
        said.services.find((service) => service.name === name)?.steps.map((step) => step.kind),
        name,
      ).to.deep.equal(done);
    }
  });

  it('tells an error of a definition with its place, and exits with 1', async () => {
    await mkdir(join(checkout, 'services'), { recursive: true });
    await writeFile(join(checkout, 'services/bad.toml'), plainDefinition('bad', 'localhost/x/y:latest'));
    const [code, said] = await new Promise<[number | null, string]>((resolve) => {
      const args = ['--import', 'tsx', 'src/main.ts', 'plan', checkout, '--state', rig.address().dashboard];
      const child = execFile(process.execPath, args, (_error, stdout) => resolve([child.exitCode, stdout]));
    });
    expect(code).to.equal(1);
    expect(said).to.contain('services/bad.toml:6');
  });
});
