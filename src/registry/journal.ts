import type Database from 'better-sqlite3';
import { partsOn } from './parts.ts';
import type { Vault } from './vault.ts';
import type { Because, CommitRecord, PassRecord, StepRecord, StoredPlan } from './types.ts';

export interface NewPass {
  readonly trigger: string;
  readonly commit: string;
  readonly startedAt: number;
  /** What the history tells of the commit. */
  readonly about?: CommitRecord;
}

export type NewStep = Pick<StepRecord, 'service' | 'kind' | 'subject' | 'because' | 'startedAt' | 'before'>;

export interface StepEnd {
  readonly result: NonNullable<StepRecord['result']>;
  readonly message?: string;
  readonly after?: unknown;
  readonly endedAt: number;
}

export interface NewPlan extends Omit<StoredPlan, 'pass'> {
  /** Equal keys: nothing changed that is worth to be stored again. */
  readonly key: string;
}

/** How much of the past is kept: whatever is over one of them goes. */
export interface JournalLimits {
  readonly maxAgeMs: number;
  /** Passes that did something. */
  readonly maxPasses: number;
  /** Passes whose inputs and plan are kept too. */
  readonly maxPlans: number;
}

/** The journal: intent before the act, result after it. Append-only but for its pruning by age and count; triggers hold it. */
export interface Journal {
  beginPass(pass: NewPass): number;
  endPass(pass: number, endedAt: number): void;
  intend(pass: number, step: NewStep): number;
  conclude(step: number, end: StepEnd): void;
  storePlan(pass: number, plan: NewPlan): void;
  /** Of the plan that was stored last. */
  planKey(): string | undefined;
  plan(pass: number): StoredPlan | undefined;
  /** The newest passes that did something. */
  passes(limit: number): PassRecord[];
  pass(id: number): PassRecord | undefined;
  /** The newest passes that did something for a service, with its steps only. */
  changes(service: string, limit: number): PassRecord[];
  history(service: string, limit: number): StepRecord[];
  /** Remembers what commits are: for the steps that name them, whatever becomes of the repository. */
  tell(commits: readonly CommitRecord[]): void;
  /** Those of which nothing is told yet. */
  untold(oids: readonly string[]): string[];
  prune(limits: JournalLimits & { readonly now: number }): void;
  /** Steps that a dead agent left open. */
  interrupt(at: number): number;
}

interface PassRow {
  readonly id: number;
  readonly started_at: number;
  readonly ended_at: number | null;
  readonly commit: string;
  readonly trigger_words: string;
  readonly author: string | null;
  readonly message: string | null;
  readonly planned: number | null;
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
  readonly before: string | null;
  readonly after: string | null;
}

interface PlanRow {
  readonly pass: number;
  readonly version: string;
  readonly inputs: string;
  readonly plan: string;
}

export function journalOn(db: Database.Database, vault?: Vault): Journal {
  return { ...writingOn(db, vault), ...readingOn(db, vault) };
}

type Reading = Pick<Journal, 'planKey' | 'plan' | 'passes' | 'pass' | 'changes' | 'history' | 'untold'>;

