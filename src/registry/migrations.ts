/** One statement list a version; `PRAGMA user_version` says which ones a database has. Never edited once released: append. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE accepted_files (
    service TEXT PRIMARY KEY, file TEXT NOT NULL, oid TEXT NOT NULL, "commit" TEXT NOT NULL
  ) STRICT;
  CREATE TABLE applied (
    service TEXT PRIMARY KEY, definition TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('running', 'stopped')),
    file TEXT NOT NULL, oid TEXT NOT NULL, digest TEXT NOT NULL, "commit" TEXT NOT NULL, applied_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE leases (
    service TEXT NOT NULL, component TEXT NOT NULL, route TEXT NOT NULL, slot TEXT NOT NULL CHECK (slot IN ('a', 'b')),
    port INTEGER NOT NULL UNIQUE CHECK (port BETWEEN 1 AND 65535),
    PRIMARY KEY (service, component, route, slot)
  ) STRICT;
  CREATE TABLE routes (
    hostname TEXT NOT NULL, port INTEGER NOT NULL, service TEXT NOT NULL, component TEXT NOT NULL, route TEXT NOT NULL,
    PRIMARY KEY (hostname, port)
  ) STRICT;
  CREATE TABLE images (
    reference TEXT PRIMARY KEY, image_id TEXT NOT NULL, manifest_digest TEXT, first_seen_at INTEGER NOT NULL,
    built INTEGER NOT NULL CHECK (built IN (0, 1))
  ) STRICT;
  CREATE TABLE failures (
    service TEXT PRIMARY KEY, digest TEXT NOT NULL, count INTEGER NOT NULL, last_at INTEGER NOT NULL,
    why TEXT NOT NULL, hint TEXT
  ) STRICT;
  CREATE TABLE passes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, started_at INTEGER NOT NULL, ended_at INTEGER,
    "commit" TEXT NOT NULL, trigger_words TEXT NOT NULL
  ) STRICT;
  CREATE TABLE steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT, pass INTEGER NOT NULL REFERENCES passes (id) ON DELETE CASCADE,
    service TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, because TEXT NOT NULL,
    started_at INTEGER NOT NULL, ended_at INTEGER, result TEXT, message TEXT
  ) STRICT;
  CREATE INDEX steps_by_service ON steps (service, id);
  CREATE INDEX steps_by_pass ON steps (pass);
  `,
  `
  ALTER TABLE accepted_files ADD COLUMN prune INTEGER NOT NULL DEFAULT 1 CHECK (prune IN (0, 1));
  CREATE TABLE orphans (service TEXT PRIMARY KEY, "commit" TEXT NOT NULL, seen_at INTEGER NOT NULL) STRICT;
  `,
  `
  CREATE TABLE trials (
    service TEXT PRIMARY KEY, digest TEXT NOT NULL, phase TEXT NOT NULL CHECK (phase IN ('trying', 'returning', 'held back', 'outside')),
    since INTEGER NOT NULL, tries INTEGER NOT NULL, cause TEXT, why TEXT, file TEXT NOT NULL, "commit" TEXT NOT NULL
  ) STRICT;
  ALTER TABLE failures ADD COLUMN cause TEXT;
  ALTER TABLE applied ADD COLUMN slots TEXT;
  `,
  `
  ALTER TABLE steps ADD COLUMN before TEXT;
  ALTER TABLE steps ADD COLUMN after TEXT;
  CREATE TABLE commits (
    oid TEXT PRIMARY KEY, author TEXT NOT NULL, at INTEGER NOT NULL, message TEXT NOT NULL
  ) STRICT;
  CREATE TABLE parts (digest TEXT PRIMARY KEY, refs TEXT NOT NULL, body BLOB NOT NULL) STRICT;
  CREATE TABLE plans (
    pass INTEGER PRIMARY KEY REFERENCES passes (id) ON DELETE CASCADE, version TEXT NOT NULL, key TEXT NOT NULL,
    inputs TEXT NOT NULL, plan TEXT NOT NULL
  ) STRICT;
  CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT, cause TEXT NOT NULL, kind TEXT NOT NULL, service TEXT, text TEXT NOT NULL,
    hint TEXT, at INTEGER NOT NULL, cleared_at INTEGER
  ) STRICT;
  CREATE UNIQUE INDEX open_notices ON notices (cause) WHERE cleared_at IS NULL;
  CREATE TABLE deliveries (
    notice INTEGER NOT NULL REFERENCES notices (id) ON DELETE CASCADE, channel TEXT NOT NULL, tries INTEGER NOT NULL,
    next_at INTEGER, done_at INTEGER, error TEXT, PRIMARY KEY (notice, channel)
  ) STRICT;
  CREATE TABLE flaps (
    service TEXT NOT NULL, component TEXT NOT NULL, spec TEXT NOT NULL, count INTEGER NOT NULL, held_at INTEGER NOT NULL,
    why TEXT NOT NULL, PRIMARY KEY (service, component)
  ) STRICT;
  CREATE TABLE journal_pruning (open INTEGER NOT NULL CHECK (open IN (0, 1))) STRICT;
  INSERT INTO journal_pruning VALUES (0);
  CREATE TRIGGER steps_append_only BEFORE UPDATE ON steps
  WHEN OLD.result IS NOT NULL OR NEW.id <> OLD.id OR NEW.pass <> OLD.pass OR NEW.service <> OLD.service
    OR NEW.kind <> OLD.kind OR NEW.subject <> OLD.subject OR NEW.because <> OLD.because
    OR NEW.started_at <> OLD.started_at OR NEW.before IS NOT OLD.before
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
  CREATE TRIGGER passes_append_only BEFORE UPDATE ON passes
  WHEN OLD.ended_at IS NOT NULL OR NEW.id <> OLD.id OR NEW.started_at <> OLD.started_at
    OR NEW."commit" <> OLD."commit" OR NEW.trigger_words <> OLD.trigger_words
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
  CREATE TRIGGER steps_stay BEFORE DELETE ON steps WHEN (SELECT open FROM journal_pruning) = 0
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only: only its pruning by age and count takes anything away'); END;
  CREATE TRIGGER passes_stay BEFORE DELETE ON passes WHEN (SELECT open FROM journal_pruning) = 0
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only: only its pruning by age and count takes anything away'); END;
  `,
  'ALTER TABLE images ADD COLUMN revision TEXT',
  'ALTER TABLE images ADD COLUMN removed INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1))',
  `
  CREATE TABLE records (hostname TEXT PRIMARY KEY, service TEXT NOT NULL, addresses TEXT NOT NULL) STRICT;
  `,
  `
  ALTER TABLE trials ADD COLUMN resumes INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE routes ADD COLUMN put_at INTEGER;
  `,
  'CREATE TABLE seals (name TEXT PRIMARY KEY, digest TEXT NOT NULL) STRICT',
  'ALTER TABLE trials ADD COLUMN printed TEXT',
  'ALTER TABLE routes ADD COLUMN written TEXT',
  'ALTER TABLE accepted_files ADD COLUMN gone_in TEXT',
  // What was stored before stands there in clear.
  `
  DELETE FROM plans;
  DELETE FROM parts;
  ALTER TABLE parts ADD COLUMN vault TEXT;
  `,
];
