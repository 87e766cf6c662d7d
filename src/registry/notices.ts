import type Database from 'better-sqlite3';
import type { DeliveryRecord, NoticeRecord } from './types.ts';

const KEPT = 500;

type NewNotice = Pick<NoticeRecord, 'cause' | 'kind' | 'service' | 'text' | 'hint' | 'at'>;

/** One notice that waits to be sent over one channel. */
interface DueDelivery {
  readonly notice: NoticeRecord;
  readonly tries: number;
  /** Not before, milliseconds since the epoch. */
  readonly nextAt: number;
}

/** What was told and what is still to be: one notice a cause until it clears (an index holds it). */
export interface Notices {
  /** Those whose cause has not cleared. */
  open(): NoticeRecord[];
  /** Newest first, cleared ones too. */
  recent(limit: number): NoticeRecord[];
  begin(notice: NewNotice, channels: readonly string[]): void;
  clear(cause: string, at: number): void;
  /** The delivery of a channel whose turn is next. */
  next(channel: string): DueDelivery | undefined;
  delivered(notice: number, channel: string, at: number): void;
  /** `nextAt` absent: given up. */
  failed(notice: number, channel: string, error: string, nextAt: number | undefined): void;
}

interface NoticeRow {
  readonly id: number;
  readonly cause: string;
  readonly kind: string;
  readonly service: string | null;
  readonly text: string;
  readonly hint: string | null;
  readonly at: number;
  readonly cleared_at: number | null;
}

interface DeliveryRow {
  readonly notice: number;
  readonly channel: string;
  readonly tries: number;
  readonly next_at: number | null;
  readonly done_at: number | null;
  readonly error: string | null;
}

export function noticesOn(db: Database.Database): Notices {
  const insert = db.prepare(
    'INSERT INTO notices (cause, kind, service, text, hint, at) VALUES (@cause, @kind, @service, @text, @hint, @at)',
  );
  const queue = db.prepare('INSERT INTO deliveries (notice, channel, tries, next_at) VALUES (?, ?, 0, ?)');
  const clear = db.prepare('UPDATE notices SET cleared_at = ? WHERE cause = ? AND cleared_at IS NULL');
  const prune = db.prepare(
    `DELETE FROM notices WHERE cleared_at IS NOT NULL
       AND id <= (SELECT id FROM notices ORDER BY id DESC LIMIT 1 OFFSET ${KEPT})`,
  );
  const open = db.prepare<[], NoticeRow>('SELECT * FROM notices WHERE cleared_at IS NULL ORDER BY id');
  const recent = db.prepare<[number], NoticeRow>('SELECT * FROM notices ORDER BY id DESC LIMIT ?');
  const deliveries = db.prepare<[number], DeliveryRow>(
    'SELECT * FROM deliveries WHERE notice = ? ORDER BY channel',
  );
  const one = db.prepare<[number], NoticeRow>('SELECT * FROM notices WHERE id = ?');
  const next = db.prepare<[string], DeliveryRow>(
    'SELECT * FROM deliveries WHERE channel = ? AND next_at IS NOT NULL ORDER BY next_at, notice LIMIT 1',
  );
  const done = db.prepare(
    `UPDATE deliveries SET tries = tries + 1, next_at = NULL, done_at = ?, error = NULL
     WHERE notice = ? AND channel = ?`,
  );
  const failed = db.prepare(
    'UPDATE deliveries SET tries = tries + 1, next_at = ?, error = ? WHERE notice = ? AND channel = ?',
  );
  const whole = (row: NoticeRow): NoticeRecord => noticeOf(row, deliveries.all(row.id));
  return {
    open: () => open.all().map(whole),
    recent: (limit) => recent.all(limit).map(whole),
    begin: (notice, channels) =>
      db
        .transaction(() => {
          const { service = null, hint = null } = notice;
          const id = Number(insert.run({ ...notice, service, hint }).lastInsertRowid);
          for (const channel of channels) queue.run(id, channel, notice.at);
          prune.run();
        })
        .immediate(),
    clear: (cause, at) => void clear.run(at, cause),
    next: (channel) => {
      const row = next.get(channel);
      const notice = row === undefined ? undefined : one.get(row.notice);
      if (row === undefined || notice === undefined) return undefined;
      return { notice: whole(notice), tries: row.tries, nextAt: row.next_at ?? 0 };
    },
    delivered: (notice, channel, at) => void done.run(at, notice, channel),
    failed: (notice, channel, error, nextAt) => void failed.run(nextAt ?? null, error, notice, channel),
  };
}

function noticeOf(row: NoticeRow, sent: readonly DeliveryRow[]): NoticeRecord {
  return {
    ...{ id: row.id, cause: row.cause, kind: row.kind, text: row.text, at: row.at },
    ...(row.service === null ? {} : { service: row.service }),
    ...(row.hint === null ? {} : { hint: row.hint }),
    ...(row.cleared_at === null ? {} : { clearedAt: row.cleared_at }),
    deliveries: sent.map(deliveryOf),
  };
}

function deliveryOf(row: DeliveryRow): DeliveryRecord {
  return {
    channel: row.channel,
    tries: row.tries,
    ...(row.next_at === null ? {} : { nextAt: row.next_at }),
    ...(row.done_at === null ? {} : { doneAt: row.done_at }),
    ...(row.error === null ? {} : { error: row.error }),
  };
}
