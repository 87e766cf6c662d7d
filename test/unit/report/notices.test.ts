import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { systemClock, type Clock } from '../../../src/base/clock.ts';
import { closeHttp } from '../../../src/base/http.ts';
import { makeLog } from '../../../src/base/log.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import { type Cause } from '../../../src/report/causes.ts';
import { openChannels, type ChannelSettings } from '../../../src/report/channels.ts';
import { openNotifier, type Notifier } from '../../../src/report/notifier.ts';
import type { NewEvent } from '../../../src/report/told.ts';
import { until } from '../../support/until.ts';

const CAUSE: Cause = {
  key: 'held back web',
  kind: 'held back',
  service: 'web',
  text: 'web is held back',
  afterMs: 0,
};

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Record<string, unknown>;
}

describe('notices', () => {
  let dir: string;
  let registry: Registry;
  let server: Server;
  let received: Received[];
  /** How the server answers: a status, or not at all. */
  let answer: number | 'hang';
  let lines: string[];
  let events: NewEvent[];
  let aheadMs: number;
  const notifiers: Notifier[] = [];
  const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs };

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'mcg-notices-'));
    [received, lines, events, answer, aheadMs] = [[], [], [], 200, 0];
    registry = open();
    server = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
      request.on('end', () => {
        const body = JSON.parse(text) as Record<string, unknown>;
        received.push({ path: request.url ?? '', headers: request.headers, body });
        if (answer !== 'hang') response.writeHead(answer).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    await Promise.all(notifiers.splice(0).map((notifier) => notifier.stop()));
    await closeHttp();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    registry.close();
    rmSync(dir, { recursive: true });
  });

  const open = (): Registry => {
    const opened = openRegistry({ path: join(dir, 'registry.db'), clock, log: makeLog('silent') });
    if (opened.kind !== 'ok') throw new Error(opened.why);
    return opened.value;
  };
  const secretFile = (name: string, path: string, ...headers: string[]): string => {
    const file = join(dir, name);
    const { port } = server.address() as AddressInfo;
    writeFileSync(file, [`http://127.0.0.1:${port}${path}`, ...headers, ''].join('\n'), { mode: 0o600 });
    return file;
  };
  const notify = (settings: Partial<ChannelSettings>): Notifier => {
    const notifier = openNotifier({
      store: () => registry.notices,
      channels: openChannels({ timeoutMs: 2_000, ...settings }),
      ...{ node: 'n1', owner: 'n1/main', clock, firstWaitMs: 20 },
      log: makeLog('info', { write: (line: string) => void lines.push(line) }),
      feed: { add: (event) => void events.push(event) },
    });
    notifiers.push(notifier);
    return notifier;
  };

  it('a webhook gets one JSON object a cause until it clears, also over a restart of the agent', async () => {
    const token = randomBytes(9).toString('hex');
    const webhookFile = secretFile('webhook', `/hook/${token}`, `Authorization: Bearer ${token}`);
    const first = notify({ webhookFile });
    for (let i = 0; i < 5; i += 1) first.look([CAUSE]);
    await until('the notice', () => received.length > 0);
    expect(received[0]?.body).to.include({ kind: 'held back', node: 'n1', service: 'web', text: CAUSE.text });
    expect(received[0]?.headers.authorization).to.equal(`Bearer ${token}`);
    await until('it to be remembered', () => registry.notices.open()[0]?.deliveries[0]?.doneAt);
    await first.stop();
    registry.close();
    registry = open();

    const second = notify({ webhookFile });
    second.look([CAUSE]);
    expect(registry.notices.recent(9)).to.have.length(1);
    second.look([]);
    expect(registry.notices.open()).to.deep.equal([]);
    second.look([CAUSE]);
    await until('the second notice', () => received.length > 1);
    expect(received).to.have.length(2);
    expect(lines.join('') + JSON.stringify(events)).to.not.contain(token);
  });

  it('ntfy gets its topic, a title and the text with what to do', async () => {
    const notifier = notify({ ntfyFile: secretFile('ntfy', '/alerts-of-n1') });
    notifier.look([{ ...CAUSE, hint: 'Mend line 3.' }]);
    await until('the notice', () => received.length > 0);
    expect([received[0]?.path, received[0]?.body]).to.deep.equal([
      '/',
      {
        ...{ topic: 'alerts-of-n1', title: 'n1: held back', tags: ['held-back'] },
        message: 'web is held back\n→ Mend line 3.',
      },
    ]);
  });

  it('a program gets it as JSON on its standard input, with a fixed PATH and HOME and nothing of the agent’s environment', async () => {
    const out = join(dir, 'out');
    const program = join(dir, 'tell');
    writeFileSync(program, '#!/bin/sh\n{ cat; env; echo "arg $1"; } > "$2"\n', { mode: 0o700 });
    process.env['MCG_CANARY'] = 'canary-env';
    try {
      const hostile = { ...CAUSE, text: '$(touch /tmp/owned) `id` \u001b[2J' };
      notify({ command: [program, 'a b; c', out] }).look([hostile]);
      await until('it to be remembered', () => registry.notices.open()[0]?.deliveries[0]?.doneAt);
    } finally {
      delete process.env['MCG_CANARY'];
    }
    const [json = '', ...rest] = readFileSync(out, 'utf8').split('\n');
    expect((JSON.parse(json) as { text: string }).text).to.equal('$(touch /tmp/owned) `id` \\u001b[2J');
    expect(rest).to.include('HOME=/').and.include('arg a b; c');
    expect(rest.join('\n'))
      .to.match(/^PATH=\/usr\/local\/sbin:/m)
      .and.not.contain('canary-env');
  });

  it('L41 a channel that fails is tried again with growing waits, and the others are not delayed by it', async () => {
    answer = 503;
    const program = join(dir, 'tell');
    writeFileSync(program, '#!/bin/sh\nexec cat\n', { mode: 0o700 });
    const notifier = notify({ webhookFile: secretFile('webhook', '/hook'), command: [program] });
    notifier.look([CAUSE]);
    const delivery = (channel: string) =>
      registry.notices.open()[0]?.deliveries.find((entry) => entry.channel === channel);
    await until('three tries', () => (delivery('webhook')?.tries ?? 0) >= 3);
    expect(delivery('webhook')?.error).to.contain('answered 503');
    expect(delivery('command')?.doneAt).to.be.a('number');
    answer = 204;
    await until('its delivery', () => delivery('webhook')?.doneAt);
    expect(delivery('webhook')?.error).to.equal(undefined);
  });

  it('L41 a channel that hangs delays nothing: looks go on, and the agent stops at once', async () => {
    answer = 'hang';
    const program = join(dir, 'hang');
    writeFileSync(program, '#!/bin/sh\nsleep 600 & wait\n', { mode: 0o700 });
    const notifier = notify({
      ...{ webhookFile: secretFile('webhook', '/hook'), command: [program], timeoutMs: 600_000 },
    });
    notifier.look([CAUSE]);
    await until('the server to be asked', () => received.length > 0);
    notifier.look([CAUSE, { ...CAUSE, key: 'other' }]);
    expect(registry.notices.open()).to.have.length(2);
    await notifier.stop();
    expect(registry.notices.open()[0]?.deliveries.map(({ tries }) => tries)).to.deep.equal([0, 0]);
  });

  it('L41 a program that hangs, fails or is not there ends in time, and what it started with it', async () => {
    const program = join(dir, 'hang');
    const pid = join(dir, 'pid');
    writeFileSync(program, `#!/bin/sh\nsleep 600 &\necho $! > ${pid}\nwait\n`, { mode: 0o700 });
    for (const [command, words] of [
      [[program], 'did not end within 300 ms'],
      [['/bin/sh', '-c', 'echo not today >&2; exit 3'], 'ended with code 3: not today'],
      [[join(dir, 'nothing')], 'cannot be run'],
    ] as const) {
      const [channel] = openChannels({ command, timeoutMs: 300 });
      const sent = await channel?.send(
        { id: 1, kind: 'k', node: 'n', owner: 'o', text: 't', at: '' },
        new AbortController().signal,
      );
      expect(sent !== undefined && 'why' in sent && sent.why).to.contain(words);
    }
    const child = Number(readFileSync(pid, 'utf8'));
    await until('the child to be gone', () => !isRunning(child));
  });

  it('a file with the address that others can read is refused with the command that mends it, and nothing is sent', async () => {
    const file = secretFile('webhook', '/hook');
    chmodSync(file, 0o644);
    notify({ webhookFile: file }).look([CAUSE]);
    const error = await until('the refusal', () => registry.notices.open()[0]?.deliveries[0]?.error);
    // Not to its end: a secret that another test registered may be a part of a word.
    expect(error).to.contain('can be read by');
    expect(received).to.deep.equal([]);
    expect(lines.some((line) => line.includes(`chmod 600 ${file}`))).to.equal(true);
  });

  it('L41 a registry that refuses to remember is logged and no more', () => {
    const notifier = notify({});
    registry.close();
    notifier.look([CAUSE]);
    expect(lines.join('')).to.contain('notices could not be remembered');
    registry = open();
  });

  it('what mends itself soon wakes nobody; what lasts is told', () => {
    const notifier = notify({});
    const degraded = { ...CAUSE, key: 'degraded web', afterMs: 60_000 };
    notifier.look([degraded]);
    aheadMs = 30_000;
    notifier.look([degraded]);
    notifier.look([]);
    notifier.look([degraded]);
    aheadMs = 80_000;
    notifier.look([degraded]);
    expect(registry.notices.open()).to.deep.equal([]);
    aheadMs = 95_000;
    notifier.look([degraded]);
    expect(registry.notices.open()).to.have.length(1);
  });

  it('what only a look at the node shows has not cleared while nobody could look: it is not told again afterwards', () => {
    const notifier = notify({});
    const kinds = ['flapping', 'degraded', 'certificate', 'refused'] as const;
    const causes = kinds.map((kind): Cause => ({ ...CAUSE, key: `${kind} web`, kind }));
    notifier.look([...causes, CAUSE]);
    notifier.look([], { isBlind: true });
    expect(registry.notices.open().map(({ kind }) => kind)).to.deep.equal(kinds);
    notifier.look(causes);
    expect(registry.notices.recent(10)).to.have.length(5);
    notifier.look([]);
    expect(registry.notices.open().map(({ kind }) => kind)).to.deep.equal(['refused']);
    aheadMs = 61_000;
    notifier.look([]);
    expect(registry.notices.open()).to.deep.equal([]);
  });

  it('what is tried again has not cleared: it is told once over all its tries, and again only when it was over in between (L15)', () => {
    const notifier = notify({});
    const waits = { ...CAUSE, key: 'degraded web', afterMs: 60_000 };
    const other = { ...waits, key: 'degraded db', service: 'db' };
    const ca: Cause = { key: 'certificates', kind: 'certificate', text: 'the CA is down', afterMs: 60_000 };
    const all = [waits, other, ca];
    notifier.look(all);
    aheadMs = 61_000;
    notifier.look(all);
    for (let tries = 0; tries < 3; tries += 1) {
      aheadMs += 600_000;
      notifier.look([other], { services: new Set(['web']), isCaAsked: true });
      notifier.look(all);
      aheadMs += 61_000;
      notifier.look(all);
    }
    expect(registry.notices.recent(99)).to.have.length(3);
    notifier.look([], { services: new Set(['web']) });
    expect(registry.notices.open().map(({ cause }) => cause)).to.deep.equal(['degraded web']);
    notifier.look([]);
    expect(registry.notices.open()).to.deep.equal([]);
  });

  it('a try that is under way when the agent is started again has not cleared what was told before', async () => {
    const first = notify({});
    first.look([{ ...CAUSE, key: 'degraded web' }]);
    await first.stop();
    const second = notify({});
    second.look([], { services: new Set(['web']) });
    second.look([{ ...CAUSE, key: 'degraded web' }]);
    expect(registry.notices.recent(9)).to.have.length(1);
  });

  it('what is refused by a look that a new agent has not had yet is not told again', async () => {
    const refused: Cause = { ...CAUSE, key: 'refused web 0badcafe', kind: 'refused' };
    const first = notify({});
    first.look([refused]);
    await first.stop();
    const second = notify({});
    second.look([]);
    second.look([refused]);
    expect(registry.notices.recent(9)).to.have.length(1);
  });

  it('the end of a certificate is told once to each channel, also over a restart of the agent that has not shaken hands yet', async () => {
    const expiry: Cause = {
      ...CAUSE,
      key: 'expiry web.test 14',
      kind: 'certificate',
      text: 'ends within 14 days',
    };
    const webhookFile = secretFile('webhook', '/');
    const first = notify({ webhookFile });
    first.look([expiry]);
    await until('it to be remembered', () => registry.notices.open()[0]?.deliveries[0]?.doneAt);
    await first.stop();
    const second = notify({ webhookFile });
    second.look([]);
    second.look([expiry]);
    second.look([{ ...expiry, key: 'expiry web.test 7', text: 'ends within 7 days' }]);
    await until('the next step', () => received.length >= 2);
    expect(received.map(({ body }) => body.text)).to.deep.equal([
      'ends within 14 days',
      'ends within 7 days',
    ]);
  });

  it('what is repaired again and again is told once, until it was quiet for ten minutes', () => {
    const notifier = notify({});
    const drift = { ...CAUSE, key: 'drift web' };
    for (aheadMs = 0; aheadMs < 3_600_000; aheadMs += 300_000) {
      notifier.look([drift]);
      notifier.look([]);
    }
    expect(registry.notices.recent(9)).to.have.length(1);
    aheadMs += 600_000;
    notifier.look([]);
    notifier.look([drift]);
    expect(registry.notices.recent(9)).to.have.length(2);
  });
});

function isRunning(pid: number): boolean {
  try {
    // A zombie has ended.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
