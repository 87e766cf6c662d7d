import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DefinitionsInput } from '../../../src/definitions/resolve.ts';
import { POLICY, good, resolved, serviceText } from './support.ts';

const EXAMPLE = join(import.meta.dirname, '../../../definitions-example');

/** `file rule path` of everything that is told of all nodes. */
function told(
  files: Readonly<Record<string, string>>,
  more: Partial<DefinitionsInput> & { everywhere?: boolean } = { everywhere: true },
): string[] {
  return resolved(files, more).desired.issues.map(
    ({ file, rule, path }) => `${file.replace(/^services\/|\.toml$/g, '')} ${rule} ${path}`,
  );
}

const ROUTE = (port: string | number, hostname: string): string =>
  `[[components.routes]]\nname = "r${port}"\nport = ${port}\nmode = "l4"\nhostname = "${hostname}"\n`;

describe('everything that can be known is told in one run', () => {
  it('a fixed port on which the proxy of the node listens is an error, unless the service is inactive', () => {
    const read = (path: string): string => readFileSync(join(EXAMPLE, path), 'utf8');
    const proxy = read('services/mc-proxy.toml');
    const node = { 'nodes/rift.toml': read('nodes/rift.toml') };
    const on = proxy.replace('active = false', 'active = true');
    expect(on).to.not.equal(proxy);
    const all = [0, 1, 2].map((at) => `mc-proxy ports/listener components[0].ports[${at}]`);
    expect(told({ ...node, 'services/mc-proxy.toml': proxy })).to.deep.equal([]);
    expect(told({ ...node, 'services/mc-proxy.toml': on })).to.deep.equal(all);
    // A node whose proxy is that container says so by having none of its own.
    expect(told({ 'services/mc-proxy.toml': on })).to.deep.equal([]);
    const policy = { ...POLICY, ports: ['1-65535'] };
    expect(told({ ...node, 'services/mc-proxy.toml': on }, { policy })).to.deep.equal([]);
    const known = { policy: { ...policy, listeners: [443, 8443, 9443] } };
    expect(told({ 'services/mc-proxy.toml': on }, known)).to.deep.equal(all);
    const bound = [
      { port: 443, ip: '192.0.2.9' },
      { port: 8443, ip: '0.0.0.0' },
    ];
    const some = { policy: { ...known.policy, bound } };
    const one = on.replace('"443:443"', '"192.0.2.1:443:443"');
    expect(told({ 'services/mc-proxy.toml': one }, some)).to.deep.equal([all[1]]);
  });

  it('a bad file of a node hides nothing of its services: what they claim, their rings, its listeners (L33)', () => {
    const files = {
      'nodes/rift.toml': 'listeners = [443]\noops = 1\naddresses = ["192.0.2.300"]\n',
      'services/a.toml': serviceText(
        'a',
        `ports = ["53:53/udp"]\n${ROUTE(443, 'x.example.net')}`,
        'after = ["b"]',
      ),
      'services/b.toml': serviceText('b', 'ports = ["53:5353/udp"]\n', 'after = ["a", "nosuch"]'),
      'services/c.toml': serviceText('c', ROUTE(443, 'x.example.net') + ROUTE(8443, 'c.example.net')),
    };
    expect(told(files)).to.have.members([
      'nodes/rift key/unknown oops',
      'nodes/rift node/address addresses[0]',
      ...['a', 'b', 'c'].map((name) => `${name} node/bad node`),
      'a ports/duplicate components[0].ports[0]',
      'b ports/duplicate components[0].ports[0]',
      'a route/duplicate components[0].routes[0].hostname',
      'c route/duplicate components[0].routes[0].hostname',
      'c route/listener components[0].routes[1].port',
      'a service/after-cycle after[0]',
      'b service/after-cycle after[0]',
      'b service/after after[1]',
    ]);
    const { desired } = resolved(files);
    expect(desired.services).to.deep.equal([]);
    expect(desired.refused).to.deep.equal(['a', 'b', 'c']);
    // Of listeners that are themselves bad nothing is known.
    const bad = { ...files, 'nodes/rift.toml': 'listeners = [443, "8443"]' };
    expect(told(bad).filter((line) => line.includes('route/listener'))).to.deep.equal([]);
  });

  it('a type error hides nothing else of its file, and only what follows from it is left out', () => {
    const text = `name = "a"
node = "rift"
after = ["nosuch"]
generation = "1"
[deploy]
strategy = 1
window = { cron = "61 * * * *", for = "2h", timezone = "Nowhere" }
[[silence]]
rule = "nosuch/rule"
reason = ""
[[components]]
name = "web"
image = "registry.example.net/a:v1.0.0"
env = [1, "K=v", "A_TOKEN=abcdefgh"]
network = "none"
[[components.routes]]
name = "one"
port = "443"
mode = "l4"
hostname = "*.example.net"
[components.health]
type = "http"
route = "two"
path = "x"
[[components]]
name = 5
image = "b"
after = ["nosuch", "web"]
user = "0:0:0"
`;
    expect(told({ 'services/a.toml': text })).to.deep.equal([
      'a service/after after[0]',
      'a value/type generation',
      'a value/type deploy.strategy',
      'a window/cron deploy.window.cron',
      'a window/timezone deploy.window.timezone',
      'a silence/rule silence[0].rule',
      'a silence/reason silence[0].reason',
      'a value/type components[0].env[0]',
      'a env/secret components[0].env[2]',
      'a network/none components[0].network',
      'a value/type components[0].routes[0].port',
      'a route/hostname components[0].routes[0].hostname',
      'a health/path components[0].health.path',
      'a value/type components[1].name',
      'a image/semver-tag components[1].image',
      'a component/user components[1].user',
    ]);
    const node =
      'listeners = "443"\naddresses = ["x", 5]\nwindows = [{ cron = "x", for = 1, timezone = "x" }]\n';
    expect(told({ 'nodes/rift.toml': node })).to.deep.equal([
      'nodes/rift value/type listeners',
      'nodes/rift node/address addresses[0]',
      'nodes/rift value/type addresses[1]',
      'nodes/rift window/cron windows[0].cron',
      'nodes/rift value/type windows[0].for',
      'nodes/rift window/timezone windows[0].timezone',
    ]);
  });

  it('of `after` every name is judged, also beside one that is wrong by itself', () => {
    const files = {
      'services/e.toml': serviceText('e'),
      'services/f.toml': serviceText('f'),
      'services/other.toml': serviceText('other'),
      'services/g.toml': serviceText('g', '', 'after = ["e", "f", "nosuch", "g", "other"]'),
    };
    expect(told(files)).to.deep.equal(['g service/after after[2]', 'g service/after after[3]']);
  });

  it('hints at what was meant, also where the name that was meant is there already', () => {
    const hint = (text: string, path = 'services/a.toml'): string | undefined =>
      resolved({ [path]: text }, { everywhere: true }).desired.issues.find(
        ({ severity }) => severity === 'error',
      )?.hint;
    const twice = (header: string): string =>
      serviceText('a', `${ROUTE(443, 'a.example.net')}[[${header}]]\nname = "b"\n`);
    expect(hint(twice('component'))).to.equal('Did you mean [[components]]?');
    expect(hint(twice('components.route'))).to.equal('Did you mean [[components.routes]]?');
    const there = (key: string): string => `Did you mean \`${key}\`? It is there already: write both as one.`;
    expect(hint(serviceText('a', 'volumes = []\nvolume = "x"'))).to.equal(there('volumes'));
    expect(hint('addresses = []\nadresses = []', 'nodes/rift.toml')).to.equal(there('addresses'));
    expect(hint('name = "a"\nnode = "rift"\n')).to.equal('Add [[components]] (components).');
    expect(hint(serviceText('a', 'user = 5'))).to.equal('Write for example user = "0:0".');
    expect(hint(serviceText('a', 'env = [5]'))).to.equal('Write for example "text".');
    expect(hint(serviceText('a', 'routes = 5'))).to.equal('Write each as a table: [[components.routes]].');
    expect(hint(serviceText('a', 'entrypoint = []'))).to.contain('leave the key out');
    expect(hint(serviceText('a', 'user = "web'))).to.equal('Is a quote missing at the end of this text?');
    expect(hint(serviceText('a', '[[silence]]\nrule = "dockerfile/missing"\nreason = "x"'))).to.contain(
      'Errors are mended',
    );
    const message = (text: string): string | undefined =>
      resolved({ 'services/a.toml': text }).desired.issues[0]?.message;
    expect(message(serviceText('a', 'user = "a"\nuser = "b"'))).to.match(/; the first is on line 7$/);
    const cron = 'window = { cron = "61 * * * *", for = "2h", timezone = "UTC" }';
    expect(message(serviceText('a', `[deploy]\n${cron}`))).to.equal(
      '"61 * * * *": 61 is not between 0 and 59',
    );
  });

  it('what a file wants that is bad elsewhere is told of that file, and holds back no good one (L16, L33)', () => {
    const files = {
      'services/a.toml': serviceText('a', 'ports = ["53:53"]\n'),
      'services/b.toml': serviceText('b', 'ports = ["53:53"]\nuser = "0:0:0"\n'),
      'services/c.toml': serviceText('c', 'ports = ["53:53"]\noops = 1\n'),
      'services/d.toml': serviceText('d', 'ports = ["x", "54:54"]\n'),
    };
    expect(told(files)).to.deep.equal([
      'b ports/duplicate components[0].ports[0]',
      'b component/user components[0].user',
      'c ports/duplicate components[0].ports[0]',
      'c key/unknown components[0].oops',
      'd ports/syntax components[0].ports[0]',
    ]);
    const { desired } = resolved(files);
    expect(desired.services.map(({ service }) => service.name)).to.deep.equal(['a']);
    // Who held the port before keeps it, and is told nothing of a newcomer.
    const before = good({ 'services/b.toml': serviceText('b', 'ports = ["53:53"]\n') });
    expect(told(files, { lastGood: before })).to.deep.equal([
      'a ports/duplicate components[0].ports[0]',
      'b component/user components[0].user',
      'c ports/duplicate components[0].ports[0]',
      'c key/unknown components[0].oops',
      'd ports/syntax components[0].ports[0]',
    ]);
  });
});
