import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf } from '../base/outcome.ts';
import { procFile } from './leftovers.ts';

/** What a module exports that a keeper loads. */
interface EngineModule {
  readonly startEngine: (directory: string, name: string) => Promise<KeptEngine>;
  /** Ends and takes back all that belongs to an engine in this directory, however it ended; the keeper removes the files. */
  readonly clearEngine: (directory: string) => Promise<void>;
}

export interface KeptEngine {
  readonly socketPath: string;
  /** Asks the engine to end, without its containers. */
  readonly stop: () => Promise<void>;
  /** Settles when the engine ends by itself. */
  readonly ended: Promise<unknown>;
}

/** One line of JSON that a keeper sends to each who holds its engine. */
export type KeeperLine =
  | { readonly is: 'ready'; readonly socketPath: string }
  | { readonly is: 'failed'; readonly why: string }
  | { readonly is: 'ending' }
  | { readonly is: 'released'; readonly last: boolean };

/** Where this file lies: it is a program of its own. */
export const keeperModule = import.meta.filename;

/** The socket of a keeper: abstract, so there is one in a network namespace and none is left behind. */
export function keeperSocket(name: string): string {
  return `\0mc-gitops-engine-${name}`;
}

/**
 * A process of its own that holds an engine as long as anybody is connected to it: a test run or a demo that is
 * interrupted, or killed with -9, still leaves nothing behind, and two that run at once share one engine.
 */
class Keeper {
  readonly #name: string;
  readonly #holders = new Set<Socket>();
  #state: KeeperLine | undefined;
  #module: EngineModule | undefined;
  #engine: KeptEngine | undefined;
  #directory: string | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  run(modulePath: string): void {
    // Listening goes on to the very end: the name is free again only when nothing of the engine is left.
    const server = createServer((socket) => this.#serve(socket));
    // Somebody else's keeper was quicker: it serves us too.
    server.on('error', () => process.exit(0));
    server.listen(keeperSocket(this.#name), () => void this.#start(modulePath));
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => void this.#end(0));
    }
  }

  #serve(socket: Socket): void {
    this.#holders.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#leave(socket, false));
    socket.on('data', () => this.#leave(socket, true));
    if (this.#state !== undefined) tell(socket, this.#state);
  }

  async #start(modulePath: string): Promise<void> {
    try {
      const module = (await import(pathToFileURL(modulePath).href)) as EngineModule;
      this.#module = module;
      await clearStale(this.#name, module);
      this.#directory = makeDirectory(this.#name);
      this.#engine = await module.startEngine(this.#directory, this.#name);
    } catch (error) {
      this.#say({ is: 'failed', why: messageOf(error) });
      await this.#end(1);
      return;
    }
    this.#say({ is: 'ready', socketPath: this.#engine.socketPath });
    if (this.#holders.size === 0) await this.#end(0);
    await this.#engine.ended;
    await this.#end(1);
  }

  #leave(socket: Socket, asked: boolean): void {
    if (!this.#holders.delete(socket)) return;
    if (this.#holders.size === 0 && this.#state?.is === 'ready')
      void this.#end(0, asked ? socket : undefined);
    else if (asked) socket.end(line({ is: 'released', last: false }));
  }

  #say(state: KeeperLine): void {
    this.#state = state;
    for (const socket of this.#holders) tell(socket, state);
  }

  async #end(code: number, asked?: Socket): Promise<void> {
    if (this.#state?.is === 'ending') return;
    this.#say({ is: 'ending' });
    try {
      await this.#engine?.stop();
    } catch {
      // What did not end by itself is ended with its directory.
    }
    if (this.#directory !== undefined && this.#module !== undefined) {
      await removeEngine(this.#directory, this.#module).catch(() => undefined);
    }
    if (asked === undefined) process.exit(code);
    asked.end(line({ is: 'released', last: true }), () => process.exit(code));
  }
}

function tell(socket: Socket, state: KeeperLine): void {
  socket.write(line(state));
}

function line(state: KeeperLine): string {
  return `${JSON.stringify(state)}\n`;
}

function makeDirectory(name: string): string {
  // Under its name only when it says whose it is: a keeper of another network namespace would take it for stale.
  const hidden = mkdtempSync(join(tmpdir(), `.${prefixOf(name)}`));
  // A rootless engine's user passes through; only root writes here.
  chmodSync(hidden, 0o711);
  writeFileSync(join(hidden, 'keeper'), `${process.pid}\n`);
  const directory = join(tmpdir(), basename(hidden).slice(1));
  renameSync(hidden, directory);
  return directory;
}

/** What a keeper left that was killed with -9. We hold its name, so in this network namespace nobody needs it. */
async function clearStale(name: string, module: EngineModule): Promise<void> {
  for (const entry of readdirSync(tmpdir())) {
    const directory = join(tmpdir(), entry);
    if (!entry.startsWith(prefixOf(name)) || statSync(directory).uid !== process.getuid?.()) continue;
    const pid = Number(readOr(join(directory, 'keeper'), '0'));
    // The keeper of another network namespace is at work there.
    // Named by its last parts: it may run from another clone.
    if (procFile(pid, 'cmdline').includes(join('demo', basename(keeperModule)))) continue;
    await removeEngine(directory, module);
  }
}

async function removeEngine(directory: string, module: EngineModule): Promise<void> {
  await module.clearEngine(directory);
  rmSync(directory, { recursive: true, force: true });
}

/** Short: Podman's containers lose their restart policy when its run directory is longer than 50 characters. */
function prefixOf(name: string): string {
  return `mcg-${name}.`;
}

function readOr(path: string, otherwise: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : otherwise;
}

const [, self, name, modulePath] = process.argv;
if (self === keeperModule && name !== undefined && modulePath !== undefined) new Keeper(name).run(modulePath);
