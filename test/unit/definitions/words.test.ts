import { expect } from 'chai';
import { L4 as ROUTE, resolved, serviceText, toldOf } from './support.ts';

const HEALTH = '[components.health]\n';

/** What stands in a component from line 7 on, and everything that is told of it. */
const MISTAKES: Readonly<Record<string, readonly (readonly [string, ...string[]])[]>> = {
  'users, commands, signals and names': [
    ['user = "0:0:0"', '7:8 component/user: "0:0:0" is no user'],
    ['user = ":0"', '7:8 component/user: ":0" is no user'],
    ['user = "Root"', '7:8 component/user: "Root" is no user'],
    ['user = "root:"', '7:8 component/user: "root:" is no user'],
    ['user = "12345678901"', '7:8 component/user: "12345678901" is no user'],
    [
      'cmd = []',
      '7:7 component/cmd: the command is empty | Write the program and its arguments, or leave the key out.',
    ],
    ['cmd = ["ok", "a\\u0000b"]', '7:14 component/cmd: there is a NUL in it'],
    [
      'entrypoint = []',
      '7:14 component/entrypoint: the command is empty | Write the program and its arguments, or leave the key out.',
    ],
    ['entrypoint = ["", "x"]', '7:15 component/entrypoint: the program is empty'],
    ['entrypoint = ["a", "\\u0000"]', '7:20 component/entrypoint: there is a NUL in it'],
    ['cmd = ["run", "--token", "hunter2pw"]', '7:26 env/secret: this argument looks like a secret'],
    ['entrypoint = ["--password=hunter2pw"]', '7:15 env/secret: this argument looks like a secret'],
    ['stop_signal = "SIGSTOP"', '7:15 component/stop-signal: "SIGSTOP" is no signal'],
    ['stop_signal = "TERM"', '7:15 component/stop-signal: "TERM" is no signal'],
    ['stop_signal = "xSIGTERM"', '7:15 component/stop-signal: "xSIGTERM" is no signal'],
    ['stop_signal = "SIGRTMIN+31"', '7:15 component/stop-signal: "SIGRTMIN+31" is no signal'],
    ['replaces = "x"', '7:12 component/replaces: "x" is no container name'],
    ['replaces = "-xx"', '7:12 component/replaces: "-xx" is no container name'],
    ['after = ["web"]', '7:10 component/after: a component does not wait for itself'],
    ['after = ["other"]', '7:10 component/after: there is no component "other" here'],
    ['after = ["wep"]', '7:10 component/after: there is no component "wep" here'],
  ],
  networks: [
    ['network = "host"', '7:11 network/name: "host" is a mode of the engine, not a network'],
    ['network = "bridge"', '7:11 network/name: "bridge" is a mode of the engine, not a network'],
    ['network = "-x"', '7:11 network/name: "-x" is no name of a network'],
    ['network = "mcg-web"', '7:11 network/name: "mcg-web" is the own network of a service'],
    [`network = "none"\n${ROUTE}`, '7:11 network/none: "web" has no network, but routes or ports'],
    [`network = "none"\nports = ["80:80"]`, '7:11 network/none: "web" has no network, but routes or ports'],
  ],
  volumes: [
    ['volumes = ["a"]', '7:12 volume/syntax: "a" is no volume'],
    ['volumes = ["/srv/a:"]', '7:12 volume/syntax: "/srv/a:" is no volume'],
    ['volumes = [":/a"]', '7:12 volume/syntax: ":/a" is no volume'],
    ['volumes = ["/srv/a:/a:ro:x"]', '7:12 volume/syntax: "/srv/a:/a:ro:x" is no volume'],
    [
      'volumes = ["v:/v", "/srv/a:/a:z"]',
      `7:20 volume/syntax: "z" is no option of a volume | There are \`ro\` and \`rw\`; other options would change the host's files.`,
    ],
    ['volumes = ["/srv/a:a"]', '7:12 volume/path: "a" is no absolute path'],
    [
      'volumes = ["a b:/a"]',
      '7:12 volume/syntax: "a b" is neither an absolute path nor the name of a volume',
    ],
    ['volumes = ["/srv/a b:/a"]', '7:12 volume/path: "/srv/a b" is not plain ASCII (no spaces, no \\)'],
    ['volumes = ["./a:/a"]', '7:12 volume/path: "./a" is no absolute path'],
    ['volumes = ["/srv/../a:/a"]', '7:12 volume/path: "/srv/../a" has a part ".."'],
    ['volumes = ["a:/a/../b"]', '7:12 volume/path: "/a/../b" has a part ".."'],
    ['volumes = ["/srv/a:/proc/x"]', '7:12 volume/target: nothing is mounted on "/proc/x" of a container'],
    ['volumes = ["/srv/a:/./"]', '7:12 volume/target: nothing is mounted on "/" of a container'],
    [
      'volumes = ["/srv/docker.sock:/x"]',
      '7:12 volume/forbidden: "/srv/docker.sock" is the socket of a container engine: whoever has it owns the node',
    ],
    ['volumes = ["/srv:/x"]', '7:12 volume/forbidden: "/srv" as a whole is never mounted'],
    ['volumes = ["/usr/bin:/x"]', '7:12 volume/forbidden: "/usr/bin" belongs to the system (/usr)'],
    ['volumes = ["v:/a", "w:/a/"]', '7:20 volume/duplicate: "/a" is mounted twice'],
  ],
  'fixed ports': [
    ['ports = ["80"]', '7:10 ports/syntax: "80" is no fixed port'],
    ['ports = ["0:80"]', '7:10 ports/syntax: "0:80": a port is between 1 and 65535'],
    ['ports = ["80:65536"]', '7:10 ports/syntax: "80:65536": a port is between 1 and 65535'],
    ['ports = ["1.2.3:80:80"]', '7:10 ports/syntax: "1.2.3:80:80": "1.2.3" is no address'],
    ['ports = ["[1.2.3.4]:80:80"]', '7:10 ports/syntax: "[1.2.3.4]:80:80": "[1.2.3.4]" is no address'],
    ['ports = ["80:80", "81:81/sctp"]', '7:19 ports/syntax: "81:81/sctp" is no fixed port'],
    [
      `ports = ["80:81"]\n${ROUTE}container_port = 81`,
      "11:18 route/container-port: the container's port 81 is also published by `ports`",
    ],
  ],
  'variables and labels': [
    ['env = ["A"]', '7:8 env/syntax: the entry has no "="'],
    ['env = ["1A=x"]', '7:8 env/syntax: what stands before the "=" is no name of a variable'],
    ['env = ["A=x\\ny"]', '7:8 env/value: the value of A has a newline or NUL'],
    ['env = ["PORT=1"]', '7:8 env/reserved: PORT is set by the agent'],
    ['env = ["OK=1", "PEER_X=1"]', '7:16 env/reserved: PEER_X is set by the agent'],
    ['env = ["A=1", "A=2"]', '7:15 env/duplicate: "A" is set twice'],
    ['env = ["A_TOKEN=abcdef"]', '7:8 env/secret: "A_TOKEN" looks like a secret'],
    [
      'labels = { "com.docker.x" = "1" }',
      '7:12 component/label-reserved: labels that begin with "com.docker." are not for definitions',
    ],
    ['labels = { "a=b" = "1" }', '7:12 component/labels: "a=b" is no name of a label'],
    ['labels = { "a-" = "1" }', '7:12 component/labels: "a-" is no name of a label'],
    [
      'labels = { a = "x\\ny" }',
      '7:12 component/labels: the value of a has control characters, or more than 4096 bytes',
    ],
    ['labels = { "api.token" = "hunter2pw" }', '7:26 env/secret: "api.token" looks like a secret'],
  ],
  'health and resources': [
    [`${HEALTH}type = "exec"`, '8:1 health/fields: a check of type "exec" has no `command`'],
    [
      `${HEALTH}type = "exec"\ncommand = []`,
      '9:11 health/command: the command is empty | Write the program and its arguments, or leave the key out.',
    ],
    [`${HEALTH}type = "http"`, '8:8 health/target: there is no route that a check of type "http" could ask'],
    [
      `${HEALTH}type = "tcp"\nport = 80\npath = "/"`,
      '10:1 health/fields: `path` does not belong to a check of type "tcp"',
    ],
    [
      `${HEALTH}type = "http"\nport = 80`,
      '9:8 health/target: the port 80 of the container is not in `ports`',
    ],
    [
      `${HEALTH}type = "http"\nroute = "x"\nport = 80`,
      '10:8 health/target: the check has a route and a port, and asks only one',
    ],
    [`${HEALTH}type = "tls"\nroute = "x"`, '9:9 health/target: there is no route "x" here'],
    [
      `${HEALTH}type = "tcp"\nport = 80\ncommand = ["x"]`,
      '10:1 health/fields: `command` does not belong to a check of type "tcp"',
    ],
    [
      `${HEALTH}type = "tcp"\nport = 80\nexpect = "200-299"`,
      '10:1 health/fields: `expect` does not belong to a check of type "tcp"',
    ],
    [
      `${HEALTH}type = "exec"\ncommand = ["x"]\nport = 80\nroute = "x"`,
      '10:1 health/fields: `port` does not belong to a check of type "exec"',
      '11:1 health/fields: `route` does not belong to a check of type "exec"',
    ],
    [
      `${HEALTH}type = "tcp"\nport = 80\ninterval = "500ms"`,
      '10:12 value/duration: "500ms" is not between 1s and 1h',
    ],
    [
      `${HEALTH}type = "tcp"\nport = 80\ntimeout = "31s"`,
      '10:11 value/duration: "31s" is not between 100ms and 30s',
    ],
    [
      `${HEALTH}type = "tcp"\nport = 80\nstart_period = "2h"`,
      '10:16 value/duration: "2h" is not between 0s and 1h',
    ],
    [
      `${HEALTH}type = "http"\npath = "x"\nexpect = "300-200"\n${ROUTE}`,
      '9:8 health/path: "x" is no path of a request',
      '10:10 health/expect: "300-200" ends before it begins',
    ],
    [
      `restart = "no"\n${HEALTH}type = "tcp"\nport = 80\non_failure = "restart"`,
      '11:14 health/restart: restart = "no" would leave it ended, should the restart be cut off',
    ],
    [`[components.resources]\nmemory = "5m"`, '8:10 value/size: "5m" is not between 6m and 16384g'],
    [`[components.resources]\nshm = "1k"`, '8:7 value/size: "1k" is not between 64k and 16384g'],
    [`[components.resources]\nmemory = "16385g"`, '8:10 value/size: "16385g" is not between 6m and 16384g'],
  ],
  routes: [
    [
      `${ROUTE}[[components.routes]]\nport = 443\nmode = "l4"\n`,
      '7:14 route/unnamed: this route has no name, and there are several',
      '10:14 route/unnamed: this route has no name, and there are several',
    ],
    [
      `${ROUTE}name = "a-b"\n[[components.routes]]\nport = 443\nmode = "l4"\nname = "A_B"\n`,
      '14:8 route/fold: the routes "a-b" and "A_B" both give PORT_A_B',
    ],
    [`${ROUTE}backend_tls = true`, '10:1 route/backend-tls: `backend_tls` stands on an l4 route'],
    [
      `${ROUTE}hostname = "*.x.net"`,
      '10:12 route/hostname: "*.x.net" is a wildcard: the proxy matches names exactly',
    ],
    [
      `${ROUTE}hostname = "a\\u0430.net"`,
      '10:12 route/hostname: "aа.net" has characters that no host name has',
    ],
    [`${ROUTE}hostname = "a.net."`, '10:12 route/hostname: "a.net." ends with a dot'],
    [`${ROUTE}hostname = "1.2.3.4"`, '10:12 route/hostname: "1.2.3.4" is an address'],
    [`${ROUTE}hostname = "local"`, '10:12 route/hostname: "local" has only one label'],
    [`${ROUTE}hostname = "-a.net"`, '10:12 route/hostname: "-a.net" is no DNS name'],
    [`${ROUTE}hostname = "a.1"`, '10:12 route/hostname: "a.1" ends with a number, as an address does'],
    [
      `${ROUTE}edge = ["n1", "n2", "n1"]`,
      '10:8 route/edge-address: nodes/rift.toml names no address, so n1, n1, n2 cannot reach it',
      '10:21 route/edge: "n1" is there twice',
    ],
    [`${ROUTE}edge = ["rift"]`, '10:8 route/edge: "rift" is the node of the service itself'],
    [
      `${ROUTE}edge = ["n1"]`,
      '10:8 route/edge-address: nodes/rift.toml names no address, so n1 cannot reach it',
    ],
  ],
};

describe('what a component says wrongly is told at its place, by its name, with a way out', () => {
  for (const [what, cases] of Object.entries(MISTAKES))
    it(what, () => {
      for (const [text, ...told] of cases)
        expect(
          toldOf(resolved({ 'services/a.toml': serviceText('a', text) }).desired.issues),
          text,
        ).to.deep.equal(told);
    });
});
