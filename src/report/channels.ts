import { spawn } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { httpRequest } from '../base/http.ts';
import { blocked, messageOf, ok, retry, type Outcome } from '../base/outcome.ts';
import { redact, Secret } from '../base/secret.ts';

/** What is sent. Shown text: control characters are visible escapes, known secrets are masked. */
export interface Message {
  readonly id: number;
  readonly kind: string;
  readonly node: string;
  readonly owner: string;
  readonly service?: string;
  readonly text: string;
  readonly hint?: string;
  /** ISO 8601, UTC. */
  readonly at: string;
}

export interface Channel {
  readonly name: 'webhook' | 'ntfy' | 'command';
  /** Ends within its own deadline, or with the signal. */
  send(message: Message, signal: AbortSignal): Promise<Outcome<undefined>>;
}

export interface ChannelSettings {
  readonly webhookFile?: string;
  readonly ntfyFile?: string;
  readonly command?: readonly string[];
  readonly caCert?: string;
  readonly timeoutMs: number;
}

const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_FILE_BYTES = 16 * 1024;
const MAX_WORDS = 300;
/** Whatever the agent's own environment is: a program finds its tools, and nothing of the agent's. */
const PROGRAM_ENV = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/',
  LANG: 'C.UTF-8',
};

/** The channels that the settings name. What is wrong with one is said when it is used. */
export function openChannels(settings: ChannelSettings): Channel[] {
  const { webhookFile, ntfyFile, command, timeoutMs } = settings;
  const channels: Channel[] = [];
  if (webhookFile !== undefined)
    channels.push({
      name: 'webhook',
      send: (message, signal) => post('webhook_file', webhookFile, settings, signal, (url) => [url, message]),
    });
  if (ntfyFile !== undefined)
    channels.push({
      name: 'ntfy',
      send: (message, signal) =>
        post('ntfy_file', ntfyFile, settings, signal, (url) => ntfyRequest(url, message)),
    });
  if (command !== undefined)
    channels.push({
      name: 'command',
      send: (message, signal) => runProgram(command, message, timeoutMs, signal),
    });
  return channels;
}

/** ntfy takes JSON at its root, with the topic inside (ntfy, "Publish as JSON"): headers could not hold every text. */
function ntfyRequest(url: URL, { kind, node, text, hint }: Message): [URL, object] {
  const topic = url.pathname.split('/').filter(Boolean).at(-1) ?? '';
  const root = new URL(url);
  root.pathname = url.pathname.replace(/[^/]*\/?$/, '');
  const message = hint === undefined ? text : `${text}\n→ ${hint}`;
  return [root, { topic, title: `${node}: ${kind}`, message, tags: [kind.replaceAll(' ', '-')] }];
}

async function post(
  setting: string,
  file: string,
  { caCert, timeoutMs }: ChannelSettings,
  signal: AbortSignal,
  requestOf: (url: URL) => [URL, object],
): Promise<Outcome<undefined>> {
  try {
    const target = await readTarget(setting, file);
    if (target.kind !== 'ok') return target;
    const [url, body] = requestOf(target.value.url);
    const answer = await httpRequest({
      method: 'POST',
      url: url.href,
      headers: { ...target.value.headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(caCert === undefined ? {} : { ca: await readFile(caCert, 'utf8') }),
      deadlineMs: timeoutMs,
      maxBytes: MAX_ANSWER_BYTES,
      signal,
    });
    if (answer.status >= 200 && answer.status < 300) return ok();
    return retry(`${url.host} answered ${answer.status}`, `Is the address in [notify] ${setting} right?`);
  } catch (error) {
    return retry(messageOf(error), `See [notify] ${setting}.`);
  }
}

/** First line: the address; further ones: `Name: value` headers. All of it is secret: only its owner may read the file. */
async function readTarget(
  setting: string,
  file: string,
): Promise<Outcome<{ url: URL; headers: Record<string, string> }>> {
  const { mode, size } = await stat(file);
  if ((mode & 0o077) !== 0)
    return blocked(`[notify] ${setting} ${file} can be read by others`, `chmod 600 ${file}`);
  if (size > MAX_FILE_BYTES)
    return blocked(
      `[notify] ${setting} ${file} is larger than ${MAX_FILE_BYTES} bytes`,
      'Is it the right file?',
    );
  const [first = '', ...rest] = (await readFile(file, 'utf8')).split(/\r?\n/).map((line) => line.trim());
  const url = URL.canParse(first) ? new URL(first) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    return blocked(
      `[notify] ${setting} ${file} does not begin with an http(s) address`,
      'First line: the address. Further lines: headers, for example "Authorization: Bearer …".',
    );
  const headers: Record<string, string> = {};
  for (const line of rest.filter((text) => text !== '')) {
    const colon = line.indexOf(':');
    if (colon <= 0) return blocked(`[notify] ${setting} ${file}: a line is no "Name: value" header`);
    const value = new Secret(line.slice(colon + 1).trim());
    headers[line.slice(0, colon).trim().toLowerCase()] = value.reveal();
  }
  // Many such addresses are a password: masked wherever they might be printed.
  const path = new Secret(
    url.pathname.length + url.search.length < 8 ? first : `${url.pathname}${url.search}`,
  );
  return ok({ url: new URL(path.reveal(), url), headers });
}

/** The message as JSON on its standard input; no shell, an argument array, a fixed PATH and HOME. */
function runProgram(
  [program = '', ...args]: readonly string[],
  message: Message,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Outcome<undefined>> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: '/',
      env: PROGRAM_ENV,
      stdio: ['pipe', 'ignore', 'pipe'],
      // A process group of its own: what it started ends with it.
      detached: true,
    });
    let words = '';
    let why: string | undefined;
    const end = (reason: string): void => {
      why ??= reason;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself just now.
      }
    };
    const timer = setTimeout(() => end(`did not end within ${timeoutMs} ms`), timeoutMs);
    const stopped = (): void => end('was ended with the agent');
    signal.addEventListener('abort', stopped, { once: true });
    const settle = (outcome: Outcome<undefined>): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stopped);
      resolve(outcome);
    };
    const hint = 'See [notify] command.';
    child.stderr.on('data', (chunk: Buffer) => {
      if (words.length < MAX_WORDS) words += chunk.toString('utf8');
    });
    child.on('error', (error) => settle(blocked(`${program} cannot be run: ${messageOf(error)}`, hint)));
    child.on('exit', (code, by) => {
      // What it left behind would hold the pipe, and live on.
      end('');
      const said =
        words === '' ? '' : `: ${redact(words.slice(0, MAX_WORDS)).replaceAll(/\s+/g, ' ').trim()}`;
      if (code === 0) settle(ok());
      else settle(retry(`${program} ${why || `ended with ${by ?? `code ${code ?? '?'}`}`}${said}`, hint));
    });
    child.stdin.on('error', () => undefined).end(`${JSON.stringify(message)}\n`);
  });
}
