import { v } from '../base/shape.ts';
import { DURATION, label, PORT, says, SIZE, whole } from './shapeparts.ts';

/** Fields of our own (house.md section 5): all optional, the format of the platform is complete without them. */

export const WINDOW = v.strictObject({
  cron: v.pipe(
    v.string(),
    v.title('Cron expression'),
    v.description('When the window opens: minute, hour, day, month, day of the week.'),
    v.examples(['0 3 * * sun']),
  ),
  for: v.pipe(
    DURATION,
    v.title('Length'),
    v.description('How long it stays open, at most `168h`.'),
    v.examples(['2h']),
  ),
  timezone: v.pipe(
    v.string(),
    v.title('Time zone'),
    v.description('Name of the IANA database.'),
    v.examples(['Europe/Berlin', 'UTC']),
  ),
});

export const DEPLOY = v.strictObject({
  strategy: v.optional(
    v.pipe(
      v.picklist(['recreate', 'blue-green']),
      v.title('Strategy'),
      v.description(
        '`recreate`: the old containers stop before the new ones start. `blue-green`: both run while the route switches; not with writable volumes or fixed ports.',
      ),
    ),
  ),
  timeout: v.optional(
    v.pipe(
      DURATION,
      v.title('Timeout'),
      v.description('How long a changed version may take to be proved before the last proved one returns.'),
      v.examples(['5m']),
    ),
  ),
  stable_for: v.optional(
    v.pipe(
      DURATION,
      v.title('Stable for'),
      v.description('How long a version is ready before it counts as proved.'),
      v.examples(['30s']),
    ),
  ),
  stop_timeout: v.optional(
    v.pipe(
      DURATION,
      v.title('Stop timeout'),
      v.description('How long a container has to end by itself, in whole seconds.'),
      v.examples(['90s']),
    ),
  ),
  return: v.optional(
    v.pipe(
      v.picklist(['previous', 'never']),
      v.title('Return'),
      v.description(
        '`never`: a version that is not proved stays; for services that a person must unseal after a start.',
      ),
    ),
  ),
  restart: v.optional(
    v.pipe(
      v.picklist(['auto', 'manual']),
      v.title('Restart'),
      v.description('`manual`: no restart for drift that is only cosmetic.'),
    ),
  ),
  window: v.optional(
    v.pipe(
      WINDOW,
      v.title('Window'),
      v.description('Changes happen in it only; healing and return are never bound.'),
      v.examples([{ cron: '0 3 * * sun', for: '2h', timezone: 'Europe/Berlin' }]),
    ),
  ),
});

export const SILENCE = v.strictObject({
  rule: v.pipe(
    v.string(),
    v.title('Rule'),
    v.description('Id of a warning, or of a rule about Dockerfiles.'),
    v.examples(['image/unbuilt']),
  ),
  reason: v.pipe(
    v.string(),
    v.metadata({ pattern: '\\S' }),
    v.title('Reason'),
    v.description('Why it is well so: the dashboard shows it.'),
    v.examples(['its supplier pushes it to our registry']),
  ),
});

export const HEALTH = v.strictObject({
  type: v.pipe(
    v.picklist(['http', 'tls', 'tcp', 'exec']),
    v.title('Type'),
    v.description(
      '`http`: a request; `tls`: a handshake; `tcp`: something listens; `exec`: a program inside the container ends with 0.',
    ),
  ),
  route: v.optional(
    v.pipe(
      v.string(),
      v.title('Route'),
      v.description('Name of the route that is asked. Default: the first.'),
      v.examples(['rest']),
    ),
  ),
  port: v.optional(
    v.pipe(
      PORT,
      v.title('Port'),
      v.description(
        'Port inside the container, instead of a route; for `http` and `tls` one that `ports` publishes.',
      ),
      v.examples([8080]),
    ),
  ),
  path: v.optional(
    v.pipe(
      v.string(),
      v.title('Path'),
      v.description('Of the `http` request. Default: `/`.'),
      v.examples(['/healthz']),
    ),
  ),
  expect: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[1-5][0-9]{2}(?:-[1-5][0-9]{2})?$/, says('health/expect', 'is no status or range of them')),
      v.title('Expect'),
      v.description('Status codes of `http` that are well. Default: `200-399`.'),
      v.examples(['200', '200-299']),
    ),
  ),
  command: v.optional(
    v.pipe(
      v.array(v.string()),
      v.title('Command'),
      v.description('Of `exec`: program and arguments; no shell.'),
      v.examples([['pg_isready', '-U', 'postgres']]),
    ),
  ),
  interval: v.optional(
    v.pipe(
      DURATION,
      v.title('Interval'),
      v.description('From one check to the next, `1s` to `1h`.'),
      v.examples(['30s']),
    ),
    '10s',
  ),
  timeout: v.optional(
    v.pipe(
      DURATION,
      v.title('Timeout'),
      v.description('A check that takes longer has failed; `100ms` to `30s`.'),
      v.examples(['2s']),
    ),
    '5s',
  ),
  retries: v.optional(
    v.pipe(
      whole('health/retries', 1, 100),
      v.title('Retries'),
      v.description('So many failures in a row make the component unwell.'),
      v.examples([5]),
    ),
    3,
  ),
  start_period: v.optional(
    v.pipe(
      DURATION,
      v.title('Start period'),
      v.description('Failures so soon after the start do not count, at most `1h`.'),
      v.examples(['5m']),
    ),
    '60s',
  ),
  on_failure: v.optional(
    v.pipe(
      v.picklist(['restart', 'report']),
      v.title('On failure'),
      v.description(
        '`restart`: an unwell container is restarted, with growing waits. `report`: it is only told.',
      ),
    ),
    'report',
  ),
});

