// mocha's spec reporter, which also tells each failure and keeps the counts (in the file that TEST_COUNTS_FILE names) after
// each test: a run that is cut off still has them. At the end it tells how long each file took.
const console = require('node:console');
const { writeFileSync } = require('node:fs');
const { join, relative, sep } = require('node:path');
const { performance } = require('node:perf_hooks');
const process = require('node:process');
const { setTimeout } = require('node:timers');
const { reporters } = require('mocha');

const PATIENCE_MS = 20_000;
const SHOWN_FILES = 25;

class Counting extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const counts = { passed: 0, failed: 0, ended: false, table: [], failures: [] };
    const keep = () => writeFileSync(process.env.TEST_COUNTS_FILE, JSON.stringify(counts));
    keep();
    const kinds = new Map();
    runner.on('pass', (test) => {
      counts.passed += 1;
      count(kinds, kindOf(test.file), { fired: 1, unit: 'tests', ms: test.duration ?? 0 });
      keep();
    });
    runner.on('fail', (test, error) => {
      counts.failed += 1;
      const said = indented(`${test.fullTitle()}\n${error?.stack ?? error}`);
      counts.failures.push(said);
      keep();
      console.log(said);
    });
    const times = new Times(runner);
    runner.on('end', () => {
      counts.ended = true;
      // What tests say of themselves: see test/support/tally.ts.
      for (const { kind, ...line } of globalThis[Symbol.for('mc-gitops.tally')] ?? [])
        count(kinds, kind, line);
      counts.table = [...kinds].map(([kind, line]) => ({ kind, ...line }));
      keep();
      times.tell();
      // Tests stop what they start: something that keeps the process alive is a failure with a name.
      const timer = setTimeout(() => {
        counts.failed += 1;
        keep();
        process.stderr.write(`the tests ended, but these keep the process alive: ${holding()}\n`);
        process.exit(1);
      }, PATIENCE_MS);
      timer.unref();
    });
  }
}

/** The folder of a test is its kind: `unit`, `component`, `contract`, `simulation`, `house`. */
function kindOf(file) {
  return `${relative(join(process.cwd(), 'test'), file ?? '').split(sep)[0]} tests`;
}

function count(kinds, kind, { fired, unit, ms }) {
  const before = kinds.get(kind) ?? { fired: 0, unit, ms: 0 };
  kinds.set(kind, { fired: before.fired + fired, unit, ms: before.ms + ms });
}

/** How long each test file took, hooks too: what makes the whole slow has a name. */
class Times {
  #took = new Map();
  #file = '';
  #since = performance.now();

  constructor(runner) {
    runner.on('suite', (suite) => this.#now(suite.file));
    runner.on('suite end', (suite) => this.#now(suite.file));
    runner.on('end', () => this.#now(''));
  }

  #now(file = '') {
    const now = performance.now();
    this.#took.set(this.#file, (this.#took.get(this.#file) ?? 0) + now - this.#since);
    this.#file = file;
    this.#since = now;
  }

  tell() {
    const slow = [...this.#took].sort(([, a], [, b]) => b - a).filter(([file]) => file !== '');
    for (const [file, ms] of slow.slice(0, SHOWN_FILES)) {
      console.log(`${(ms / 1000).toFixed(1).padStart(8)} s  ${relative(process.cwd(), file)}`);
    }
  }
}

/** Sockets and servers by their address: only the undocumented list of handles has it. */
function holding() {
  const handles = process._getActiveHandles?.() ?? [];
  const named = handles.map((handle) => {
    const port = handle.remotePort ?? handle.address?.()?.port ?? '';
    const from = handle.localPort === undefined ? '' : ` from ${handle.localPort}`;
    return `${handle.constructor.name} ${handle.remoteAddress ?? ''}:${port}${from}`;
  });
  return [...process.getActiveResourcesInfo(), ...named].join(', ');
}

function indented(text) {
  return text.replaceAll(/^/gm, '      | ');
}

module.exports = Counting;
