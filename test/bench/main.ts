import { execFile } from 'node:child_process';
import { cpus, loadavg, totalmem } from 'node:os';
import { parseArgs, promisify } from 'node:util';
import { openBench, type Bench, type Measure } from './bench.ts';
import { measureContext, runContext } from './context.ts';
import { measureDefinitions, runDefinitions } from './definitions.ts';
import { measureConverge, measureMemory, measurePass } from './fleet.ts';
import { measureKnown } from './known.ts';
import { measurePoll } from './poll.ts';
import { measureProxy, runBackend, runLoad } from './proxy.ts';
import { measureBuild, measurePush } from './push.ts';
import { measureQuietPass, runFakeEngine, runQuiet } from './quiet.ts';
import { formatTable, summaryOf, type Row } from './table.ts';
import { measureWorldMemory, measureWorldPass, runWorld } from './world.ts';

const BENCHES: Readonly<Record<string, readonly Measure[]>> = {
  push: [measurePush],
  build: [measureBuild],
  context: [measureContext],
  known: [measureKnown],
  pass: [measurePass, measureWorldPass],
  quiet: [measureQuietPass],
  memory: [measureMemory, measureWorldMemory],
  poll: [measurePoll],
  proxy: [measureProxy],
  converge: [measureConverge],
  definitions: [measureDefinitions],
};

/** What runs in processes of its own. Each answers with one message. */
const CHILDREN: Readonly<Record<string, (input: never) => Promise<unknown>>> = {
  world: runWorld,
  fakeengine: runFakeEngine,
  quiet: runQuiet,
  definitions: runDefinitions,
  context: runContext,
  backend: runBackend,
  load: runLoad,
};

const USAGE = `usage: npm run bench -- [--json] [--only NAME]   (NAME: ${Object.keys(BENCHES).join(', ')})`;

await main();

/** Exit code 1 when something could not be measured, 2 for a wrong command line; a number is never an error. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { json: { type: 'boolean' }, only: { type: 'string' }, child: { type: 'string' } },
  });
  if (values.child !== undefined) {
    await runChild(values.child);
    return;
  }
  const names = values.only === undefined ? Object.keys(BENCHES) : [values.only];
  if (names.some((name) => !(name in BENCHES))) {
    process.stderr.write(`${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  const { bench, end } = openBench();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void end().finally(() => process.exit(1)));
  }
  const header = await headerOf(bench);
  const others = await countOthers(bench);
  const rows: Row[] = [];
  for (const name of names) {
    bench.say(name);
    try {
      for (const measure of BENCHES[name] ?? []) rows.push(...(await measure(bench)));
    } catch (error) {
      process.exitCode = 1;
      bench.say(`${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
  }
  bench.say('tidying up');
  await end();
  const after = { 'load after': loadNow(), 'engine events of others': String(others()) };
  if (values.json === true) {
    process.stdout.write(
      `${JSON.stringify({ ...header, ...after, rows: rows.map((row) => ({ ...summaryOf(row), values: row.values })) }, undefined, 2)}\n`,
    );
  } else {
    const lines = Object.entries({ ...header, ...after }).map(([key, value]) => `${key}: ${value}`);
    process.stdout.write(`${lines.join('\n')}\n\n${formatTable(rows)}\n`);
  }
  // Sockets of libraries that are kept open must not keep the process.
  process.exit();
}

/** Goes on after its answer when it listens, until it is told to end or whoever started it is gone. */
async function runChild(name: string): Promise<void> {
  process.once('disconnect', () => process.exit());
  const input = await new Promise<never>((resolve) => {
    process.once('message', (message: { input: never }) => resolve(message.input));
  });
  const answer = await CHILDREN[name]?.(input);
  process.send?.(answer);
}

async function headerOf(bench: Bench): Promise<Record<string, string>> {
  const { engine } = await bench.docker();
  const commit = await promisify(execFile)('git', ['describe', '--always', '--dirty']).then(
    ({ stdout }) => stdout.trim(),
    () => 'unknown',
  );
  const gib = (totalmem() / 2 ** 30).toFixed(0);
  return {
    when: new Date().toISOString(),
    commit,
    machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? '?'}, ${gib} GiB, Node ${process.versions.node}, ${engine.kind} ${engine.version}`,
    'load before': loadNow(),
  };
}

/** Whatever others do on the same engine wakes the agent too: a run with many such events says less. */
async function countOthers(bench: Bench): Promise<() => number> {
  const { api } = await bench.docker();
  let count = 0;
  const stream = await api.getEvents({ filters: { type: ['container'] } });
  bench.onEnd(() => (stream as NodeJS.ReadableStream & { destroy(): void }).destroy());
  stream.on('error', () => undefined);
  stream.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString('utf8').split('\n')) {
      const image = /"image":"([^"]*)"/.exec(line)?.[1];
      // The containers of a build have an image without a name.
      if (image?.includes('/') === true && !image.includes(bench.unique)) count += 1;
    }
  });
  return () => count;
}

function loadNow(): string {
  return loadavg()
    .map((value) => value.toFixed(1))
    .join(' ');
}
