import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { LABELS } from '../../src/node/types.ts';
import { stringifyToml } from '../../src/base/toml.ts';
import { runReplay } from '../../src/commands/replay.ts';
import { runSnapshot } from '../../src/commands/snapshot.ts';
import { runHistory, runLogs } from '../../src/commands/told.ts';
import { run } from '../../src/demo/process.ts';
import { openReader } from '../../src/registry/reader.ts';
import type { Message } from '../../src/report/channels.ts';
import type { AgentEvent, HistoryEntry } from '../../src/report/types.ts';
import { makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { command, type Said } from '../support/command.ts';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { buildBusyboxImage } from '../support/images.ts';
import { until } from '../support/until.ts';

const TALKS = 'localhost/mcg-told-test/talks:v1.0.0';
const SECRET = 'told-canary-8812af';

describe('what a running agent tells, on real Docker', () => {
  let docker: TestEngine;
  let rig: AgentRig;
  let config: string;
  let webhook: string;
  let server: Server;
  const received: Message[] = [];

  before(async function () {
    this.timeout(300_000);
    docker = await startDocker();
    await buildBusyboxImage(docker, TALKS);
    rig = await makeAgentRig(docker);
    webhook = join(rig.dir, 'webhook');
    config = join(rig.dir, 'settings.toml');
    await writeFile(
      config,
      stringifyToml({
        node: 'n1',
        source: { urls: [rig.definitions.path] },
        database: { path: join(rig.dir, 'data', 'registry.db') },
      }),
    );
    await mkdir(join(rig.dir, 'snapshots'));
    server = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
      request.on('end', () => {
        received.push(JSON.parse(text) as Message);
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await writeFile(webhook, `http://127.0.0.1:${port}/hook\n`, { mode: 0o600 });
    const script = `echo up; printf 'red \\033[31m %s\\n' "$TOKEN"; exec /bin/busybox sleep 600`;
    await rig.push({
      'services/talks.toml': plainDefinition(
        'talks',
        TALKS,
        `cmd = ["/bin/busybox", "sh", "-c", ${JSON.stringify(script)}]\nenv = ["TOKEN=${SECRET}"]`,
      ),
      'services/silent.toml': plainDefinition('silent', TALKS, 'cmd = ["/bin/busybox", "sleep", "600"]'),
    });
    await rig.start({
      database: {
        path: join(rig.dir, 'data', 'registry.db'),
        snapshot_cron: '*/1 * * * * *',
        snapshot_dir: join(rig.dir, 'snapshots'),
        snapshot_keep: 2,
      },
      deploy: { stable_for_s: 0.2, stop_timeout_s: 1, flapping_exits: 3, flapping_window_s: 60 },
      notify: { webhook_file: webhook },
    });
    await rig.state('talks', 'converged');
    await rig.state('silent', 'converged');
  });
  after(async () => {
    await rig.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const history = (service: string | undefined, more: { json?: boolean; url?: string } = {}): Promise<Said> =>
    command(() => runHistory(service, { config, limit: 50, url: rig.address().dashboard, ...more }));
  const replay = (pass: string, registry?: string): Promise<Said> =>
    command(() =>
      runReplay(pass, { config, format: 'text', ...(registry === undefined ? {} : { registry }) }),
    );
  const logs = (name: string): Promise<Said> =>
    command(() => runLogs(name, { config, tail: 50, url: rig.address().dashboard }));

  it('L35 history: the reason, the commit with its author and what each step left; without a value of a variable', async () => {
    const text = await history('talks');
    const json = await history('talks', { json: true });
    const none = await history('nobody');
    const away = await history(undefined, { url: 'http://127.0.0.1:1' });
    expect(text.out).to.contain('because  new service talks').and.contain('start-container talks: ok');
    const entries = JSON.parse(json.out) as HistoryEntry[];
    const first = entries.find((entry) => entry.why === 'new service talks');
    expect(first?.author).to.be.a('string');
    expect(entries.flatMap((entry) => entry.steps.map((step) => step.kind))).to.include('create-container');
    expect(text.out + json.out).to.not.contain(SECRET);
    expect([text.code, json.code, none.code, away.code]).to.deep.equal([0, 0, 1, 3]);
    expect(none.err).to.contain('nothing was ever done for');
  });

  it('L35 plan --replay: the same plan from the stored inputs, beside the running agent and from a snapshot', async () => {
    const entries = JSON.parse((await history(undefined, { json: true })).out) as HistoryEntry[];
    const pass = String(entries.at(-1)?.pass);
    const file = join(rig.dir, 'copy.db');
    const copied = await command(() => runSnapshot(file, { config }));
    expect([copied.code, copied.out.trim()], copied.err).to.deep.equal([0, file]);
    const again = await command(() => runSnapshot(file, { config }));
    const live = await replay(pass);
    const copy = await replay(pass, file);
    const gone = await replay('99999');
    const nothing = await tell('plan');
    expect(live.out, live.err).to.contain('the same plan');
    expect(copy.out).to.equal(live.out);
    expect([live.code, copy.code, gone.code, again.code, nothing.code]).to.deep.equal([0, 0, 1, 1, 2]);
    expect(again.err).to.contain('exists already');
    const reader = openReader(file, join(rig.dir, 'data'));
    if (reader.kind !== 'ok') throw new Error(reader.why);
    expect(JSON.stringify(reader.value.plan(Number(pass)))).to.not.contain(SECRET);
    reader.value.close();
  });

  it('L21 G53 logs: escapes for control characters, secrets masked; an empty log is said so and is exit code 1', async () => {
    const [talks, silent, nobody] = [await logs('talks'), await logs('silent/silent'), await logs('nobody')];
    expect(talks.out).to.equal('up\nred \\u001b[31m •••\n');
    expect([talks.code, silent.code, nobody.code]).to.deep.equal([0, 1, 1]);
    expect(silent.err).to.contain('is empty').and.contain('json-file');
    // Not to its end: a secret that another test registered may be a part of the name.
    expect(nobody.err).to.contain('no container of a service "');
  });

  it('L21 a log driver that cannot be read back is an error, not an empty log', async () => {
    const facts = await rig.engine.facts();
    const silent = facts.kind === 'ok' && facts.value.containers.find((c) => c.name === 'silent');
    if (silent === false || silent === undefined) throw new Error('no container');
    const name = `mcg-mute-${rig.instance}`;
    // Of another instance, which the running agent does not take away under the test's hands.
    const labels = Object.entries({ ...silent.labels, [LABELS.owner]: 'other/test' }).flatMap(
      ([key, value]) => [...['--label', `${key}=${value}`]],
    );
    const docker_ = ['-H', `unix://${docker.socketPath}`];
    const made = await run('docker', [
      ...docker_,
      'create',
      '--name',
      name,
      '--log-driver',
      'none',
      ...labels,
      TALKS,
    ]);
    try {
      const driver = await rig.engine.logDriver(made.stdout.trim());
      expect(driver).to.include({ kind: 'blocked' });
      expect('why' in driver && driver.why).to.contain('log driver "none"');
    } finally {
      await run('docker', [...docker_, 'rm', '-f', name]);
    }
  });

  it('events --follow: what happened so far, then a container that is gone and made again, as it happens', async () => {
    const { dashboard } = rig.address();
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', 'src/main.ts', 'events', '--follow', '--json', '--url', dashboard],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
    const events = (): AgentEvent[] =>
      out
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as AgentEvent);
    try {
      await until('the past', () => events().some((event) => event.kind === 'commit'), 30_000);
      await run('docker', ['-H', `unix://${docker.socketPath}`, 'rm', '-f', 'silent']);
      const made = await until(
        'the repair',
        () =>
          events().find(
            (event) =>
              event.kind === 'step' &&
              event.text.startsWith('silent: create-container silent because container silent is missing'),
          ),
        30_000,
      );
      expect(made.result).to.equal('ok');
      expect(events().map((event) => event.id)).to.deep.equal(
        [...new Set(events().map((event) => event.id))].sort((a, b) => a - b),
      );
    } finally {
      child.kill('SIGKILL');
      await new Promise((resolve) => child.on('close', resolve));
    }
    await rig.state('silent', 'converged');
    const notice = await until('the notice', () => received.find((one) => one.kind === 'drift repaired'));
    expect(notice).to.include({ service: 'silent', node: 'n1' });
    expect(notice.text).to.contain('container silent is missing');
  });

  it('L13 tells what is found next as well, each once: a limit set by hand, and a container that was renamed', async () => {
    const engine = ['-H', `unix://${docker.socketPath}`];
    const told = (what: string): Message[] =>
      received.filter(({ kind, text }) => kind === 'drift repaired' && text.includes(what));
    await run('docker', [...engine, 'update', '--memory', '64m', '--memory-swap', '64m', 'silent']);
    await until(
      'the limit',
      () => told('container silent was changed by hand: memory limit was added')[0],
      30_000,
    );
    await rig.state('silent', 'converged');
    await run('docker', [...engine, 'rename', 'silent', 'other']);
    const renamed = await until('the name', () => told('was renamed to other')[0], 30_000);
    expect(renamed.text).to.match(/container silent \([0-9a-f]{12}\) was renamed to other/);
    await rig.state('silent', 'converged');
    const { stdout } = await run('docker', [...engine, 'ps', '-a', '--format', '{{.Names}}']);
    expect(stdout.split('\n')).to.include('silent').and.not.include('other');
    expect([told('memory limit').length, told('renamed').length]).to.deep.equal([1, 1]);
  });

  it('G41 a container that exits again and again rests, and is told as flapping on page, command line and by a notice', async () => {
    await rig.push({
      'services/crash.toml': plainDefinition(
        'crash',
        TALKS,
        'cmd = ["/bin/busybox", "sh", "-c", "echo no config >&2; exit 4"]',
      ),
    });
    const crash = await rig.state('crash', 'flapping');
    const ended = /container crash exited \d+ times in 1 min, last with exit code 4/;
    expect(crash.waiting.find((entry) => entry.for === 'flapping')?.why).to.match(ended);
    await until('the rest', async () => {
      const facts = await rig.engine.facts();
      return (
        facts.kind === 'ok' && facts.value.containers.find((one) => one.name === 'crash')?.state === 'exited'
      );
    });
    const notice = await until('the notice', () => received.find((one) => one.kind === 'flapping'));
    expect(notice.text).to.match(ended);
    expect(notice.hint).to.contain('mc-gitops logs crash/crash');
    // Over its rests, which grow.
    const since = crash.waiting.find((entry) => entry.for === 'flapping')?.since;
    const again = await until('another rest', async () => {
      const now = (await rig.view()).services.find(({ name }) => name === 'crash')?.waiting ?? [];
      return now.find((entry) => entry.for === 'flapping' && /rest [2-9]/.test(entry.why));
    });
    expect(again.why).to.match(ended);
    expect(again.since, 'one wait over all its rests').to.equal(since);
    expect((await logs('crash')).out).to.contain('no config');
    expect((await rig.view()).notices.map(({ kind }) => kind)).to.include('flapping');
  });

  it('takes snapshots by its own clock and keeps the newest', async () => {
    await until('two snapshots', async () => {
      const { stdout } = await run('ls', [join(rig.dir, 'snapshots')]);
      return stdout.trim().split('\n').length === 2;
    });
  });

  it('G6 tells a repository that is away once, not with every poll', async () => {
    await run('mv', [rig.definitions.path, `${rig.definitions.path}.away`]);
    const away = (): string[] => rig.lines.filter((line) => /"git: (?!the accepted)/.test(line));
    await until('it to be told', () => away().length > 0, 30_000);
    const at = (await rig.view()).at ?? 0;
    await until('more polls', async () => ((await rig.view()).at ?? 0) > at + 4_500, 30_000);
    expect(away()).to.have.length(1);
    await run('mv', [`${rig.definitions.path}.away`, rig.definitions.path]);
    await until('its end to be told', () => rig.lines.some((line) => line.includes('git: over')), 30_000);
  });
});

/** The program itself, as a shell starts it. */
async function tell(...args: string[]): Promise<{ code: number | null; err: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/main.ts', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let err = '';
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, err };
}
