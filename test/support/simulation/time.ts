import type { Clock } from '../../../src/base/clock.ts';

interface Timer {
  readonly at: number;
  readonly number: number;
  readonly run: () => void;
}

/** Time that moves only when it is told to: from one timer to the next. */
export class VirtualTime {
  #monotonic = 0;
  #wallOffset = Date.UTC(2026, 0, 1);
  #timers: Timer[] = [];
  #count = 0;

  wall(): number {
    return this.#monotonic + this.#wallOffset;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** Somebody sets the wall clock; intervals do not move (G42). */
  jump(ms: number): void {
    this.#wallOffset += ms;
  }

  after(ms: number, run: () => void): () => void {
    const timer: Timer = { at: this.#monotonic + Math.max(0, ms), number: (this.#count += 1), run };
    const index = this.#timers.findIndex((other) => other.at > timer.at);
    if (index < 0) this.#timers.push(timer);
    else this.#timers.splice(index, 0, timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Moves to the next timer and runs it; false when there is none. */
  advance(): boolean {
    const timer = this.#timers.shift();
    if (timer === undefined) return false;
    this.#monotonic = Math.max(this.#monotonic, timer.at);
    timer.run();
    return true;
  }

  /** Resolves after `ms` of virtual time. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** The clock of an agent, which is of no use to it once it is dead. */
  clock(isAlive: () => boolean): Clock {
    return {
      now: () => this.wall(),
      monotonic: () => this.monotonic(),
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          const finish = (): void => {
            cancel();
            signal?.removeEventListener('abort', finish);
            if (isAlive()) resolve();
          };
          const cancel = this.after(ms, finish);
          if (signal?.aborted === true) finish();
          else signal?.addEventListener('abort', finish, { once: true });
        }),
    };
  }
}