/** The reading half, which a program beside the agent may use too. */
export function readingOn(db: Database.Database, vault?: Vault): Reading {
  const parts = partsOn(db, vault);
  const select = `SELECT passes.*, commits.author, commits.message, plans.pass AS planned FROM passes
    LEFT JOIN commits ON commits.oid = passes."commit" LEFT JOIN plans ON plans.pass = passes.id`;
  const lastPasses = db.prepare<[number], PassRow>(
    `${select} WHERE EXISTS (SELECT 1 FROM steps WHERE steps.pass = passes.id) ORDER BY passes.id DESC LIMIT ?`,
  );
  const onePass = db.prepare<[number], PassRow>(`${select} WHERE passes.id = ?`);
  const passesOf = db.prepare<[string, number], PassRow>(
    `${select} WHERE passes.id IN (SELECT DISTINCT pass FROM steps WHERE service = ? ORDER BY pass DESC LIMIT ?)
     ORDER BY passes.id DESC`,
  );
  const stepRows = db.prepare<[number], StepRow>('SELECT * FROM steps WHERE pass = ? ORDER BY id');
  const stepsFor = db.prepare<[string, number], StepRow>(
    'SELECT * FROM steps WHERE service = ? ORDER BY id DESC LIMIT ?',
  );
  const key = db.prepare<[], { key: string }>('SELECT key FROM plans ORDER BY pass DESC LIMIT 1');
  const onePlan = db.prepare<[number], PlanRow>('SELECT * FROM plans WHERE pass = ?');
  const told = db.prepare<[string], CommitRecord>(
    'SELECT oid, author, at, message FROM commits WHERE oid = ?',
  );
  const stepOf = (row: StepRow): StepRecord => withCommit(plainStepOf(row), (oid) => told.get(oid));
  const stepsOf = (pass: number): StepRecord[] => stepRows.all(pass).map(stepOf);
  return {
    planKey: () => key.get()?.key,
    plan: (pass) => {
      const row = onePlan.get(pass);
      if (row === undefined) return undefined;
      return { pass, version: row.version, inputs: parts.get(row.inputs), plan: parts.get(row.plan) };
    },
    passes: (limit) => lastPasses.all(limit).map((row) => passOf(row, stepsOf(row.id))),
    pass: (id) => {
      const row = onePass.get(id);
      return row === undefined ? undefined : passOf(row, stepsOf(id));
    },
    changes: (service, limit) =>
      passesOf.all(service, limit).map((row) =>
        passOf(
          row,
          stepsOf(row.id).filter((step) => step.service === service),
        ),
      ),
    history: (service, limit) => stepsFor.all(service, limit).map(stepOf),
    untold: (oids) => oids.filter((oid) => told.get(oid) === undefined),
  };
}