export const RESOURCES = v.strictObject({
  memory: v.optional(v.pipe(SIZE, v.title('Memory'), v.description('At least `6m`.'), v.examples(['512m']))),
  cpus: v.optional(
    v.pipe(
      v.number(),
      v.minValue(0.01, says('resources/cpus', 'is less than 0.01')),
      v.maxValue(1024, says('resources/cpus', 'is more than 1024')),
      v.title('CPUs'),
      v.description('So many processors at most, `0.5` for half of one.'),
      v.examples([0.5]),
    ),
  ),
  pids: v.optional(
    v.pipe(
      whole('resources/pids', 1, 4_194_304),
      v.title('Processes'),
      v.description('So many processes and threads at most.'),
      v.examples([200]),
    ),
  ),
  shm: v.optional(
    v.pipe(SIZE, v.title('Shared memory'), v.description('Size of /dev/shm.'), v.examples(['128m'])),
  ),
});

/** Own fields at the top of a service file. */
export const OWN_SERVICE = {
  paused: v.optional(
    v.pipe(
      v.boolean(),
      v.title('Paused'),
      v.description('Leave everything of the service as it is, only observe.'),
    ),
    false,
  ),
  prune: v.optional(
    v.pipe(
      v.boolean(),
      v.title('Prune'),
      v.description('When the file goes: remove the containers (`true`), or leave them as orphans.'),
    ),
    true,
  ),
  after: v.optional(
    v.pipe(
      v.array(label('service/after')),
      v.title('After'),
      v.description(
        'Services of this node that must be ready first: delays starts and changes, never what runs. Paused and inactive ones are not waited for.',
      ),
      v.examples([['metacrypt']]),
    ),
    [],
  ),
  generation: v.optional(
    v.pipe(
      whole('service/generation', 0, 2_147_483_647),
      v.title('Generation'),
      v.description('Raise it to have the containers made anew, and a held-back version tried again.'),
      v.examples([1]),
    ),
    0,
  ),
  deploy: v.optional(
    v.pipe(
      DEPLOY,
      v.title('Deploy'),
      v.description("How changes happen. What is absent is the node's."),
      v.examples([{ strategy: 'blue-green', stable_for: '90s' }]),
    ),
    {},
  ),
  silence: v.optional(
    v.pipe(
      v.array(SILENCE),
      v.title('Silence'),
      v.description('Warnings of this file that are meant: each with its reason.'),
      v.examples([[{ rule: 'image/unbuilt', reason: 'its supplier pushes it to our registry' }]]),
    ),
    [],
  ),
} as const;

/** Own fields of a component. */
export const OWN_COMPONENT = {
  after: v.optional(
    v.pipe(
      v.array(v.string()),
      v.title('After'),
      v.description('Components of this service that must be ready before this one is started.'),
      v.examples([['db']]),
    ),
    [],
  ),
  entrypoint: v.optional(
    v.pipe(
      v.array(v.string()),
      v.title('Entrypoint'),
      v.description("Replaces the image's entrypoint; the image's command does not hold then."),
      v.examples([['/srv/myservice/bin/myservice']]),
    ),
  ),
  stop_signal: v.optional(
    v.pipe(
      v.string(),
      v.metadata({ pattern: '^SIG[A-Z0-9]+(?:\\+[0-9]{1,2})?$' }),
      v.title('Stop signal'),
      v.description("Sent to end the container. Default: the image's, else `SIGTERM`."),
      v.examples(['SIGINT']),
    ),
  ),
  labels: v.optional(
    v.pipe(
      v.record(v.string(), v.string()),
      v.title('Labels'),
      v.description('Of the container, for other tools. Not for secrets.'),
      v.examples([{ 'org.example.team': 'web' }]),
    ),
    {},
  ),
  replaces: v.optional(
    v.pipe(
      v.string(),
      v.title('Replaces'),
      v.description(
        'A container that runs already and was not made by the agent: it counts as the predecessor, once.',
      ),
      v.examples(['old-blog']),
    ),
  ),
  health: v.optional(
    v.pipe(
      HEALTH,
      v.title('Health'),
      v.description(
        'How the component shows that it is well, before it is ready and afterwards. Default: by its routes and ports, until it is ready.',
      ),
      v.metadata({ examples: [{ type: 'http', path: '/healthz' }] }),
    ),
  ),
  resources: v.optional(
    v.pipe(
      RESOURCES,
      v.title('Resources'),
      v.description('Limits of the container. Default: none.'),
      v.examples([{ memory: '512m', cpus: 0.5 }]),
    ),
  ),
} as const;
