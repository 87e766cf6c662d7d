import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { bug, messageOf, type Failure, type Outcome } from '../base/outcome.ts';
import { redact } from '../base/secret.ts';
import type { NoticeRecord } from '../registry/types.ts';
import { CERTIFICATES, LINGER_MS, type Cause } from './causes.ts';
import type { Channel, Message } from './channels.ts';
import type { EventFeed } from './events.ts';
import { visible } from './shown.ts';
import type { Undecided } from './standing.ts';

/** Where notices are remembered; the registry's. Its methods may throw. */
interface NoticeStore {
  open(): NoticeRecord[];
  begin(
    notice: Pick<NoticeRecord, 'cause' | 'kind' | 'service' | 'text' | 'hint' | 'at'>,
    channels: readonly string[],
  ): void;
  clear(cause: string, at: number): void;
  next(channel: string): { notice: NoticeRecord; tries: number; nextAt: number } | undefined;
  delivered(notice: number, channel: string, at: number): void;
  failed(notice: number, channel: string, error: string, nextAt: number | undefined): void;
}

export interface NotifierOptions {
  /** Asked for at each use: the registry may have become another file. */
  readonly store: () => NoticeStore;
  readonly channels: readonly Channel[];
  readonly node: string;
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly feed: Pick<EventFeed, 'add'>;
  /** Wait after the first failure; doubles up to an hour. */
  readonly firstWaitMs?: number;
}

const FIRST_WAIT_MS = 10_000;
const LONGEST_WAIT_MS = 3_600_000;
const MAX_TRIES = 20;
const REFUSED_LINGER_MS = 60_000;
/** Causes that only a look at the node shows. */
const SEEN_IN_SERVICES = /^(flapping|degraded|certificate|unpushed|refused) |^certificates$/;

interface Noticed {
  readonly since: number;
  readonly lastAt: number;
  readonly service?: string;
}

function isUndecided(key: string, { service }: Noticed, undecided: Undecided): boolean {
  if (!SEEN_IN_SERVICES.test(key)) return false;
  if (undecided.isBlind === true) return true;
  if (key === CERTIFICATES) return undecided.isCaAsked === true;
  return service !== undefined && undecided.services?.has(service) === true;
}

/** Tells people: one notice a cause until it clears, beside the passes. Whatever happens here changes nothing (L41). */
export interface Notifier {
  /**
   * Synchronous and quick: compares causes, remembers, and leaves the sending to others. A cause that is not there any more has
   * cleared, unless it is `undecided`.
   */
  look(causes: readonly Cause[], undecided?: Undecided): void;
  stop(): Promise<void>;
}

/** How long a cause that is not seen any more stays one. */
function lingerMs(cause: string): number {
  // The end of an l4 certificate is not known again before the first handshake after a start.
  if (/^(drift|returned|expiry) /.test(cause)) return LINGER_MS;
  // What is refused by a look at a name server or a registry is not known before the first answer after a start.
  return cause.startsWith('refused ') ? REFUSED_LINGER_MS : 0;
}

