import { v } from '../base/shape.ts';
import { OWN_COMPONENT, OWN_SERVICE, WINDOW } from './ownshape.ts';
import { label, PORT, says } from './shapeparts.ts';

/** At most so many of a kind in one definition (G46). */
export const LIMITS = {
  fileBytes: 256 * 1024,
  files: 20_000,
  totalBytes: 64 * 1024 * 1024,
  depth: 32,
  servicesPerNode: 1_000,
  components: 20,
  routes: 20,
  edges: 20,
  volumes: 50,
  ports: 50,
  env: 100,
  envBytes: 4 * 1024,
  cmd: 200,
  cmdBytes: 32 * 1024,
  labels: 50,
  labelBytes: 4 * 1024,
  windows: 20,
} as const;

const RESTARTS = ['no', 'on-failure', 'unless-stopped', 'always'] as const;

/** `[host[:port]/]repository:<semantic version>`, or anything with a digest. */
const PINNED =
  /^[^\s@]*[^\s@/:]:v?(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)(?:-[0-9A-Za-z.-]+)?$|^[^\s@]+:[^\s@/:]+@sha256:[0-9a-f]{64}$/;

/** For editors: names of DNS with two labels at least, and no address. */
const HOSTNAME =
  '^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+(?![0-9]+$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$';

const routeName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/, says('route/name', 'is no route name')),
);

export const ROUTE = v.strictObject({
  name: v.optional(
    v.pipe(
      routeName,
      v.title('Route name'),
      v.description('Determines the variable `PORT_<NAME>`. Required when the component has several routes.'),
      v.examples(['rest', 'grpc']),
    ),
  ),
  port: v.pipe(
    PORT,
    v.title('External port'),
    v.description("The port of mc-proxy under which the route is reached: one of the node's listeners."),
    v.examples([443, 8443, 9443]),
  ),
  mode: v.pipe(
    v.picklist(['l4', 'l7']),
    v.title('Mode'),
    v.description('`l4`: the service ends TLS itself. `l7`: mc-proxy ends TLS and proxies HTTP.'),
  ),
  hostname: v.optional(
    v.pipe(
      v.string(),
      v.metadata({ pattern: HOSTNAME }),
      v.title('Host name'),
      v.description('Public host name instead of `<service>.<hostname suffix of the node>`.'),
      v.examples(['docs.metacircular.net']),
    ),
  ),
  container_port: v.optional(
    v.pipe(
      PORT,
      v.title('Container port'),
      v.description('The port on which the image listens by itself, when it does not read `PORT…`.'),
      v.examples([8080]),
    ),
  ),
  backend_tls: v.optional(
    v.pipe(
      v.boolean(),
      v.title('Backend TLS'),
      v.description('The service speaks TLS behind an `l7` route.'),
    ),
    false,
  ),
  edge: v.optional(
    v.pipe(
      v.array(label('route/edge')),
      v.metadata({ uniqueItems: true }),
      v.title('Edge'),
      v.description(
        'Other nodes that serve the route as well, and hand it on to the listener of its own node. Its name then leads to them only.',
      ),
      v.examples([['svc']]),
    ),
  ),
});

/** What an editor can mark while it is written; the rules say precisely what is wrong, and more than a pattern can. */
const FOR_EDITORS = {
  env: '^(?!PORT=|PORT_|PEER_)[A-Za-z_][A-Za-z0-9_]*=[^\\n\\r]*$',
  network:
    '^(?!(?:host|bridge|default|private|slirp4netns|pasta|podman|container|ns)$)(?!mcg-)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$',
  port: '^(?:(?:[0-9.]+|\\[[0-9A-Fa-f:.]+\\]):)?[0-9]{1,5}:[0-9]{1,5}(?:/(?:tcp|udp))?$',
  user: '^(?:[0-9]{1,10}(?::[0-9]{1,10})?|[a-z_][a-z0-9_-]{0,31}(?::[a-z_][a-z0-9_-]{0,31})?)$',
  volume: '^[^:]+:/[^:]*(?::(?:ro|rw))?$',
} as const;

export const COMPONENT = v.strictObject({
  name: v.pipe(
    label('component/name'),
    v.title('Component name'),
    v.description(
      'Unique in the service. The container is `<service>-<component>`, or `<service>` when equal.',
    ),
    v.examples(['api', 'web']),
  ),
  image: v.pipe(
    v.string(),
    v.title('Image'),
    v.description('Full image reference, pinned to a semantic version.'),
    v.examples(['mcr.svc.mcp.metacircular.net:8443/myservice:v1.0.0']),
    // For editors only: `readImage` says precisely what is wrong.
    v.metadata({ pattern: PINNED.source }),
  ),
  volumes: v.optional(
    v.pipe(
      v.array(v.pipe(v.string(), v.metadata({ pattern: FOR_EDITORS.volume }))),
      v.title('Volumes'),
      v.description('`source:target[:ro]`; a source without a slash is a volume of the engine.'),
      v.examples([['/srv/myservice:/srv/myservice']]),
    ),
    [],
  ),
  cmd: v.optional(
    v.pipe(
      v.array(v.string()),
      v.metadata({ minItems: 1 }),
      v.title('Command'),
      v.description("Replaces the image's command."),
      v.examples([['server', '--config', '/srv/myservice/myservice.toml']]),
    ),
  ),
  env: v.optional(
    v.pipe(
      v.array(v.pipe(v.string(), v.metadata({ pattern: FOR_EDITORS.env }))),
      v.title('Environment'),
      v.description('`KEY=VALUE`. Not for secrets: they belong into files below /srv/<service>.'),
      v.examples([['LOG_LEVEL=info']]),
    ),
    [],
  ),
  network: v.optional(
    v.pipe(
      v.string(),
      v.metadata({ pattern: FOR_EDITORS.network }),
      v.title('Network'),
      v.description("Default: the node's, `mcpnet`. `none`: no network."),
      v.examples(['mcpnet', 'none']),
    ),
  ),
  user: v.optional(
    v.pipe(
      v.string(),
      v.metadata({ pattern: FOR_EDITORS.user }),
      v.title('User'),
      v.description('`uid[:gid]` or `name[:group]`.'),
      v.examples(['0:0']),
    ),
  ),
  restart: v.optional(
    v.pipe(
      v.picklist(RESTARTS),
      v.title('Restart policy'),
      v.description(
        "Default: the node's, `unless-stopped`. `always` is given to the engine as `unless-stopped`.",
      ),
    ),
  ),
  ports: v.optional(
    v.pipe(
      v.array(v.pipe(v.string(), v.metadata({ pattern: FOR_EDITORS.port }))),
      v.title('Fixed ports'),
      v.description('`[ip:]host:container[/tcp|udp]`: published on the host as they are, beside the proxy.'),
      v.examples([['53:53/udp', '53:53/tcp']]),
    ),
    [],
  ),
  routes: v.optional(
    v.pipe(
      v.array(ROUTE),
      v.title('Routes'),
      v.description('What mc-proxy sends to this component.'),
      v.metadata({ examples: [[{ port: 8443, mode: 'l7' }]] }),
    ),
    [],
  ),
  ...OWN_COMPONENT,
});