function writingOn(db: Database.Database, vault: Vault | undefined): Omit<Journal, keyof Reading> {
  const parts = partsOn(db, vault);
  const insertPass = db.prepare('INSERT INTO passes (started_at, "commit", trigger_words) VALUES (?, ?, ?)');
  const insertCommit = db.prepare(
    'INSERT INTO commits (oid, author, at, message) VALUES (@oid, @author, @at, @message) ON CONFLICT DO NOTHING',
  );
  const closePass = db.prepare('UPDATE passes SET ended_at = ? WHERE id = ?');
  const insertStep = db.prepare(
    'INSERT INTO steps (pass, service, kind, subject, because, started_at, before) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const closeStep = db.prepare(
    'UPDATE steps SET ended_at = ?, result = ?, message = ?, after = ? WHERE id = ?',
  );
  const insertPlan = db.prepare(
    'INSERT INTO plans (pass, version, key, inputs, plan) VALUES (?, ?, ?, ?, ?)',
  );
  const markOpen = db.prepare("UPDATE steps SET result = 'interrupted', message = ? WHERE result IS NULL");
  const markPasses = db.prepare('UPDATE passes SET ended_at = ? WHERE ended_at IS NULL');
  const prune = pruningOn(db, () => parts.sweep());
  return {
    beginPass: ({ trigger, commit, startedAt, about }) =>
      db
        .transaction(() => {
          if (about !== undefined) insertCommit.run(about);
          return Number(insertPass.run(startedAt, commit, trigger).lastInsertRowid);
        })
        .immediate(),
    endPass: (pass, endedAt) => void closePass.run(endedAt, pass),
    intend: (pass, { service, kind, subject, because, startedAt, before }) =>
      Number(
        insertStep.run(pass, service, kind, subject, JSON.stringify(because), startedAt, textOf(before))
          .lastInsertRowid,
      ),
    conclude: (step, { result, message, after, endedAt }) =>
      void closeStep.run(endedAt, result, message ?? null, textOf(after), step),
    storePlan: (pass, { version, key, inputs, plan }) =>
      db
        .transaction(() => {
          insertPlan.run(pass, version, key, parts.put(inputs), parts.put(plan));
        })
        .immediate(),
    tell: (commits) => commits.forEach((commit) => void insertCommit.run(commit)),
    prune,
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

/** By age and count, each row by its own time: a clock that was wrong for a while does not cost the rest. */
function pruningOn(db: Database.Database, sweep: () => void): Journal['prune'] {
  const open = db.prepare('UPDATE journal_pruning SET open = ?');
  const plans = db.prepare(
    'DELETE FROM plans WHERE pass <= (SELECT pass FROM plans ORDER BY pass DESC LIMIT 1 OFFSET ?)',
  );
  const old = db.prepare('DELETE FROM passes WHERE ended_at IS NOT NULL AND started_at < ?');
  const many = db.prepare(
    `DELETE FROM passes WHERE ended_at IS NOT NULL AND id <= (
       SELECT id FROM passes WHERE EXISTS (SELECT 1 FROM steps WHERE steps.pass = passes.id)
       ORDER BY id DESC LIMIT 1 OFFSET ?)`,
  );
  const empty = db.prepare(
    `DELETE FROM passes WHERE ended_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.pass = passes.id)
       AND NOT EXISTS (SELECT 1 FROM plans WHERE plans.pass = passes.id)`,
  );
  // What a step that is still there names, or one may name that is yet to come, is kept.
  const commits = db.prepare(
    `DELETE FROM commits WHERE oid NOT IN (
       SELECT "commit" FROM passes
       UNION SELECT json_extract(because, '$.commit') FROM steps WHERE json_valid(because) AND json_extract(because, '$.commit') IS NOT NULL
       UNION SELECT "commit" FROM accepted_files UNION SELECT gone_in FROM accepted_files WHERE gone_in IS NOT NULL
       UNION SELECT "commit" FROM trials)`,
  );
  return ({ maxAgeMs, maxPasses, maxPlans, now }) =>
    db
      .transaction(() => {
        open.run(1);
        const gone = [old.run(now - maxAgeMs), many.run(maxPasses), plans.run(maxPlans), empty.run()];
        open.run(0);
        if (gone.every(({ changes }) => changes === 0)) return;
        commits.run();
        sweep();
      })
      .immediate();
}

function textOf(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}

function passOf(row: PassRow, steps: readonly StepRecord[]): PassRecord {
  return {
    id: row.id,
    startedAt: row.started_at,
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at }),
    commit: row.commit,
    ...(row.author === null ? {} : { author: row.author }),
    ...(row.message === null ? {} : { message: row.message }),
    ...(row.planned === null ? {} : { replay: true }),
    trigger: row.trigger_words,
    steps,
  };
}

function plainStepOf(row: StepRow): StepRecord {
  return {
    id: row.id,
    pass: row.pass,
    service: row.service,
    kind: row.kind,
    subject: row.subject,
    because: (read(row.because) as Because | undefined) ?? {
      summary: 'what stood here cannot be read any more',
    },
    startedAt: row.started_at,
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at }),
    ...(row.result === null ? {} : { result: row.result as StepEnd['result'] }),
    ...(row.message === null ? {} : { message: row.message }),
    ...given('before', row.before),
    ...given('after', row.after),
  };
}

function withCommit(step: StepRecord, told: (oid: string) => CommitRecord | undefined): StepRecord {
  const { commit } = step.because;
  const about = commit === undefined ? undefined : told(commit);
  return about === undefined ? step : { ...step, about };
}

/** Undefined when it is damaged: one row of history must not hide all others. */
function read(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return undefined;
  }
}

function given<K extends string>(name: K, json: string | null): { readonly [name in K]?: unknown } {
  const value = json === null ? undefined : read(json);
  return (value === undefined ? {} : { [name]: value }) as { readonly [name in K]?: unknown };
}