export function openNotifier(options: NotifierOptions): Notifier {
  const { channels, clock, log, feed } = options;
  const stopping = new AbortController();
  const seen = new Map<string, Noticed>();
  let wakes = channels.map(() => new AbortController());
  const wake = (): void => {
    const old = wakes;
    wakes = channels.map(() => new AbortController());
    for (const one of old) one.abort();
  };

  const look = (causes: readonly Cause[], undecided: Undecided): void => {
    const now = clock.now();
    const store = options.store();
    const open = new Map(store.open().map((notice) => [notice.cause, notice]));
    // What an earlier agent told counts as seen now: it clears when it is not seen again.
    for (const [cause, notice] of open)
      if (!seen.has(cause)) seen.set(cause, { since: now, lastAt: now, ...serviceOf(notice) });
    let isNew = false;
    for (const cause of causes) {
      const since = cause.since ?? seen.get(cause.key)?.since ?? now;
      seen.set(cause.key, { since, lastAt: now, ...serviceOf(cause) });
      if (open.has(cause.key) || now - since < cause.afterMs) continue;
      begin(cause, now);
      isNew = true;
    }
    for (const [key, noticed] of seen) {
      const isPresent = causes.some((cause) => cause.key === key);
      const lingers = now - noticed.lastAt < lingerMs(key);
      if (isPresent || lingers || isUndecided(key, noticed, undecided)) continue;
      seen.delete(key);
      if (open.has(key)) store.clear(key, now);
    }
    if (isNew) wake();
  };
  const begin = (cause: Cause, at: number): void => {
    const { key, kind, service, text, hint } = cause;
    options.store().begin(
      {
        ...{ cause: key, kind, at, text: visible(redact(text)) },
        ...(service === undefined ? {} : { service }),
        ...(hint === undefined || hint === '' ? {} : { hint: visible(redact(hint)) }),
      },
      channels.map(({ name }) => name),
    );
    log.warn({ notice: kind, ...(hint === undefined ? {} : { hint }) }, `notice: ${text}`);
    feed.add({
      ...{ at, kind: 'notice', phase: 'begins', text: `${kind}: ${text}` },
      ...(service === undefined ? {} : { services: [service] }),
      ...(hint === undefined ? {} : { hint }),
    });
  };

  const running = channels.map((channel, index) =>
    sending(channel, options, stopping.signal, () => wakes[index]?.signal ?? stopping.signal),
  );
  return {
    look: (causes, undecided = {}) => {
      try {
        look(causes, undecided);
      } catch (error) {
        log.error({ why: messageOf(error) }, 'notices could not be remembered; the agent goes on');
      }
    },
    stop: async () => {
      stopping.abort();
      wake();
      await Promise.all(running);
    },
  };
}

function serviceOf({ service }: { readonly service?: string }): { service?: string } {
  return service === undefined ? {} : { service };
}

/** One channel, one message at a time, for ever. */
async function sending(
  channel: Channel,
  options: NotifierOptions,
  stopping: AbortSignal,
  woken: () => AbortSignal,
): Promise<void> {
  const { clock, log } = options;
  const isStopped = (): boolean => stopping.aborted;
  while (!isStopped()) {
    const signal = woken();
    try {
      const store = options.store();
      const next = store.next(channel.name);
      const now = clock.now();
      if (next === undefined || next.nextAt > now) {
        await clock.sleep(next === undefined ? LONGEST_WAIT_MS : next.nextAt - now, signal);
        continue;
      }
      const outcome = await send(channel, messageOf_(next.notice, options), stopping);
      // Sent or not: with the agent gone it is the next one's turn.
      if (isStopped()) return;
      if (outcome.kind === 'ok') store.delivered(next.notice.id, channel.name, clock.now());
      else record(channel, next.notice.id, next.tries + 1, outcome, options);
    } catch (error) {
      log.error({ channel: channel.name, why: messageOf(error) }, 'notices cannot be sent for now');
      await clock.sleep(LONGEST_WAIT_MS, signal);
    }
  }
}

async function send(channel: Channel, message: Message, signal: AbortSignal): Promise<Outcome<undefined>> {
  try {
    return await channel.send(message, signal);
  } catch (error) {
    return bug(error);
  }
}

function record(
  channel: Channel,
  id: number,
  tries: number,
  failure: Failure,
  options: NotifierOptions,
): void {
  const { clock, log, firstWaitMs = FIRST_WAIT_MS } = options;
  const waitMs = Math.min(LONGEST_WAIT_MS, firstWaitMs * 2 ** Math.min(tries - 1, 20));
  const nextAt = tries >= MAX_TRIES ? undefined : clock.now() + waitMs;
  options.store().failed(id, channel.name, redact(failure.why), nextAt);
  log.warn(
    { channel: channel.name, why: redact(failure.why), hint: failure.hint, tries },
    nextAt === undefined ? 'a notice was given up' : 'a notice was not delivered; it is tried again',
  );
}

function messageOf_(notice: NoticeRecord, { node, owner }: NotifierOptions): Message {
  const { id, kind, service, text, hint, at } = notice;
  return {
    ...{ id, kind, node, owner, text, at: new Date(at).toISOString() },
    ...(service === undefined ? {} : { service }),
    ...(hint === undefined ? {} : { hint }),
  };
}
