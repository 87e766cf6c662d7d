import { expect } from 'chai';
import { resolved, serviceText, toldOf } from './support.ts';

const WEB = '[[components]]\nname = "web"\nimage = "x:v1.0.0"\n';

/** What stands in a file from line 3 on, and everything that is told of it. */
const MISTAKES: Readonly<Record<string, readonly (readonly [string, ...string[]])[]>> = {
  'of a service as a whole': [
    ['', '1:1 key/missing: the file has no `components` | Add [[components]] (components).'],
    [`components = []\n`, '3:14 service/components: there are 0 components'],
    [`path = "../x"\n${WEB}`, '3:8 service/path: "../x" is no path inside the workspace'],
    [`${WEB}${WEB}`, '7:8 component/duplicate: the component "web" is there twice'],
    [
      `[[components]]\nname = "a"\nimage = "x:v1.0.0"\n`,
      '4:8 component/container-name: the container would be called "a", and engines take no name of one character',
    ],
    [
      `[[components]]\nname = "${'x'.repeat(62)}"\nimage = "x:v1.0.0"\n`,
      '4:8 component/container-name: the container would be called "a-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", and engines take no name of 64 characters',
    ],
    [
      `[[components]]\nname = "b"\nimage = "x:v1.0.0"\n[[components.routes]]\nname = "c-d"\nport = 1\nmode = "l4"\n[[components]]\nname = "b-c"\nimage = "x:v1.0.0"\n[[components.routes]]\nname = "d"\nport = 2\nmode = "l4"\n`,
      '11:8 component/peer-fold: PEER_B_C_D stands for a route of "b" and one of "b-c"',
    ],
    [`generation = -1\n${WEB}`, '3:14 service/generation: -1 is not between 0 and 2147483647'],
    [`generation = 1.5\n${WEB}`, '3:14 service/generation: 1.5 is no whole number'],
  ],
  'of builds': [
    [`[build.images]\n"A" = "Dockerfile"\n${WEB}`, '4:1 build/name: "A" is no name of a repository'],
    [
      `[build.images]\ny = "Dockerfile"\n${WEB}[[components]]\nname = "y"\nimage = "z/q:v1.0.0"\n`,
      `4:1 build/unused: no component's image is called "y"; there is "x", "q"`,
    ],
    [
      `[build.images]\nx = "/Dockerfile"\n${WEB}`,
      '4:5 build/dockerfile: "/Dockerfile" is no path inside the source repository',
    ],
  ],
  'of after': [
    [
      `after = ["a", "bb"]\n${WEB}`,
      '3:10 service/after: a service does not wait for itself',
      '3:15 service/after: "bb" is no service of rift',
    ],
    [`after = ["b"]\n${WEB}`, '3:10 service/after: "b" is no service of rift'],
    [
      `[[components]]\nname = "b"\nimage = "x:v1.0.0"\nafter = ["c"]\n[[components]]\nname = "c"\nimage = "x:v1.0.0"\nafter = ["b"]\n[[components]]\nname = "d"\nimage = "x:v1.0.0"\nafter = ["b", "b", "e"]\n`,
      '6:9 component/after-cycle: each waits for another: b, c',
      '14:15 component/after: "b" is named twice',
      '14:20 component/after: there is no component "e" here | Did you mean "b"?',
    ],
  ],
  'of [deploy]': [
    [
      `[deploy]\nstop_timeout = "1500ms"\ntimeout = "500ms"\nstable_for = "2h"\n${WEB}`,
      '4:16 value/duration: "1500ms" has parts of a second, which engines do not take',
      '5:11 value/duration: "500ms" is not between 1s and 24h',
      '6:14 value/duration: "2h" is not between 0s and 1h',
    ],
    [
      `[deploy]\nwindow = { cron = "x", for = "1h", timezone = "x" }\n${WEB}`,
      '4:19 window/cron: "x": it has not five fields: minute, hour, day, month, day of the week',
      '4:47 window/timezone: "x" is no time zone',
    ],
    [
      `[deploy]\nstrategy = "blue-green"\n${WEB}volumes = ["/r:/r:ro", "/srv/a:/a"]\n`,
      '4:12 deploy/blue-green: "web" writes to "/a", and two of it would run at once',
    ],
    [
      `[deploy]\nstrategy = "blue-green"\n${WEB}[[components]]\nname = "b"\nimage = "x:v1.0.0"\nports = ["80:81"]\n`,
      '4:12 deploy/blue-green: "b" has the fixed port 80, and two of it would run at once',
    ],
  ],
  'of silences': [
    [
      `[[silence]]\nrule = "env/name"\nreason = ""\n${WEB}`,
      '4:8 silence/rule: "env/name" is no rule',
      '5:10 silence/reason: the reason is empty, longer than 300 characters or not one line',
    ],
    [
      `[[silence]]\nrule = "env/secrets"\nreason = "x"\n${WEB}`,
      '4:8 silence/rule: "env/secrets" is no rule | Did you mean "env/secret"?',
    ],
    [
      `[[silence]]\nrule = "env/syntax"\nreason = "a\\nb"\n${WEB}`,
      '4:8 silence/rule: "env/syntax" is not silenced: it is mended',
      '5:10 silence/reason: the reason is empty, longer than 300 characters or not one line',
    ],
    [
      `[[silence]]\nrule = "image/unbuilt"\nreason = "x"\n[[silence]]\nrule = "image/unbuilt"\nreason = "${'x'.repeat(301)}"\n${WEB}`,
      '7:8 silence/rule: "image/unbuilt" is silenced twice',
      '8:10 silence/reason: the reason is empty, longer than 300 characters or not one line',
    ],
  ],
  'of choices': [
    [
      `${WEB}restart = "alwys"\n`,
      '6:11 value/choice: "alwys" is none of "no", "on-failure", "unless-stopped", "always" | Did you mean "always"? There are "no", "on-failure", "unless-stopped", "always".',
    ],
    [
      `${WEB}restart = "zzzzzzz"\n`,
      '6:11 value/choice: "zzzzzzz" is none of "no", "on-failure", "unless-stopped", "always" | Take one of "no", "on-failure", "unless-stopped", "always".',
    ],
    [
      `${WEB}restart = 1\n`,
      '6:11 value/type: components[0].restart must be a string, but is a number | Write for example restart = "no".',
    ],
  ],
  'of types': [
    [
      `active = "x"\nafter = "b"\npath = 1\nbuild = 1\ngeneration = "1"\ncomponents = 1\n`,
      '3:10 value/type: active must be a boolean, but is a string | Write for example active = true.',
      '4:9 value/type: after must be an array, but is a string | Write for example after = ["metacrypt"].',
      '5:8 value/type: path must be a string, but is a number | Write for example path = "mc/myservice".',
      '6:9 value/type: build must be a table, but is a number | Write for example { key = "text" }.',
      '7:14 value/type: generation must be a number, but is a string | Write for example generation = 1.',
      '8:14 value/type: components must be an array, but is a number | Write each as a table: [[components]].',
    ],
    [
      `${WEB}env = [1]\nports = "80:80"\nlabels = 1\nroutes = 1\n`,
      '6:8 value/type: components[0].env[0] must be a string, but is a number | Write for example "text".',
      '7:9 value/type: components[0].ports must be an array, but is a string | Write for example ports = ["53:53/udp","53:53/tcp"].',
      '8:10 value/type: components[0].labels must be a table, but is a number | Write for example { key = "text" }.',
      '9:10 value/type: components[0].routes must be an array, but is a number | Write each as a table: [[components.routes]].',
    ],
    [
      `active = []\npath = 2024-01-01\ngeneration = nan\nprune = { a = 1 }\n${WEB}`,
      '3:10 value/type: active must be a boolean, but is an array | Write for example active = true.',
      '4:8 value/type: path must be a string, but is a date | Write for example path = "mc/myservice".',
      '5:14 value/type: generation must be a number, but is no number | Write for example generation = 1.',
      '6:9 value/type: prune must be a boolean, but is a table | Write for example prune = true.',
    ],
  ],
  'of keys that are missing': [
    [
      `[[components]]\n[[components.routes]]\n`,
      '3:3 key/missing: components[0] has no `image` | Add `image = …` (image).',
      '3:3 key/missing: components[0] has no `name` | Add `name = …` (component name).',
      '4:14 key/missing: components[0].routes[0] has no `mode` | Add `mode = …` (mode).',
      '4:14 key/missing: components[0].routes[0] has no `port` | Add `port = …` (external port).',
    ],
  ],
  'of keys that are not known': [
    [
      `privileged = true\nport = 1\nhost = "x"\nactiv = true\ndepends_on = ["b"]\nzzzz = 1\n"a b" = 1\nmem_limit = 1\n${WEB}`,
      '3:1 key/unknown: there is no key `privileged` here | Remove it: no field of a definition grants privilege.',
      '4:1 key/unknown: there is no key `port` here | `port` belongs under [[components.routes]] or under [components.health].',
      '5:1 key/unknown: there is no key `host` here | `hostname` belongs under [[components.routes]].',
      '6:1 key/unknown: there is no key `activ` here | Did you mean `active`?',
      '7:1 key/unknown: there is no key `depends_on` here | Did you mean `after`?',
      '8:1 key/unknown: there is no key `zzzz` here | Remove it. Known here: active, path, build, paused, prune, after, generation, deploy, silence.',
      '9:1 key/unknown: there is no key "a b" here | Remove it. Known here: active, path, build, paused, prune, after, generation, deploy, silence.',
      '10:1 key/unknown: there is no key `mem_limit` here | `memory` belongs under [components.resources].',
    ],
    [
      `${WEB}environment = 1\nCap_Add = 1\nnode = "x"\nenv = []\nenvs = []\n[[components.route]]\nport = 1\n`,
      '6:1 key/unknown: there is no key `environment` here | Did you mean `env`? It is there already: write both as one.',
      '7:1 key/unknown: there is no key `Cap_Add` here | Remove it: no field of a definition grants privilege.',
      '8:1 key/unknown: there is no key `node` here | `node` belongs at the top of services/<service>.toml, before the first table.',
      '10:1 key/unknown: there is no key `envs` here | Did you mean `env`? It is there already: write both as one.',
      '11:14 key/unknown: there is no key `route` here | Did you mean [[components.routes]]?',
    ],
    [
      `[component]\nx = 1\n${WEB}`,
      '3:2 key/unknown: there is no key `component` here | Did you mean `components`? It is there already: write both as one.',
    ],
  ],
  'of keys that are reserved': [
    [
      `__proto__ = 1\n[build.images]\nconstructor = "x"\n${WEB}`,
      '3:1 key/reserved: the key "__proto__" is reserved',
      '5:1 key/reserved: the key "constructor" is reserved',
    ],
  ],
  'of ports and names of routes': [
    [
      `${WEB}[[components.routes]]\nname = "a"\nport = 0\nmode = "l4"\n[[components.routes]]\nname = "b"\nport = 1.5\nmode = "l5"\n[[components.routes]]\nname = "-"\nport = 65536\nmode = "l4"\n`,
      '8:8 route/port: 0 is not between 1 and 65535',
      '12:8 route/port: 1.5 is no whole number',
      '13:8 value/choice: "l5" is none of "l4", "l7" | Did you mean "l4"? There are "l4", "l7".',
      '15:8 route/name: "-" is no route name',
      '16:8 route/port: 65536 is not between 1 and 65535',
    ],
  ],
  'of a file that is no TOML': [
    [
      `name = "c"\n`,
      '3:1 file/syntax: trying to redefine an already defined table or value; the first is on line 1',
    ],
    [
      `[build]\n[deploy]\n[build]\n`,
      '5:2 file/syntax: trying to redefine an already defined table or value; the first is on line 3',
    ],
    [
      `[build]\nx = 1\n[deploy]\nx = 2\nx = 3\n`,
      '7:1 file/syntax: trying to redefine an already defined table or value; the first is on line 6',
    ],
    [
      `path = "a\n`,
      '3:10 file/syntax: control characters are not allowed in strings | Is a quote missing at the end of this text?',
    ],
    [`path = a\n`, '3:8 file/syntax: invalid value'],
    [
      `x = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n`,
      '3:37 file/depth: tables and arrays are nested more than 32 deep',
    ],
  ],
};

