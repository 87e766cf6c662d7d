import { expect } from 'chai';
import type { DefinitionsInput } from '../../../src/definitions/resolve.ts';
import { POLICY, resolved, serviceText, toldOf } from './support.ts';

interface Case {
  readonly title: string;
  readonly files: Readonly<Record<string, string>>;
  readonly more?: Partial<DefinitionsInput>;
  readonly told: readonly string[];
}

const CASES: readonly Case[] = [
  {
    title: 'what the policy of the node does not allow, with what it does',
    files: {
      'services/a.toml': serviceText(
        'a',
        `network = "other"\nvolumes = ["/srv/a:/a", "/srv/b:/b"]\nports = ["53:53/udp", "80:80"]\n[[components.routes]]\nport = 443\nmode = "l4"\nhostname = "x.example.org"\n`,
      ),
    },
    more: { policy: { ...POLICY, listeners: [8443] } },
    told: [
      `services/a.toml:6:9 image/host: the node does not know the registry "registry.example.net" | It knows mcr.svc.mcp.metacircular.net:8443. Take an image from there, or add [registries."registry.example.net"] to the node's settings.`,
      `services/a.toml:7:11 network/policy: the node does not allow the network "other" | Allowed is mcpnet, none; [policy] of the node's settings says so.`,
      `services/a.toml:8:25 volume/policy: the node does not allow "/srv/b" to be mounted | Allowed is /srv/a; [policy] of the node's settings says so.`,
      "services/a.toml:9:23 ports/policy: the node does not allow the fixed port 80 | Allowed is 1024-65535, 53; [policy] of the node's settings says so.",
      'services/a.toml:11:8 route/listener: 443 is no listener of the proxy of rift; it has 8443',
      `services/a.toml:13:12 route/domain: "x.example.org" lies in none of the node's domains (svc.mcp.metacircular.net, metacircular.net)`,
    ],
  },
  {
    title: 'a policy that allows nothing',
    files: {
      'services/a.toml': serviceText(
        'a',
        `volumes = ["/srv/a:/a"]\nports = ["80:80"]\n[[components.routes]]\nport = 443\nmode = "l4"\n`,
      ),
    },
    more: {
      policy: { ...POLICY, imageHosts: ['registry.example.net'], mounts: [], ports: [], listeners: [] },
    },
    told: [
      `services/a.toml:7:12 volume/policy: the node does not allow "/srv/a" to be mounted | Allowed is nothing; [policy] of the node's settings says so.`,
      "services/a.toml:8:10 ports/policy: the node does not allow the fixed port 80 | Allowed is nothing; [policy] of the node's settings says so.",
      'services/a.toml:10:8 route/listener: 443 is no listener of the proxy of rift; it has none',
    ],
  },
  {
    title: "ports that the node's own proxy has, and has not",
    files: {
      'services/a.toml': serviceText(
        'a',
        `ports = ["443:443", "444:444", "443:443/udp"]\n[[components.routes]]\nport = 8443\nmode = "l4"\n`,
      ),
      'nodes/rift.toml': `listeners = [443]\n`,
    },
    told: [
      'services/a.toml:7:10 ports/listener: the proxy of rift listens on 443',
      'services/a.toml:9:8 route/listener: 8443 is no listener of the proxy of rift; it has 443',
    ],
  },
  {
    title: 'a file of a node, value by value',
    files: {
      'nodes/rift.toml': `addresses = ["1.2.3.4", "x"]\nhostname_suffix = "x"\nlisteners = [0]\nmode = "obsrve"\n[defaults]\nnetwork = "host"\nrestart = "x"\n`,
    },
    told: [
      'nodes/rift.toml:1:25 node/address: "x" is no address',
      'nodes/rift.toml:2:19 route/hostname: "x" has only one label',
      'nodes/rift.toml:3:14 route/port: 0 is not between 1 and 65535',
      'nodes/rift.toml:4:8 value/choice: "obsrve" is none of "converge", "observe" | Did you mean "observe"? There are "converge", "observe".',
      'nodes/rift.toml:6:11 network/name: "host" is a mode of the engine, not a network',
      'nodes/rift.toml:7:11 value/choice: "x" is none of "no", "on-failure", "unless-stopped", "always" | Take one of "no", "on-failure", "unless-stopped", "always".',
    ],
  },
  {
    title: '21 windows of a node',
    files: {
      'nodes/rift.toml': `windows = [${Array(21).fill('{ cron = "0 3 * * *", for = "1h", timezone = "UTC" }').join()}]\n`,
    },
    told: ['nodes/rift.toml:1:11 window/limit: there are 21 windows'],
  },
  {
    title: 'windows of a node that never open, or of no length',
    files: {
      'nodes/rift.toml': `windows = [{ cron = "0 3 * * *", for = "30s", timezone = "Europe/Nowhere" }, { cron = "0 3 30 2 *", for = "169h", timezone = "+01:00" }]\n`,
    },
    told: [
      'nodes/rift.toml:1:40 value/duration: "30s" is not between 1m and 168h',
      'nodes/rift.toml:1:58 window/timezone: "Europe/Nowhere" is no time zone',
      'nodes/rift.toml:1:87 window/cron: "0 3 30 2 *": no month has such a day',
      'nodes/rift.toml:1:107 value/duration: "169h" is not between 1m and 168h',
      'nodes/rift.toml:1:126 window/timezone: "+01:00" is no time zone',
    ],
  },
  {
    title: 'a file of a node that widens the policy',
    files: { 'nodes/rift.toml': `hostname_suffix = "x.example.org"\n[defaults]\nnetwork = "other"\n` },
    more: { policy: POLICY },
    told: [
      `nodes/rift.toml:1:19 route/domain: "x.example.org" lies in none of the node's domains (svc.mcp.metacircular.net, metacircular.net)`,
      'nodes/rift.toml:3:11 network/policy: the node does not allow the network "other"',
    ],
  },
  {
    title: 'a file of a node by a bad name',
    files: { 'nodes/Rift.toml': '' },
    told: ['nodes/Rift.toml:1:1 node/file-name: "Rift.toml" is no name of a node'],
  },
  {
    title: 'removals that are no names, and no list',
    files: { 'removals.toml': `services = ["A", 1]\nx = 1\n` },
    told: [
      'removals.toml:1:13 removals/name: "A" is no DNS label',
      'removals.toml:1:18 value/type: services[1] must be a string, but is a number | Write for example "text".',
      'removals.toml:2:1 key/unknown: there is no key `x` here | Remove it. Known here: nothing more.',
    ],
  },
  {
    title: 'one removal without its list',
    files: { 'removals.toml': `services = "a"\n` },
    told: [
      'removals.toml:1:12 value/type: services must be an array, but is a string | Write for example services = ["old-wiki","paste"].',
    ],
  },
  {
    title: 'what two services want for themselves, at both',
    files: {
      'services/a.toml': `name = "a"\nnode = "rift"\n[[components]]\nname = "b"\nimage = "x:v1.0.0"\nports = ["53:53/udp"]\nreplaces = "old"\n`,
      'services/a-b.toml': serviceText('a-b', `ports = ["127.0.0.1:53:53/udp"]\nreplaces = "old"\n`),
    },
    told: [
      'services/a-b.toml:5:8 component/container-duplicate: the container "a-b" of rift is also claimed by "a" (services/a.toml)',
      'services/a-b.toml:7:10 ports/duplicate: the fixed port 53/udp of rift is also claimed by "a" (services/a.toml)',
      'services/a-b.toml:8:12 component/replaces-duplicate: the container "old" of rift, which runs already, is also claimed by "a" (services/a.toml)',
      'services/a.toml:4:8 component/container-duplicate: the container "a-b" of rift is also claimed by "a-b" (services/a-b.toml)',
      'services/a.toml:6:10 ports/duplicate: the fixed port 53/udp of rift is also claimed by "a-b" (services/a-b.toml)',
      'services/a.toml:7:12 component/replaces-duplicate: the container "old" of rift, which runs already, is also claimed by "a-b" (services/a-b.toml)',
    ],
  },
  {
    title: 'a route that a service has twice, and one that another has',
    files: {
      'services/a.toml': serviceText(
        'a',
        `[[components.routes]]\nname = "x"\nport = 8443\nmode = "l4"\n[[components.routes]]\nname = "y"\nport = 8443\nmode = "l4"\n`,
      ),
      'services/b.toml': serviceText(
        'b',
        `[[components.routes]]\nport = 8443\nmode = "l4"\nhostname = "a.svc.mcp.metacircular.net"\n`,
      ),
    },
    told: [
      'services/a.toml:9:8 route/duplicate: a.svc.mcp.metacircular.net:8443 is also claimed by "b" (services/b.toml)',
      'services/a.toml:13:8 route/duplicate: a.svc.mcp.metacircular.net:8443 is also claimed by another place of this file',
      'services/b.toml:10:12 route/duplicate: a.svc.mcp.metacircular.net:8443 is also claimed by "a" (services/a.toml)',
    ],
  },
  {
    title: 'services that are not waited for, and names that are none',
    files: {
      'services/a.toml': serviceText('a', '', `after = ["bb", "cc", "dd", "ff", "bbc"]\n`),
      'services/bb.toml': serviceText('bb', '', `active = false\n`),
      'services/dd.toml': serviceText('dd', '', `paused = true\n`),
      'services/ff.toml': serviceText('ff').replace('rift', 'orion'),
    },
    told: [
      'services/a.toml:3:10 service/after-inactive: "bb" is inactive, and not waited for',
      'services/a.toml:3:16 service/after: "cc" is no service of rift',
      'services/a.toml:3:22 service/after-inactive: "dd" is paused, and not waited for',
      'services/a.toml:3:28 service/after: "ff" is no service of rift; it is one of orion',
      'services/a.toml:3:34 service/after: "bbc" is no service of rift | Did you mean "bb"?',
    ],
  },
  {
    title: 'a ring of services',
    files: {
      'services/aa.toml': serviceText('aa', '', `after = ["bb"]\n`),
      'services/bb.toml': serviceText('bb', '', `after = ["aa"]\n`),
    },
    told: [
      'services/aa.toml:3:10 service/after-cycle: each of these waits for another of them: aa, bb',
      'services/bb.toml:3:10 service/after-cycle: each of these waits for another of them: aa, bb',
    ],
  },
  {
    title: 'a file of a service that is called otherwise',
    files: { 'services/b.toml': serviceText('a'), 'services/C.toml': serviceText('c') },
    told: [
      'services/C.toml:1:8 service/file-name: the service is called "c", its file "C.toml" | Rename the file to "c.toml".',
      'services/b.toml:1:8 service/file-name: the service is called "a", its file "b.toml" | Rename the file to "a.toml", or write name = "b".',
    ],
  },
];

describe('what files say wrongly against policy, node and each other is told at its place, with a way out', () => {
  for (const { title, files, more = {}, told } of CASES)
    it(title, () => {
      const { issues } = resolved(files, more).desired;
      const lines = toldOf(issues);
      expect(issues.map(({ file }, at) => `${file}:${lines[at] ?? ''}`)).to.deep.equal(told);
    });
});
