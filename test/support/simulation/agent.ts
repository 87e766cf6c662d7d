import { makeLog, type Log } from '../../../src/base/log.ts';
import { ok, retry, type Outcome } from '../../../src/base/outcome.ts';
import type { Loop } from '../../../src/loop.ts';
import type { runPass as RunPass, House, Memory } from '../../../src/pass.ts';
import type { StepKind } from '../../../src/plan/types.ts';
import type { clockWatch as ClockWatch, onRightClock as OnRightClock } from '../../../src/registry/clock.ts';
import type { registryOn as RegistryOn, Registry } from '../../../src/registry/registry.ts';
import type { Fired, Crash, WriteFault } from './faults.ts';
import type { Git } from './git.ts';
import { methods, type Machine, type Trouble } from './node.ts';
import type { RegistryFile } from '../../../src/registry/open.ts';

/** The program under test: the real one, or one with a bug planted. */
export interface Program {
  readonly runPass: typeof RunPass;
  readonly registryOn: typeof RegistryOn;
  readonly clockWatch: typeof ClockWatch;
  readonly onRightClock: typeof OnRightClock;
}

export interface AgentOptions {
  readonly program: Program;
  readonly machine: Machine;
  readonly git: Git;
  readonly file: Pick<RegistryFile, 'db' | 'isNew'>;
  /** Beside it is the file that outlives its loss. */
  readonly path: string;
  readonly settings: Pick<House, 'planSettings' | 'definitions'>;
  /** Plans are stored with what they were made from; what reads them has tests of its own. */
  readonly keepsPlans: boolean;
  readonly trouble: Trouble & {
    /** Does the agent die here? Asked at each boundary of each step. */
    crash(at: Crash, kind: StepKind): boolean;
    write(name: string, kind: StepKind | undefined): WriteFault | undefined;
  };
  readonly fired: Fired;
  /** The agent is gone: another may be started. */
  readonly onDeath: () => void;
  readonly onPassBegun: () => void;
  readonly onPassEnded: (memory: Memory, again: boolean) => void;
}

/** Thrown by a registry whose agent is dead: nobody is there to hear it. */
class DeadError extends Error {}

