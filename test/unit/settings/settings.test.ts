import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parseSettings, type Settings } from '../../../src/settings.ts';
import { challengesOf } from '../../../src/wiring.ts';

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

  it('each finding says where, what and what to do, in the order of the file', () => {
    const text = [
      'node = "Rift"',
      'instance = 7',
      '[source]',
      'urls = "https://u:canary-password@git.example.net/x.git"',
      'timeout_s = 0.5',
      '[server]',
      'listen_adr = ":1"',
      '[log]',
      'level = "inf"',
      '[ports]',
      'range = [10000]',
      '[deploy]',
      'stop_timeout_s = 90',
      '[certs]',
      'driver = ""',
    ].join('\n');
    expect(refusal(text).split('\n')).to.deep.equal([
      'x.toml:1:1: node: must be a DNS label: a-z, 0-9, -, at most 63, and is "Rift"',
      'x.toml:2:1: instance: must be text in quotes, and is 7',
      'x.toml:4:1: source.urls: must be a list, [ … ], and is another thing',
      'x.toml:5:1: source.timeout_s: must be a whole number, and is another thing',
      'x.toml:5:1: source.timeout_s: must be at least 1, and is another thing',
      'x.toml:7:1: server.listen_adr: there is no such setting in [server]: is "listen_addr" meant?',
      'x.toml:9:1: log.level: must be one of "trace", "debug", "info", "warn", "error", "silent", and is "inf" ("info"?)',
      'x.toml:11:1: ports.range[1]: is missing, and has no default',
      'x.toml:13:1: deploy.stop_timeout_s: must be at most 25, and is 90',
      'x.toml:15:1: certs.driver: must be one of "files", "local", "acme", and is ""',
    ]);
  });

  it('what is missing is named with the place where it belongs', () => {
    expect(refusal('[source]\nbranch = "x"\n').split('\n')).to.deep.equal([
      'x.toml:1:1: node: is missing, and has no default',
      'x.toml:1:2: source.urls: is missing, and has no default',
    ]);
  });

  it('what the environment has set is named by its variable', () => {
    expect(refusal(MINIMAL, { MC_GITOPS_LOG_LEVEL: 'loud' })).to.match(
      /^MC_GITOPS_LOG_LEVEL: log.level: must be one of/,
    );
  });

  it('take name servers by address, and ask for servers and zones when there is a DNS driver', () => {
    const dns = (lines: string): string => `${MINIMAL}[mcns]\ndriver = "rfc2136"\n${lines}\n`;
    expect(refusal(dns(''))).to.contain('needs servers and zones');
    expect(refusal(dns('servers = ["ns.example.net"]\nzones = ["a"]'))).to.contain('mcns.servers');
    const { mcns } = good(
      dns('servers = ["10.0.0.53", "10.0.0.53:5353", "[fd00::1]:53"]\nzones = ["svc.test"]'),
    );
    expect(mcns.servers).to.have.lengthOf(3);
  });

  it('driver acme says what it needs: a directory, who writes for dns-01, both halves of a binding', () => {
    const certs = (lines: string): string => `${MINIMAL}[certs]\ndriver = "acme"\n${lines}\n`;
    const directory = 'acme_directory = "https://ca.example.net/directory"\n';
    expect(refusal(certs(''))).to.contain('needs acme_directory');
    expect(refusal(certs('acme_directory = "http://ca.example.net"'))).to.contain('https://');
    expect(refusal(certs(`${directory}acme_challenge = "dns-01"`))).to.contain('[mcns] driver');
    expect(refusal(certs(`${directory}acme_eab_kid = "k"`))).to.contain('go together');
    expect(refusal(certs(`${directory}acme_contact = ["ops@example.net"]`))).to.contain('mailto:');
    const through = (lines: string): string => `${certs(directory)}${lines}[mcproxy]\nacme_listen = ":80"\n`;
    const behind = 'acme_http_listen = "127.0.0.1:8402"\n';
    expect(refusal(through('')), 'the agent would take the port of the proxy').to.contain(
      'acme_http_listen = "127',
    );
    expect(refusal(through(behind)), 'no proxy').to.contain('mcproxy.acme_listen: needs [mcproxy] driver');
    expect(challengesOf(good(`${through(behind)}driver = "file"\n`))).to.deep.equal({
      challenges: { addr: ':80', backend: '127.0.0.1:8402' },
    });
    expect(challengesOf(good(certs(directory)))).to.deep.equal({});
    expect(good(certs(directory)).certs).to.include({ acme_challenge: 'http-01', acme_http_listen: ':80' });
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
