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
];