/** `services/<service>.toml`: the format of the platform, and the fields of our own. */
export const SERVICE = v.strictObject({
  name: v.pipe(
    label('service/name'),
    v.title('Service name'),
    v.description('The name of the file without `.toml`.'),
    v.examples(['myservice']),
  ),
  node: v.pipe(
    label('service/node'),
    v.title('Node'),
    v.description('The node that runs the service.'),
    v.examples(['rift']),
  ),
  active: v.optional(
    v.pipe(v.boolean(), v.title('Active'), v.description('Whether the service is kept running.')),
    true,
  ),
  path: v.optional(
    v.pipe(
      v.string(),
      v.title('Source path'),
      v.description('Source directory relative to the workspace. Default: `name`.'),
      v.examples(['mc/myservice']),
    ),
  ),
  build: v.optional(
    v.pipe(
      v.strictObject({
        images: v.optional(
          v.pipe(
            v.record(v.string(), v.string()),
            v.title('Build images'),
            v.description(
              'Repository name (after the last `/` of an `image`) to the path of its Dockerfile.',
            ),
            v.examples([{ myservice: 'Dockerfile' }]),
          ),
          {},
        ),
      }),
      v.title('Build'),
      v.description('What the node builds by itself when a version is missing in the registry.'),
      v.examples([{ images: { myservice: 'Dockerfile' } }]),
    ),
    {},
  ),
  components: v.pipe(
    v.array(COMPONENT),
    v.metadata({ minItems: 1 }),
    v.title('Components'),
    v.description('One table a container, in the order of the file.'),
    v.metadata({
      examples: [[{ name: 'api', image: 'mcr.svc.mcp.metacircular.net:8443/myservice:v1.0.0' }]],
    }),
  ),
  ...OWN_SERVICE,
});

/** `nodes/<node>.toml`. */
export const NODE = v.strictObject({
  addresses: v.optional(
    v.pipe(
      v.array(v.string()),
      v.title('Addresses'),
      v.description('Addresses under which the node is reached.'),
      v.examples([['192.0.2.10']]),
    ),
    [],
  ),
  listeners: v.optional(
    v.pipe(
      v.array(PORT),
      v.title('Listeners'),
      v.description("Ports of the node's mc-proxy."),
      v.examples([[443, 8443, 9443]]),
    ),
  ),
  hostname_suffix: v.optional(
    v.pipe(
      v.string(),
      v.title('Host name suffix'),
      v.description('Default host name of a route: `<service>.<hostname_suffix>`.'),
      v.examples(['svc.mcp.metacircular.net']),
    ),
  ),
  defaults: v.optional(
    v.pipe(
      v.strictObject({
        network: COMPONENT.entries.network,
        user: COMPONENT.entries.user,
        restart: COMPONENT.entries.restart,
      }),
      v.title('Defaults'),
      v.description('For components of this node that do not say it themselves.'),
      v.examples([{ network: 'mcpnet', restart: 'unless-stopped' }]),
    ),
    {},
  ),
  mode: v.optional(
    v.pipe(
      v.picklist(['converge', 'observe']),
      v.title('Mode'),
      v.description('`observe`: plan and show, touch nothing.'),
    ),
    'converge',
  ),
  windows: v.optional(
    v.pipe(
      v.array(WINDOW),
      v.title('Windows'),
      v.description(
        'Changes of any service of this node happen in one of these only; healing is never bound.',
      ),
      v.examples([[{ cron: '0 3 * * sun', for: '2h', timezone: 'Europe/Berlin' }]]),
    ),
    [],
  ),
});

/** `removals.toml`: services that may be removed beyond the budget. */
export const REMOVALS = v.strictObject({
  services: v.optional(
    v.pipe(
      v.array(label('removals/name')),
      v.title('Services'),
      v.description('Names of services whose files were deleted and that may go.'),
      v.examples([['old-wiki', 'paste']]),
    ),
    [],
  ),
});

export type ServiceShape = v.InferOutput<typeof SERVICE>;
export type ComponentShape = v.InferOutput<typeof COMPONENT>;
export type RouteShape = v.InferOutput<typeof ROUTE>;
export type NodeShape = v.InferOutput<typeof NODE>;
