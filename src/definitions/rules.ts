/** One rule: what it asks for, and what to do when it is broken. The table in `definitions-example/README.md` is made of these. */
export interface Rule {
  readonly severity: 'error' | 'warning';
  readonly says: string;
  readonly hint: string;
}

/** Every finding that may come out of this room, by its stable id: ids are never renamed, they are in journals and silencers. */
export const RULES = {
  'file/refused': error(
    'Definitions are plain files of the repository: no symbolic links, no submodules, no unsafe names.',
    'Commit the content itself as a plain file.',
  ),
  'file/size': error(
    'A file has at most 256 KiB.',
    'Move what is no definition elsewhere; data belongs in /srv/<service>.',
  ),
  'file/ignored': warning(
    'What looks like a definition stands where definitions are read: services/**/<service>.toml, nodes/<node>.toml, removals.toml.',
    'Move or rename it; what is no definition is better kept elsewhere.',
  ),
  'file/deadline': error(
    'A file is read within two seconds and 256 MiB of memory.',
    'Make it smaller and simpler; if it is neither, the parser has a defect: please report it with the file.',
  ),
  'file/count': error(
    'A repository has at most 20,000 definition files and 64 MiB of them.',
    'Split the repository: one for a group of nodes.',
  ),
  'file/encoding': error('A file is UTF-8 text.', 'Save it as UTF-8.'),
  'file/syntax': error(
    'A file is TOML 1.0.',
    'Mend the TOML there; https://toml.io/en/v1.0.0 has the rules.',
  ),
  'file/depth': error(
    'Tables and arrays are nested at most 32 deep.',
    'No field needs more than six; take the nesting out.',
  ),
  'file/findings': warning('Of one file 50 findings are told.', 'Mend those first, and look again.'),
  'key/unknown': error('Every key is a known one.', 'Remove it; the table of fields has the keys there are.'),
  'key/missing': error('A required key is there.', 'Add it.'),
  'key/reserved': error(
    'No key is called `__proto__`, `constructor` or `prototype`.',
    'Remove it or give it another name.',
  ),
  'value/type': error('A value has the type of its field.', 'Write a value of that type.'),
  'value/choice': error('A value is one of those its field knows.', 'Take one of them.'),
  'value/duration': error(
    'A duration is numbers with units `h`, `m`, `s`, `ms`, within the bounds of its field.',
    'Write for example "90s", "5m" or "1h30m".',
  ),
  'value/size': error(
    'A size is a number with a unit `b`, `k`, `m` or `g`, within the bounds of its field.',
    'Write for example "512m".',
  ),
  'service/name': error(
    'A service name is a DNS label: a–z, 0–9 and -, at most 63 characters.',
    'Rename the service and its file.',
  ),
  'service/file-name': error(
    'The name of a service is the name of its file.',
    'Rename the file, or change `name`.',
  ),
  'service/node': error('A node name is a DNS label.', 'Write the node as its settings have it.'),
  'service/duplicate': error(
    'A service name is there once a node.',
    'Rename or remove one of the two files.',
  ),
  'service/limit': error('A node has at most 1,000 services.', 'Use another node.'),
  'service/path': error(
    'The source path is relative and stays inside the workspace.',
    'Write it relative to the workspace, without `..`.',
  ),
  'service/components': error(
    'A service has 1 to 20 components.',
    'Write one [[components]] table a container, or split the service.',
  ),
  'service/node-move': error(
    'An active service with volumes does not change its node.',
    'First `active = false` and merge; copy the data to the new node; then change `node`, and `active = true`.',
  ),
  'service/after': error(
    'A service waits only for other services of its node.',
    'Name a service of this node, or remove it from `after`.',
  ),
  'service/after-cycle': error(
    'No services wait for each other in a ring.',
    'Remove one `after` of the ring.',
  ),
  'service/after-inactive': warning(
    'A service waits for services that run.',
    'An inactive or paused service is not waited for: remove it from `after`, or activate it.',
  ),
  'service/generation': error(
    '`generation` is a whole number from 0.',
    'Write for example generation = 2; each raise makes the containers anew.',
  ),
  'deploy/blue-green': error(
    'A service with writable volumes or fixed ports is not deployed blue-green: two of it would run at once.',
    'Take strategy = "recreate", or mount with `:ro`.',
  ),
  'window/cron': error(
    'A window opens at times of a cron expression with five fields.',
    'Write for example "0 3 * * sun": minute, hour, day, month, day of the week.',
  ),
  'window/timezone': error(
    'The time zone of a window is a name of the IANA database.',
    'Write for example "Europe/Berlin" or "UTC".',
  ),
  'window/limit': error('A node has at most 20 windows.', 'Write one cron expression for several times.'),
  'silence/rule': error(
    'What a file silences is a warning, or a rule about what a Dockerfile says, and each once.',
    'Errors are mended, not silenced; the table of rules has the warnings.',
  ),
  'silence/reason': error(
    'A silenced rule has a reason: one line of at most 300 characters.',
    'Write why it is well so; the dashboard shows it.',
  ),
  'silence/unused': warning('What a file silences would be told otherwise.', 'Remove the [[silence]] table.'),
  'build/name': error(
    'A build image is named like the repository of a component: the part after the last `/`.',
    'Take the name from the `image` of the component.',
  ),
  'build/unused': error(
    'Every build image is used by a component.',
    'Name it like the repository in the `image` of a component (after the last `/`, before the `:`), or remove it.',
  ),
  'build/dockerfile': error(
    'The Dockerfile is a relative path inside the source repository.',
    'Write it relative to the root of the source repository, without `..`.',
  ),
  'component/name': error(
    'A component name is a DNS label: a–z, 0–9 and -, at most 63 characters.',
    'Rename the component, for example "api" or "web".',
  ),
  'component/duplicate': error('A component name is there once a service.', 'Rename one of the two.'),
  'component/container-name': error(
    'A container name has 2 to 63 characters: engines take none of one letter, and it is a DNS label on its network.',
    'Change the name of the service or of the component.',
  ),
  'component/container-duplicate': error(
    'A container name is there once a node: `<service>-<component>`, or `<service>` when equal.',
    'Rename the component or the service.',
  ),
  'component/peer-fold': error(
    'No two routes give the same `PEER_…` variable.',
    'Rename the component or the route, so that they differ in more than `-`, `_` and case.',
  ),
  'component/cmd': error(
    'A command has 1 to 200 strings without NUL, at most 32 KiB together.',
    'Shorten it, or leave `cmd` out.',
  ),
  'component/entrypoint': error(
    'An entrypoint has 1 to 200 strings without NUL, at most 32 KiB together.',
    'Shorten it, or leave `entrypoint` out.',
  ),
  'component/stop-signal': error(
    'A stop signal has the name of a signal that ends a process.',
    'Write for example "SIGINT" or "SIGRTMIN+3".',
  ),
  'component/labels': error(
    'A component has at most 50 labels; a name has letters, digits and . _ / - [ ], a value is one line of at most 4 KiB.',
    'Write for example "org.example.team" = "web".',
  ),
  'component/label-reserved': error(
    "Labels of the agent's and of the engines' own tools are not set by definitions.",
    'Take another prefix: whose a container is must not be said by git.',
  ),
  'component/after': error(
    'A component waits only for other components of its service.',
    'Name a component of this file, or remove it from `after`.',
  ),
  'component/after-cycle': error(
    'No components wait for each other in a ring.',
    'Remove one `after` of the ring.',
  ),
  'component/replaces': error(
    'What is replaced has the name of a container.',
    'Write the name as `docker ps` or `podman ps` shows it.',
  ),
  'component/replaces-duplicate': error(
    'A container is replaced by one component of its node.',
    'Remove one of the two `replaces`.',
  ),
  'component/user': error('A user is `uid[:gid]` or `name[:group]`.', 'Write for example "0:0".'),
  'image/reference': error(
    'An image is `[host[:port]/]repository:tag[@sha256:…]` in lower case.',
    'Write for example "mcr.svc.mcp.metacircular.net:8443/myservice:v1.0.0".',
  ),
  'image/semver-tag': error(
    'An image is pinned to a semantic version: `v1.2.3`, `1.2.3`, `v1.2.3-rc.1`. Never `latest`; other tags only with a digest where the node\'s policy takes "pinned" images.',
    'Pin the released version, for example ":v1.0.0".',
  ),
  'image/build-metadata': error(
    'A version in an image tag has no `+build` part: no engine takes it.',
    'Leave `+…` out, or make it a pre-release with `-`.',
  ),
  'image/host': error(
    'An image comes from a registry that the node knows, or is local: where the settings list registries, no other is asked.',
    'Take an image from one of them, or add [registries."host:port"] to the node\'s settings.',
  ),
  'image/unbuilt': warning(
    "An image of the platform's own registry has an entry in [build.images].",
    'Add `<repository> = "Dockerfile"` to [build.images], so that the node can build it when the registry has lost it.',
  ),
  'volume/syntax': error(
    "A volume is `source:target` or `source:target:ro`; the source is an absolute path or the name of an engine's volume.",
    'Write for example "/srv/myservice:/srv/myservice".',
  ),
  'volume/path': error(
    'The paths of a volume are absolute, plain ASCII and without `..`.',
    'Write the whole path from /.',
  ),
  'volume/forbidden': error(
    'No engine socket, no system directory and no whole root is mounted.',
    'Keep the data of the service in /srv/<service>.',
  ),
  'volume/target': error(
    'Nothing is mounted on the root, /proc, /sys or /dev of a container.',
    "Mount on a directory of the service's own.",
  ),
  'volume/duplicate': error('A target is mounted once a component.', 'Remove one of the two.'),
  'volume/limit': error('A component has at most 50 volumes.', 'Mount a common parent directory.'),
  'volume/policy': error(
    "A bind source lies where the node's policy allows it.",
    "Use /srv/<service>, or have [policy] mounts of the node's settings changed.",
  ),
  'env/syntax': error(
    'An environment entry is `KEY=VALUE`; KEY has letters, digits and _ and does not begin with a digit.',
    'Write for example "LOG_LEVEL=info".',
  ),
  'env/value': error(
    'An environment value has no newline and no NUL.',
    'Put longer text into a file below /srv/<service>.',
  ),
  'env/duplicate': error('A variable is set once a component.', 'Remove one of the two.'),
  'env/reserved': error(
    '`PORT`, `PORT_*` and `PEER_*` are set by the agent.',
    'Remove it; the service reads the port it was given.',
  ),
  'env/limit': error(
    'A component has at most 100 variables, each at most 4 KiB.',
    'Move the rest into the configuration file below /srv/<service>.',
  ),
  'env/secret': warning(
    'No secret stands in the definitions.',
    'Everyone who can read git can read it: put it into a 0600 file below /srv/<service>, and change it where it was used.',
  ),
  'network/name': error(
    "A network is the name of an engine's network, or `none`; modes of the engine such as `host` are not.",
    "Leave `network` out: the node's default is taken.",
  ),
  'network/none': error(
    'A component without a network has no routes and no ports.',
    'Leave `network` out, or the routes and ports.',
  ),
  'network/policy': error(
    "A network is one that the node's policy allows.",
    "Leave `network` out, or have [policy] networks of the node's settings changed.",
  ),
  'route/limit': error('A component has at most 20 routes.', 'Split the component.'),
  'route/name': error(
    'A route name has letters, digits, - and _, at most 32 characters.',
    'Write for example "rest" or "grpc".',
  ),
  'route/unnamed': error(
    'Of several routes of a component each has a name.',
    'Add `name = "…"`: the service reads its port from PORT_<NAME>.',
  ),
  'route/fold': error(
    'No two routes of a component give the same `PORT_…` variable.',
    'Rename one: names are compared in upper case, with - as _.',
  ),
  'route/port': error('A port is a whole number from 1 to 65535.', 'Write for example 8443.'),
  'route/hostname': error(
    'A host name is a DNS name: labels of a–z, 0–9 and - with dots between; no wildcard, no address.',
    'Write for example "docs.metacircular.net"; international names in their xn-- form.',
  ),
  'route/domain': error(
    'A host name lies inside the domains of the node, compared label by label.',
    "Leave `hostname` out, or have [policy] hostnames of the node's settings changed.",
  ),
  'route/duplicate': error(
    'A host name and external port stand in one route only, over all nodes.',
    'Take another host name or port, or remove the other route.',
  ),
  'route/listener': error(
    "The port of a route is a listener of its node's proxy.",
    "Take one of the listeners, or add the port to the proxy's listeners.",
  ),
  'route/edge': error(
    '`edge` names other nodes, each once, at most 20.',
    'Name the nodes that serve the route beside its own.',
  ),
  'route/edge-address': warning(
    'The node of a route with `edge` has an address in its file: there the edge nodes reach it.',
    'Set addresses = ["…"] in the file of the node.',
  ),
  'route/edge-name': warning(
    'All routes of one host name have the same `edge`: the name leads to those nodes only.',
    'Give each of them the same edge, or another host name.',
  ),
  'route/edge-refused': warning(
    'An edge node serves what its own listeners and [policy] hostnames allow.',
    'Have them changed on that node, or take it out of `edge`.',
  ),
  'route/container-port': error(
    'A route and `ports` do not share a port of the container.',
    'Publish the port once: as a route, or as a fixed port.',
  ),
  'route/backend-tls': error(
    '`backend_tls` belongs to an l7 route: behind an l4 route the service ends TLS itself.',
    'Remove it, or set mode = "l7".',
  ),
  'ports/limit': error('A component has at most 50 fixed ports.', 'Split the component.'),
  'ports/syntax': error(
    'A fixed port is `[ip:]host:container[/tcp|udp]`.',
    'Write for example "53:53/udp" or "192.0.2.1:53:53/tcp".',
  ),
  'ports/duplicate': error(
    'A fixed port is there once a node, address and protocol.',
    'Take another host port or another address.',
  ),
  'ports/listener': error(
    "A fixed port of an active service is none on which the node's proxy listens.",
    "Take another host port, or set active = false. Where this service is the proxy of the node, the node's settings have no driver in [mcproxy], and its file has no `listeners`.",
  ),
  'ports/policy': error(
    "A fixed host port is one that the node's policy allows.",
    "Use a route, or have [policy] ports of the node's settings changed.",
  ),
  'health/fields': error(
    'A health check has the keys of its type: `http` route or port, path, expect; `tls` and `tcp` route or port; `exec` command.',
    'Remove the key, or change the type.',
  ),
  'health/target': error(
    'A health check asks a route of its component, or a port; `http` and `tls` one that `ports` publishes.',
    'Name a route of this component, or a port.',
  ),
  'health/path': error(
    'The path of a health check begins with / and is plain ASCII.',
    'Write for example "/healthz".',
  ),
  'health/expect': error(
    'What a health check expects is a status, or a range of them.',
    'Write for example "200" or "200-399".',
  ),
  'health/command': error(
    'The command of a health check has 1 to 200 strings without NUL, at most 32 KiB together.',
    'Shorten it, or put it into a program of the image.',
  ),
  'health/restart': error(
    'What is restarted when it is unwell is kept running by its restart policy.',
    'Set restart = "unless-stopped", or on_failure = "report".',
  ),
  'health/retries': error('`retries` is a whole number from 1 to 100.', 'Write for example retries = 3.'),
  'resources/cpus': error('`cpus` is a number from 0.01 to 1024.', 'Write for example cpus = 0.5.'),
  'resources/pids': error('`pids` is a whole number from 1.', 'Write for example pids = 200.'),
  'node/file-name': error('The file of a node is `nodes/<node>.toml`.', 'Rename the file.'),
  'node/address': error('An address is an IPv4 or IPv6 address.', 'Write for example "192.0.2.10".'),
  'node/unknown': warning(
    'Where nodes have files, each node that a service names has one.',
    'Mend the name, or write nodes/<node>.toml; it may be empty.',
  ),
  'node/bad': error(
    'The services of a node wait while the file of the node is bad.',
    'Mend the file of the node.',
  ),
  'removals/name': error('removals.toml has names of services.', 'Write services = ["name"].'),
} as const satisfies Readonly<Record<string, Rule>>;

export type RuleId = keyof typeof RULES;

/** Rules that only the settings of a node can judge: its policy is its own and never in git. */
export const POLICY_RULES: readonly RuleId[] = [
  'image/host',
  'network/policy',
  'ports/policy',
  'route/domain',
  'volume/policy',
];

function error(says: string, hint: string): Rule {
  return { severity: 'error', says, hint };
}

function warning(says: string, hint: string): Rule {
  return { severity: 'warning', says, hint };
}