describe('what a service file says wrongly is told at its place, by its name, with a way out', () => {
  for (const [what, cases] of Object.entries(MISTAKES))
    it(what, () => {
      for (const [text, ...told] of cases) {
        const file = `name = "a"\nnode = "rift"\n${text}`;
        expect(toldOf(resolved({ 'services/a.toml': file }).desired.issues), text).to.deep.equal(told);
      }
    });

  it('of an image: which part is wrong, and how it is pinned', () => {
    for (const [reference, told] of [
      [
        'registry.example.net/a',
        'image/semver-tag: "registry.example.net/a" has no version | Pin the released version: "registry.example.net/a:v1.0.0".',
      ],
      ['registry.example.net/a:latest', 'image/semver-tag: "latest" is a moving target'],
      [
        'a:v1.02',
        'image/semver-tag: the tag "v1.02" is no semantic version | Write all three numbers, without leading zeros: ":v1.2.0".',
      ],
      [
        'a:v01',
        'image/semver-tag: the tag "v01" is no semantic version | Write all three numbers, without leading zeros: ":v1.0.0".',
      ],
      ['a:stable', 'image/semver-tag: the tag "stable" is no semantic version'],
      ['a:v1.0.0+1', 'image/build-metadata: the version "v1.0.0+1" has a +build part'],
      [
        'Registry.example.net/a:v1.0.0',
        'image/reference: "Registry.example.net/a:v1.0.0" is no image reference: "Registry.example.net" is no host (lower case, `host[:port]`)',
      ],
      [
        'a.b/A:v1.0.0',
        'image/reference: "a.b/A:v1.0.0" is no image reference: "A" is no repository (lower case, parts with / between)',
      ],
      [
        'a:v1.0.0@sha256:00',
        'image/reference: "a:v1.0.0@sha256:00" is no image reference: the digest is not sha256: with 64 hex digits',
      ],
      ['a:-v1', 'image/reference: "a:-v1" is no image reference: "-v1" is no tag'],
      [
        'u:p@a.b/c:v1.0.0',
        'image/reference: an image reference holds no user and no password | Take them out; what the registry asks for is in [registries] of the node. Whoever can read the repository has seen this password: change it.',
      ],
      [
        'https://a.b/c:v1.0.0',
        'image/reference: an image reference holds no user and no password | Take them out; what the registry asks for is in [registries] of the node. Whoever can read the repository has seen this password: change it.',
      ],
      [
        'a@sha256:0000000000000000000000000000000000000000000000000000000000000000',
        'image/semver-tag: "a@sha256:0000000000000000000000000000000000000000000000000000000000000000" has no version | Pin the released version: "a:v1.0.0".',
      ],
      [
        'a.b:0/c:v1.0.0',
        'image/reference: "a.b:0/c:v1.0.0" is no image reference: "a.b:0" is no host (lower case, `host[:port]`)',
      ],
      [
        'a.b:65536/c:v1.0.0',
        'image/reference: "a.b:65536/c:v1.0.0" is no image reference: "a.b:65536" is no host (lower case, `host[:port]`)',
      ],
      ['mcr.svc.mcp.metacircular.net:8443/mc/a:v1.0.0', 'image/unbuilt: "a" has no entry in [build.images]'],
    ] as const) {
      const file = serviceText('a').replace('registry.example.net/a:v1.0.0', reference);
      expect(toldOf(resolved({ 'services/a.toml': file }).desired.issues)).to.deep.equal([`6:9 ${told}`]);
    }
  });
});
