import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { retry } from '../../base/outcome.ts';
import { Refusal, isMissing } from './failure.ts';
import { containerPath, ours, type Site } from './lookup.ts';
import { argumentsOf, covering } from './words.ts';

const LOOK_MS = 50;

interface ExecState {
  readonly Running: boolean;
  readonly ExitCode?: number | null;
}

/** Runs programs inside containers of ours, one at a time in each. */
export interface Checks {
  /** Undefined: the program ended with 0; else what it did instead. Rejects when the engine could not be asked. */
  run(id: string, command: readonly string[], timeoutMs: number): Promise<string | undefined>;
}

/**
 * Checks of type `exec`. Engines cannot end a program that they began: one that takes too long is left alone, and no
 * second one is begun beside it.
 */
export function openChecks(site: Site): Checks {
  const left = new Map<string, string>();
  const look = (exec: string): Promise<ExecState> =>
    site.api.call<ExecState>('look at a check', 'GET', `/exec/${exec}/json`);
  const checks: Checks = {
    async run(id, command, timeoutMs) {
      const lingering = left.get(id);
      if (lingering !== undefined) {
        if (await isRunning(look(lingering))) return 'the check before it has not ended yet';
        left.delete(id);
      }
      if ((await ours(site, id)) === undefined)
        throw new Refusal(retry(`container ${id.slice(0, 12)} is gone`));
      const { Id: exec } = await site.api.call<{ Id: string }>(
        'make a check',
        'POST',
        `${containerPath(id)}/exec`,
        { body: { Cmd: command, AttachStdin: false, AttachStdout: true, AttachStderr: true, Tty: false } },
      );
      left.set(id, exec);
      // Attached to its end: of a program that runs detached Podman does not notice the end for a long time.
      const deadline = AbortSignal.timeout(timeoutMs);
      await untilEnd(site, exec, deadline);
      for (;;) {
        const state = await look(exec);
        if (!state.Running) {
          left.delete(id);
          return state.ExitCode === 0 ? undefined : `exit code ${state.ExitCode ?? 'unknown'}`;
        }
        if (deadline.aborted) return `it takes longer than ${timeoutMs} ms`;
        // It closed what it writes to before it ended, or the engine is about to notice.
        await delay(LOOK_MS);
      }
    },
  };
  // An engine quotes the program that it cannot run, and its arguments.
  return {
    run: (id, command, timeoutMs) => covering(argumentsOf([], command), checks.run(id, command, timeoutMs)),
  };
}

/** What the program says is not taken in: it may be a secret. Ends with the program, or with the signal. */
async function untilEnd(site: Site, exec: string, signal: AbortSignal): Promise<void> {
  try {
    const path = `/exec/${exec}/start`;
    const answer = await site.api.stream('POST', path, { body: { Detach: false, Tty: false }, signal });
    await finished(answer.resume());
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function isRunning(looked: Promise<ExecState>): Promise<boolean> {
  try {
    return (await looked).Running;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
