import { readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../base/log.ts';
import { blocked, bug, messageOf, ok, type Outcome } from '../base/outcome.ts';
import { parseRouteTable, routeTableDigest, type RouteTable } from '../base/routetable.ts';
import { watchFiles, type FileWatch } from '../base/watch.ts';
import { terminatedRoutes } from './certificates.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { makeRouter, type Router } from './router.ts';
import { serveStatus, type Refusal } from './status.ts';

export interface ProxyOptions {
  readonly tablePath: string;
  readonly statusSocketPath: string;
  readonly log: Log;
  /** What differs from `DEFAULT_LIMITS`. */
  readonly limits?: Partial<Limits>;
}

export interface RunningProxy {
  /** The listeners that are bound now, as the table names them. */
  addresses(): string[];
  /** Takes no more connections, waits (at most `drainTimeoutMs`) for what is under way, and ends the rest. */
  close(): Promise<void>;
}

/** A certificate and its key are two files: looked at a moment later, both have been written. */
const SETTLE_MS = 20;

/**
 * Starts the TLS router. It serves the table in `tablePath`, follows every change of it and of the certificates, and keeps the last good
 * one when a new one is at fault itself (syntax, a name twice, an address in use). A certificate that is at fault takes out its
 * own route only. A table that is missing or bad at the start is no error: the router then serves nothing,
 * says why in its status, and waits for a good one.
 */
export async function startProxy(options: ProxyOptions): Promise<Outcome<RunningProxy>> {
  try {
    return await start(options);
  } catch (error) {
    return bug(error);
  }
}

async function start({
  tablePath,
  statusSocketPath,
  log,
  ...options
}: ProxyOptions): Promise<Outcome<RunningProxy>> {
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const router = makeRouter(limits, log);
  const startedAt = new Date().toISOString();
  let refused: Refusal | undefined;

  const status = await serveStatus(statusSocketPath, () => {
    const { table, digest, live, faults, ...view } = router.view();
    return {
      pid: process.pid,
      startedAt,
      generation: table.generation ?? null,
      tableDigest: digest,
      live,
      faults,
      ...(refused === undefined ? {} : { refused }),
      ...view,
    };
  });
  if (status.kind !== 'ok') {
    await router.close();
    return status;
  }

  const follower = await follow(tablePath, limits, log, async () => {
    const read = await readTable(tablePath, limits);
    const applied = read.kind === 'ok' ? await router.apply(read.value) : read;
    if (applied.kind === 'ok') {
      if (refused !== undefined || applied.value === 'changed')
        log.info(summary(router), 'route table in force');
      refused = undefined;
    } else {
      const tableDigest = read.kind === 'ok' ? routeTableDigest(read.value) : null;
      if (refused?.why !== applied.why || refused.tableDigest !== tableDigest) {
        refused = { at: new Date().toISOString(), why: applied.why, tableDigest };
        log.error(
          { why: applied.why, hint: applied.hint },
          'route table refused, the last good one stays in force',
        );
      }
      // Its certificates are followed all the same: a table that nobody mends must not let them expire (L15).
      const { table, digest } = router.view();
      if (digest !== null) await router.apply(table);
    }
    // The files of a refused table as well: the certificate that it misses may come.
    return [router.view().table, ...(read.kind === 'ok' ? [read.value] : [])];
  });

  let closing: Promise<void> | undefined;
  return ok({
    addresses: () =>
      router
        .view()
        .listeners.filter(({ bound }) => bound)
        .map(({ addr }) => addr),
    close: () =>
      (closing ??= (async () => {
        await follower.close();
        await router.close();
        await status.value.close();
      })()),
  });
}

/**
 * Runs `reload` once and then whenever the table or one of the certificates of the tables that it returned has changed, never twice at the
 * same time, and every `recheckMs` besides: an event is only a hint, and an address that was in use may be free now.
 */
async function follow(
  tablePath: string,
  limits: Limits,
  log: Log,
  reload: () => Promise<RouteTable[]>,
): Promise<{ close(): Promise<void> }> {
  let watch: FileWatch | undefined;
  let watched = new Set<string>();
  let running: Promise<void> | undefined;
  let again = false;
  let closed = false;

  const rewatch = async (tables: RouteTable[]): Promise<void> => {
    const routes = tables.flatMap(terminatedRoutes);
    const files = new Set([
      tablePath,
      ...routes.flatMap(({ tlsCert, tlsKey, backendCa }) => [
        tlsCert,
        tlsKey,
        ...(backendCa === undefined ? [] : [backendCa]),
      ]),
    ]);
    // To watch a file too many costs nothing; to set up the watch of a thousand anew at each removal does.
    const covered = [...files].every((file) => watched.has(file)) && watched.size < 2 * files.size + 100;
    if (covered || closed) return;
    const before = watch;
    watch = await watchFiles([...files], trigger, {
      onError: (error) =>
        log.warn({ why: messageOf(error) }, 'files cannot be watched; they are looked at instead'),
    });
    watched = files;
    await before?.close();
    // What was written between reading and watching would not be told.
    again = true;
  };
  const trigger = (): void => {
    again = true;
    running ??= (async () => {
      while (again && !closed) {
        await delay(SETTLE_MS);
        again = false;
        await rewatch(await reload());
      }
    })()
      .catch((error: unknown) => log.error({ why: messageOf(error) }, 'reading the route table'))
      .finally(() => {
        running = undefined;
        if (again && !closed) trigger();
      });
  };

  const timer = setInterval(trigger, limits.recheckMs);
  trigger();
  await running;
  return {
    close: async () => {
      closed = true;
      clearInterval(timer);
      await running;
      await watch?.close();
    },
  };
}

async function readTable(path: string, limits: Limits): Promise<Outcome<RouteTable>> {
  try {
    const { size } = await stat(path);
    if (size > limits.maxTableBytes) {
      return blocked(
        `route table ${path}: larger than ${limits.maxTableBytes} bytes`,
        'Is this the right file?',
      );
    }
    return parseRouteTable(await readFile(path, 'utf8'));
  } catch (error) {
    return blocked(`route table ${path}: ${messageOf(error)}`, 'It is read as soon as it is there.');
  }
}

function summary(router: Router): object {
  const { table, digest, listeners, faults } = router.view();
  return {
    generation: table.generation,
    digest,
    listeners: listeners.map(({ addr }) => addr),
    routes: table.listeners.reduce((sum, { routes }) => sum + routes.length, 0),
    faults: faults.length,
  };
}