/** One life of an agent: real passes on a real registry, scheduled as `loop.ts` does, on a clock that jumps from one event to the next. */
export class SimulatedAgent {
  readonly memory: Memory = {};
  readonly lines: string[] = [];
  readonly registry: Registry;
  readonly #options: AgentOptions;
  readonly #house: House;
  readonly #kinds = new Map<number, StepKind>();
  /** Steps that the journal has begun, and not ended. */
  readonly #open = new Map<StepKind, number>();
  readonly #stopping = new AbortController();
  #alive = true;
  #running = false;
  #pending = new Set<string>(['start']);
  #tokens = 12;
  #tokensAt: number;
  #wake: (() => void) | undefined;
  /** The kind of the step that is being begun, for faults of the writes of registry steps. */
  #beginning: StepKind | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { machine, git, file, path, program } = options;
    const isAlive = (): boolean => this.#alive;
    const clock = machine.time.clock(isAlive);
    const log: Log = makeLog('info', { write: (line: string) => void this.lines.push(line) });
    const reopen = (): never => {
      throw new Error('the file in memory does not go away by itself');
    };
    const opened = program.registryOn({ ...file, reopen, close: () => undefined }, { path, clock, log });
    const check = program.clockWatch({ clock, log }, (byMs) => opened.moveTrials(byMs));
    this.registry = this.#guarded({ ...program.onRightClock(opened, check), check });
    this.#tokensAt = machine.time.monotonic();
    this.#house = {
      source: git.source(isAlive),
      registry: this.registry,
      node: machine.node(isAlive, options.trouble, machine.time.wall()),
      ...options.settings,
      parallel: 4,
      // Read in this process: another thread has a time of its own.
      reader: { read: async () => ok(new Map<string, string>()), close: async () => undefined },
      clock,
      log,
      onNews: () => this.signal('git news'),
    };
    this.#schedule();
  }

  get isBusy(): boolean {
    return this.#alive && this.#running;
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  signal: Loop['signal'] = (trigger) => {
    if (!this.#alive) return;
    this.#pending.add(trigger);
    if (!this.#running) this.#schedule();
  };

  /** Is a step of this kind under way, as the journal has it? What is not written down is not done (G32). */
  isIntended(kind: StepKind): boolean {
    return (this.#open.get(kind) ?? 0) > 0;
  }

  /** kill -9: nothing of it does anything any more. */
  kill(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#stopping.abort();
    this.#wake?.();
    this.#options.onDeath();
  }

  /** One pass at a time; quick ones while something changes, on average at most one a second. */
  #schedule(): void {
    const { time } = this.#options.machine;
    const now = time.monotonic();
    this.#tokens = Math.min(12, this.#tokens + (now - this.#tokensAt) / 1_000);
    this.#tokensAt = now;
    this.#wake?.();
    const waitMs = this.#tokens >= 1 ? 0 : (1 - this.#tokens) * 1_000;
    this.#wake = time.after(waitMs, () => void this.#pass());
  }

  async #pass(): Promise<void> {
    if (!this.#alive || this.#running) return;
    const { program, onPassBegun, onPassEnded, machine } = this.#options;
    const triggers = this.#pending;
    this.#pending = new Set();
    this.#tokens -= 1;
    this.#running = true;
    onPassBegun();
    const report = await program
      .runPass(this.#house, this.memory, triggers, this.#stopping.signal)
      .catch((error: unknown) => {
        if (this.isAlive) throw error;
        return undefined;
      });
    if (report === undefined || !this.isAlive) return;
    const { wakeAt, again } = report;
    this.#running = false;
    onPassEnded(this.memory, again);
    if (again) this.#pending.add('steps');
    if (this.#pending.size > 0) this.#schedule();
    else if (wakeAt !== undefined) {
      this.#wake?.();
      this.#wake = machine.time.after(wakeAt - machine.time.wall(), () => this.signal('wake'));
    }
  }

  #guarded(registry: Registry): Registry {
    const { trouble, fired } = this.#options;
    const crash = (at: Crash, kind: StepKind | undefined): void => {
      if (kind === undefined || !this.#alive || !trouble.crash(at, kind)) return;
      fired.add(at, kind);
      this.kill();
      throw new DeadError();
    };
    return methods(registry, (name, work, args) => () => {
      if (!this.#alive) throw new DeadError();
      if (name === 'intend') {
        const kind = (args[1] as { kind: StepKind }).kind;
        crash('crash before intent', kind);
        const fault = trouble.write(name, kind);
        if (fault !== undefined) return refused(fault);
        const made = work() as Outcome<number>;
        if (made.kind === 'ok') {
          this.#kinds.set(made.value, kind);
          this.#open.set(kind, (this.#open.get(kind) ?? 0) + 1);
        }
        this.#beginning = kind;
        crash('crash after intent', kind);
        return made;
      }
      if (name === 'conclude') {
        const kind = this.#kinds.get(args[0] as number);
        crash('crash before result', kind);
        if (kind !== undefined) this.#open.set(kind, (this.#open.get(kind) ?? 0) - 1);
        const done = work();
        crash('crash after result', kind);
        return done;
      }
      if (!WRITES.has(name)) return work();
      const fault = trouble.write(name, this.#beginning);
      if (fault !== undefined) return refused(fault);
      return name === 'storePlan' && !this.#options.keepsPlans ? ok() : work();
    });
  }
}

const WRITES = new Set([
  ...[
    'accept',
    'recordEngine',
    'recordOrphan',
    'rebuild',
    'lease',
    'releaseLeases',
    'recordImage',
    'putRoutes',
  ],
  ...['removeRoutes', 'recordApplied', 'forgetService', 'recordFailure', 'clearFailure', 'recordTrial'],
  ...['beginPass', 'storePlan', 'putRecords', 'removeRecords', 'imageRemoved', 'recordFlap', 'recordPrinted'],
]);

function refused(fault: WriteFault): Outcome<never> {
  return fault === 'disk full'
    ? retry('registry.db: database or disk is full')
    : retry('registry.db: database is locked');
}
