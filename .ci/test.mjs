// Runs all tests, as `npm test` and CI do: those that need no component beside those that do, which mostly wait for engines.
// These are two halves; one of them has a network namespace of its own, so that their engines never meet.
// With arguments they are mocha's own: npm test -- test/unit/plan/plan.test.ts
// The counts of each run are in the folder that TEST_COUNTS_DIR names, or in one of its own.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const own = process.env.TEST_COUNTS_DIR === undefined;
const counts = own ? mkdtempSync(join(tmpdir(), 'mc-gitops-tests-')) : process.env.TEST_COUNTS_DIR;
const given = process.argv.slice(2);
const NAMESPACE = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
const runs =
  given.length > 0
    ? [mocha('tests', ['--config', '.config/mocharc.given.json', ...given], 'inherit')]
    : [...componentRuns(), mocha('unit', ['--config', '.config/mocharc.own.json'], 'pipe')];

const codes = await Promise.all(runs);
let passed = 0;
let failed = 0;
const table = [];
const failures = [];
for (const { name, code } of codes) {
  const count = read(join(counts, `${name}.json`));
  passed += count.passed;
  failed += count.failed;
  table.push(...(count.table ?? []));
  failures.push(...(count.failures ?? []));
  if (!count.ended) {
    console.log(`== ${name}: the tests did not come to their end (exit code ${code})`);
    failed += 1;
  } else if (code !== 0 && count.failed === 0) {
    console.log(`== ${name}: mocha ended with ${code} although no test failed`);
    failed += 1;
  }
}
tell(table);
// Once more, last: thousands of lines stand between a failure and the end, and who reads a log reads its end.
for (const said of failures) console.log(`\nFAILED\n${said}`);
if (own) rmSync(counts, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/** One line a kind of test: what fired or ran in it, and how long that took. */
function tell(lines) {
  const sums = new Map();
  for (const { kind, fired, unit, ms } of lines) {
    const before = sums.get(kind) ?? { fired: 0, ms: 0 };
    sums.set(kind, { fired: before.fired + fired, unit, ms: before.ms + ms });
  }
  console.log(`\n${'kind of test'.padEnd(46)}${'what fired or ran'.padStart(22)}${'time'.padStart(10)}`);
  for (const [kind, { fired, unit, ms }] of sums) {
    const time = ms === 0 ? '' : `${(ms / 1000).toFixed(1)} s`;
    console.log(`${kind.padEnd(46)}${`${fired} ${unit}`.padStart(22)}${time.padStart(10)}`);
  }
}

/** Beside each other where a namespace may be made, else one after the other. */
function componentRuns() {
  const together = ['--config', '.config/mocharc.components.json'];
  const apart = ['--config', '.config/mocharc.apart.json'];
  const { status } = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore' });
  if (status === 0)
    return [mocha('components', together, 'inherit'), mocha('components apart', apart, 'pipe', NAMESPACE)];
  const first = mocha('components', together, 'inherit');
  return [first, first.then(() => mocha('components apart', apart, 'inherit'))];
}

/** One run of mocha. What it says is shown at once, or as a whole when it has ended: two at once would be read by nobody. */
function mocha(name, args, output, within = []) {
  const [program, ...rest] = [
    ...within,
    process.execPath,
    ...[join('node_modules', 'mocha', 'bin', 'mocha.js'), '--reporter', '.ci/reporter.cjs', ...args],
  ];
  const child = spawn(program, rest, {
    cwd: root,
    env: { ...process.env, TEST_COUNTS_FILE: join(counts, `${name}.json`) },
    stdio: ['ignore', output, output === 'pipe' ? 'pipe' : 'inherit'],
  });
  const said = [];
  child.stdout?.on('data', (bytes) => said.push(bytes));
  child.stderr?.on('data', (bytes) => said.push(bytes));
  const show = () => process.stdout.write(said.splice(0).map(String).join(''));
  process.once('SIGTERM', () => {
    show();
    child.kill('SIGTERM');
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      show();
      resolve({ name, code: code ?? signal });
    });
  });
}

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return { passed: 0, failed: 0, ended: false };
  }
}
