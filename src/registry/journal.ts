import type Database from 'better-sqlite3';
import type { Because, PassRecord, StepRecord } from './types.ts';

export interface NewPass {
  readonly trigger: string;
  readonly commit: string;
  readonly startedAt: number;
}

export type NewStep = Pick<StepRecord, 'service' | 'kind' | 'subject' | 'because' | 'startedAt'>;

export interface StepEnd {
  readonly result: NonNullable<StepRecord['result']>;
  readonly message?: string;
  readonly endedAt: number;
}

/** The journal: intent before the act, result after it. Append-only but for its pruning by age and count. */
export interface Journal {
  beginPass(pass: NewPass): number;
  endPass(pass: number, endedAt: number): void;
  intend(pass: number, step: NewStep): number;
  conclude(step: number, end: StepEnd): void;
  passes(limit: number): PassRecord[];
  history(service: string, limit: number): StepRecord[];
  prune(limits: { maxAgeMs: number; maxPasses: number; now: number }): void;
  /** Steps that a dead agent left open. */
  interrupt(at: number): number;
}

interface PassRow {
  readonly id: number;
  readonly started_at: number;
  readonly ended_at: number | null;
  readonly commit: string;
  readonly trigger_words: string;
}

interface StepRow {
  readonly id: number;
  readonly pass: number;
  readonly service: string;
  readonly kind: string;
  readonly subject: string;
  readonly because: string;
  readonly started_at: number;
  readonly ended_at: number | null;
  readonly result: string | null;
  readonly message: string | null;
}

export function journalOn(db: Database.Database): Journal {
  const insertPass = db.prepare('INSERT INTO passes (started_at, "commit", trigger_words) VALUES (?, ?, ?)');
  const closePass = db.prepare('UPDATE passes SET ended_at = ? WHERE id = ?');
  const insertStep = db.prepare(
    'INSERT INTO steps (pass, service, kind, subject, because, started_at) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const closeStep = db.prepare('UPDATE steps SET ended_at = ?, result = ?, message = ? WHERE id = ?');
  const lastPasses = db.prepare<[number], PassRow>('SELECT * FROM passes ORDER BY id DESC LIMIT ?');
  const stepsOf = db.prepare<[number], StepRow>('SELECT * FROM steps WHERE pass = ? ORDER BY id');
  const stepsFor = db.prepare<[string, number], StepRow>(
    'SELECT * FROM steps WHERE service = ? ORDER BY id DESC LIMIT ?',
  );
  const deleteOld = db.prepare(
    'DELETE FROM passes WHERE ended_at IS NOT NULL AND (started_at < ? OR id <= (SELECT COALESCE(MAX(id), 0) FROM passes) - ?)',
  );
  const markOpen = db.prepare("UPDATE steps SET result = 'interrupted', message = ? WHERE result IS NULL");
  const markPasses = db.prepare('UPDATE passes SET ended_at = ? WHERE ended_at IS NULL');
  return {
    beginPass: ({ trigger, commit, startedAt }) =>
      Number(insertPass.run(startedAt, commit, trigger).lastInsertRowid),
    endPass: (pass, endedAt) => void closePass.run(endedAt, pass),
    intend: (pass, step) =>
      Number(
        insertStep.run(
          pass,
          step.service,
          step.kind,
          step.subject,
          JSON.stringify(step.because),
          step.startedAt,
        ).lastInsertRowid,
      ),
    conclude: (step, { result, message, endedAt }) =>
      void closeStep.run(endedAt, result, message ?? null, step),
    passes: (limit) => lastPasses.all(limit).map((row) => passOf(row, stepsOf.all(row.id))),
    history: (service, limit) => stepsFor.all(service, limit).map(stepOf),
    prune: ({ maxAgeMs, maxPasses, now }) => void deleteOld.run(now - maxAgeMs, maxPasses),
    interrupt: (at) =>
      db
        .transaction(() => {
          markPasses.run(at);
          return markOpen.run('the agent ended in the middle of this step; the next pass looked again')
            .changes;
        })
        .immediate(),
  };
}

function passOf(row: PassRow, steps: readonly StepRow[]): PassRecord {
  return {
    id: row.id,
    startedAt: row.started_at,
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at }),
    commit: row.commit,
    trigger: row.trigger_words,
    steps: steps.map(stepOf),
  };
}

function stepOf(row: StepRow): StepRecord {
  return {
    id: row.id,
    pass: row.pass,
    service: row.service,
    kind: row.kind,
    subject: row.subject,
    because: JSON.parse(row.because) as Because,
    startedAt: row.started_at,
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at }),
    ...(row.result === null ? {} : { result: row.result as StepEnd['result'] }),
    ...(row.message === null ? {} : { message: row.message }),
  };
}
