import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { parseRouteTable } from '../../src/base/routetable.ts';
import { stringifyToml } from '../../src/base/toml.ts';
import { runRender } from '../../src/commands/render.ts';
import { parseHaproxy } from '../../src/node/proxy/haproxyconfig.ts';
import { makeCa } from '../support/certs.ts';
import { command, type Said } from '../support/command.ts';
import { startKnot, type NameServer } from '../support/nameserver.ts';

const EXAMPLE = join(import.meta.dirname, '../../definitions-example');

describe('mc-gitops render: routes, certificates, records and all services', () => {
  let dir: string;
  let knot: NameServer;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mcg-render-'));
    knot = await startKnot();
    const put = async (path: string, text: string): Promise<void> => {
      await mkdir(join(dir, 'repo', path, '..'), { recursive: true });
      await writeFile(join(dir, 'repo', path), text);
    };
    await put('nodes/n1.toml', 'addresses = ["192.0.2.10", "2001:db8::1"]\n');
    const component = (name: string, more: string): string =>
      `[[components]]\nname = "${name}"\nimage = "mc/${name}:v1.0.0"\n${more}`;
    const web = '[[components.routes]]\nport = 8443\nmode = "l7"\n';
    const api = '[[components.routes]]\nport = 8443\nmode = "l4"\nhostname = "api.svc.test"\n';
    await put('services/web.toml', `name = "web"\nnode = "n1"\nafter = ["db"]\n${component('web', web)}`);
    await put(
      'services/db.toml',
      `name = "db"\nnode = "n1"\n${component('db', `env = ["MODE=no", "PRICE=5$"]\nuser = "0"\nrestart = "no"\nvolumes = ["db-data:/var/lib/db"]\n${api}[components.health]\ntype = "exec"\ncommand = ["/bin/check", "$HOME"]\n`)}`,
    );
    await put('services/off.toml', `name = "off"\nnode = "n1"\nactive = false\n${component('off', '')}`);
    await put('services/far.toml', `name = "far"\nnode = "n2"\n${component('far', '')}`);
  });
  after(async () => {
    await knot.stop();
    await rm(dir, { recursive: true });
  });

  /** Renders with settings of these parts. */
  const render = async (name: string | undefined, settings: object, more: object = {}): Promise<Said> => {
    const file = {
      node: 'n1',
      source: { urls: ['/nowhere'] },
      database: { path: join(dir, 'data', 'registry.db') },
      defaults: { hostname_suffix: 'svc.test' },
      ...settings,
    };
    await writeFile(join(dir, 'settings.toml'), stringifyToml(file));
    const config = join(dir, 'settings.toml');
    return command(() =>
      runRender(name, { dir: join(dir, 'repo'), config, engine: 'docker', format: 'shell', ...more }),
    );
  };
  const paste = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const child = execFile('sh', [], (_error, out, err) => resolve(out + err));
      child.stdin?.on('error', () => undefined).end(text);
    });
  const section = (text: string, title: string): string =>
    text
      .split('\n# --- ')
      .find((part) => part.startsWith(`${title}\n`))
      ?.slice(title.length + 1) ?? '';

  it('records: nsupdate with key and mark, as the agent makes them; a name that somebody has is left alone', async () => {
    const mcns = { driver: 'rfc2136', servers: [knot.server], zones: ['svc.test'], key_file: knot.keyFile };
    const { out, err } = await render('web', { mcns });
    expect(out, err).to.contain(`nsupdate -k ${knot.keyFile} <<'END'`);
    expect(await paste(section(out, 'records'))).to.equal('');
    expect(await knot.dig('web.svc.test', 'A')).to.deep.equal(['192.0.2.10']);
    expect(await knot.dig('web.svc.test', 'AAAA')).to.deep.equal(['2001:db8::1']);
    expect(await knot.dig('_mc-gitops.web.svc.test', 'TXT')).to.deep.equal([
      '"mc-gitops" "owner=n1/main" "service=web" "ip=192.0.2.10" "ip=2001:db8::1"',
    ]);
    await knot.update('update add api.svc.test 60 A 203.0.113.9');
    expect(await paste(section((await render('db', { mcns })).out, 'records'))).to.contain('update failed');
    expect(await knot.dig('api.svc.test', 'A')).to.deep.equal(['203.0.113.9']);
    // Without settings of a driver it says who makes them.
    expect(section((await render('web', {})).out, 'records')).to.equal(
      '# web.svc.test: A 192.0.2.10, AAAA 2001:db8::1, made by whoever manages its zone ([mcns] driver = "none")\n',
    );
  });

  it('routes for HAProxy: the configuration of the agent, which HAProxy takes, with the files of the certificate', async () => {
    const certs = join(dir, 'certs');
    await mkdir(certs);
    const { cert, key } = await (await makeCa()).issue(['web.svc.test']);
    await writeFile(join(certs, 'web.pem'), cert);
    await writeFile(join(certs, 'web.key'), key);
    const mcproxy = {
      driver: 'haproxy',
      listeners: [':8443'],
      cert_dir: certs,
      haproxy_config: join(dir, 'haproxy', 'haproxy.cfg'),
      haproxy_socket: join(dir, 'haproxy.sock'),
      haproxy_master_socket: join(dir, 'master.sock'),
    };
    const { out, err } = await render(undefined, { mcproxy });
    const routes = section(out, 'routes');
    expect(routes, err).to.contain('systemctl reload mc-gitops-haproxy');
    const said = await paste(routes.replace(/^systemctl .*$/m, ''));
    expect(said).to.not.contain('ALERT');
    const path = join(dir, 'haproxy', 'haproxy.cfg');
    const read = parseHaproxy(await readFile(path, 'utf8'), path);
    if (read.kind !== 'ok') throw new Error('HAProxy did not take the configuration');
    const found = read.value.table.listeners.flatMap((one) => one.routes.map(({ hostname }) => hostname));
    expect(found).to.deep.equal(['api.svc.test', 'web.svc.test']);
    // Files of the operator that are there are left alone; for those that are not, a variable says what is wanted.
    expect(await paste(section(out, 'certificates'))).to.equal('');
    await rm(join(certs, 'web.key'));
    expect(await paste(section(out, 'certificates'))).to.contain('key of web.svc.test, PEM');
  });

  it('routes for the bundled router: the table of the node with these routes in it, foreign ones as they are', async () => {
    const table = join(dir, 'proxy', 'routes.toml');
    const mcproxy = { driver: 'file', listeners: ['127.0.0.1:8443'], table };
    const alone = section((await render('web', { mcproxy })).out, 'routes');
    expect(alone, 'written, it would take db off the proxy').to.contain('#   hostname = "web.svc.test"');
    expect(alone)
      .to.contain('it is not written')
      .and.to.match(/^(#.*\n|\n)*$/);
    const first = await render(undefined, { mcproxy });
    await paste(section(first.out, 'routes'));
    const read = parseRouteTable(await readFile(table, 'utf8'));
    if (read.kind !== 'ok') throw new Error('no table');
    expect(read.value.listeners.map(({ addr, routes }) => [addr, routes.map((r) => r.owner)])).to.deep.equal([
      ['127.0.0.1:8443', ['n1/main/db/db/', 'n1/main/web/web/']],
    ]);
    expect(first.out).to.contain('# - what stands in the proxy and in DNS: nothing');
    // A port that no listener has is told, and nothing is written.
    const other = await render('web', { mcproxy: { ...mcproxy, listeners: [':443'] } });
    expect(other.code).to.equal(1);
    expect(other.err).to.contain('8443 is no listener');
    expect(section((await render('web', {})).out, 'routes')).to.contain('This node has no proxy');
  });

  it('without a name: the active services of the node, whoever others wait for first; several nodes are asked for', async () => {
    const { out } = await render(undefined, {});
    expect(out).to.match(
      /^# db \(services\/db\.toml\), web \(services\/web\.toml\) on node n1, with docker\n/,
    );
    expect(out).to.contain('# Not active, and left out: off.');
    expect(out.indexOf('--name db ')).to.be.below(out.indexOf('--name web '));
    const config = join(dir, 'none.toml');
    const several = await command(() =>
      runRender(undefined, { dir: join(dir, 'repo'), config, engine: 'docker', format: 'shell' }),
    );
    expect(several.code).to.equal(1);
    expect(several.err).to.contain('is of several nodes: n1, n2').and.contain('--node');
    const unknown = await render('wbe', {});
    expect(unknown.code).to.equal(1);
    expect(unknown.err).to.contain('has no service "wbe"').and.contain('db, off, web');
    const off = await render('off', {});
    expect(off.out)
      .to.contain('nothing of it is run here')
      .and.to.match(/^(#.*\n|\n)*$/);
    const compose = await command(() =>
      runRender('off', { dir: join(dir, 'repo'), config, node: 'n1', engine: 'docker', format: 'compose' }),
    );
    expect(compose.out, 'a plain `up` starts nothing of it').to.match(/\n {4}profiles:\n {6}- inactive\n/);
    await writeFile(join(dir, 'repo/services/bad.toml'), 'name = "bad"\nnode = "n1"\nimage = 1\n');
    const bad = await render(undefined, {});
    await rm(join(dir, 'repo/services/bad.toml'));
    expect(bad.code).to.equal(1);
    for (const said of [bad.out, bad.err]) expect(said).to.contain('services/bad.toml:3:1: ');
    expect(bad.out).to.contain('BAD, AND LEFT OUT').and.contain('--name db ');
    const far = await render('far', {});
    expect(far.out).to.contain('on node n2').and.contain('those of n1 (--config FILE of n2');
  });

  it('--format compose is YAML that readers of 1.1 and 1.2 take alike: what a definition says, and what compose cannot say', async () => {
    const { out } = await render(undefined, {}, { format: 'compose', withValues: true });
    const file = parse(out) as { services: Record<string, Record<string, unknown>> };
    expect(parse(out, { version: '1.1' })).to.deep.equal(file);
    expect(Object.keys(file.services)).to.deep.equal(['db', 'web']);
    expect(file.services['db']).to.deep.include({
      restart: 'no',
      user: '0',
      healthcheck: {
        test: ['CMD', '/bin/check', '$$HOME'],
        interval: '10s',
        timeout: '5s',
        retries: 3,
        start_period: '60s',
      },
    });
    expect(file.services['db']?.['environment']).to.include({ MODE: 'no', PRICE: '5$$' });
    expect(file.services['web']?.['depends_on']).to.deep.equal({ db: { condition: 'service_healthy' } });
    expect(file).to.deep.include({ volumes: { 'db-data': { external: true, name: 'db-data' } } });
    expect(out).to.contain('# - docker volume create db-data');
    expect(out).to.contain('# route web.svc.test:8443 l7 -> 127.0.0.1:');
    const held = await render(undefined, {}, { format: 'compose' });
    expect(held.out).to.contain('PRICE: ${VALUE_PRICE?PRICE of services/db.toml}');
    expect(held.out).to.not.contain('5$$');
    const example = await command(() =>
      runRender(undefined, {
        dir: EXAMPLE,
        node: 'rift',
        config: join(dir, 'none.toml'),
        engine: 'podman',
        format: 'compose',
      }),
    );
    expect(Object.keys((parse(example.out) as { services: object }).services)).to.have.length(11);
  });
});
