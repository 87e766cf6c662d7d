import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parseSettings, type Settings } from '../../../src/settings.ts';

const MINIMAL = 'node = "rift"\n[source]\nurls = ["https://git.example.net/ops/definitions.git"]\n';

function good(content: string, env: NodeJS.ProcessEnv = {}): Settings {
  const outcome = parseSettings(content, 'x.toml', env);
  if (outcome.kind !== 'ok') throw new Error(outcome.why);
  return outcome.value;
}

function refusal(content: string, env: NodeJS.ProcessEnv = {}): string {
  const outcome = parseSettings(content, 'x.toml', env);
  if (outcome.kind === 'ok') throw new Error('accepted');
  return outcome.why;
}

describe('settings', () => {
  it('need a node and one url, everything else has a default', () => {
    const settings = good(MINIMAL);
    expect(settings.owner).to.equal('rift/main');
    expect(settings.ports.range).to.deep.equal([10000, 60000]);
    expect(settings.mcproxy.driver).to.equal('none');
    expect(settings.dataDir).to.equal('/var/lib/mc-gitops');
  });

  it('name an unknown key', () => {
    expect(refusal(`${MINIMAL}[server]\nlisten = ":1"\n`)).to.contain('server.listen');
  });

  it('tell line and column of a syntax error', () => {
    expect(refusal('node = "rift"\n[source\n')).to.match(/^x\.toml:2:\d+: /);
  });

  it('refuse a node name that is no DNS label, an empty list of urls, a reversed port range and a relative path', () => {
    expect(refusal(MINIMAL.replace('rift', 'Rift!'))).to.contain('node: ');
    expect(refusal('node = "rift"\n[source]\nurls = []\n')).to.contain('source.urls');
    expect(refusal(`${MINIMAL}[ports]\nrange = [60000, 10000]\n`)).to.contain('ports.range');
    expect(refusal(`${MINIMAL}[database]\npath = "here.db"\n`)).to.contain('not an absolute path');
  });

  it('can be overridden by MC_GITOPS_<SECTION>_<KEY>, with text, numbers and lists', () => {
    const settings = good(MINIMAL, {
      MC_GITOPS_NODE: 'other',
      MC_GITOPS_SERVER_LISTEN_ADDR: '127.0.0.1:9',
      MC_GITOPS_PORTS_RANGE: '20000, 30000',
      MC_GITOPS_BUILD_CONCURRENCY: '2',
      MC_GITOPS_SOURCE_URLS: 'https://a.example/x.git,/srv/git/x.git',
      MC_GITOPS_CONFIG: '/etc/x',
    });
    expect(settings.node).to.equal('other');
    expect(settings.server.listen_addr).to.equal('127.0.0.1:9');
    expect(settings.ports.range).to.deep.equal([20000, 30000]);
    expect(settings.build.concurrency).to.equal(2);
    expect(settings.source.urls).to.have.length(2);
  });

  it('name an override that stands for no setting', () => {
    expect(refusal(MINIMAL, { MC_GITOPS_SERVER_PORT: '1' })).to.contain(
      'MC_GITOPS_SERVER_PORT: no such setting',
    );
  });
});

describe('deploy/mc-gitops.toml', () => {
  const shipped = readFileSync(new URL('../../../deploy/mc-gitops.toml', import.meta.url), 'utf8');

  it('is accepted as it is, and gives every key with its default', () => {
    expect(good(shipped)).to.deep.equal(good(MINIMAL));
  });
});
