// Loaded before the agent by the tests that kill it (`--require`): the program itself has no such thing.
// KILL_AT is `<boundary> <kind of step>`, for example `after-intent create-container`; KILL_NTH counts from 1.
'use strict';
const { isMainThread } = require('node:worker_threads');
/* global process */

const [boundary = '', kind = ''] = (process.env.KILL_AT ?? '').split(' ');
if (isMainThread && kind !== '') hook(require('better-sqlite3'), Number(process.env.KILL_NTH ?? '1'));

function hook(Database, nth) {
  const kinds = new Map();
  let met = 0;
  const killAt = (here, found) => {
    if (found !== kind || here !== boundary || met < nth) return;
    process.kill(process.pid, 'SIGKILL');
    // The signal is for the whole process; nothing may be written in the moment until it comes.
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  };
  const { prepare } = Database.prototype;
  Database.prototype.prepare = function (sql) {
    const statement = prepare.call(this, sql);
    const isIntent = sql.trimStart().startsWith('INSERT INTO steps ');
    const isResult = sql.trimStart().startsWith('UPDATE steps SET ended_at = ?, result = ?');
    if (!isIntent && !isResult) return statement;
    const run = statement.run.bind(statement);
    statement.run = (...args) => {
      const found = isIntent ? args[2] : kinds.get(args.at(-1));
      if (isIntent && found === kind) met += 1;
      killAt(isIntent ? 'before-intent' : 'before-result', found);
      const done = run(...args);
      if (isIntent) kinds.set(Number(done.lastInsertRowid), found);
      killAt(isIntent ? 'after-intent' : 'after-result', found);
      return done;
    };
    return statement;
  };
}
