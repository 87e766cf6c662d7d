import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import type { Outcome } from '../../../src/base/outcome.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import type { Applied, Trial } from '../../../src/registry/types.ts';
import { component, service } from '../../support/definitions.ts';
export const log = makeLog('silent');

export function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`${outcome.kind}: ${outcome.why}`);
  return outcome.value;
}

export const APPLIED: Applied = {
  service: service('web', [component('web')]),
  state: 'running',
  file: 'services/web.toml',
  oid: 'o',
  digest: 'd',
  commit: 'c',
  appliedAt: 7,
  slotB: ['web'],
};

export const TRIAL: Trial = {
  service: 'web',
  digest: 'd2',
  phase: 'held back',
  since: 11,
  tries: 0,
  why: 'nothing answers',
  file: 'services/web.toml',
  commit: 'c2',
};

/** A directory of its own for each test; what was opened in it is closed after it. */
export function useRegistry(): {
  readonly open: () => Registry;
  readonly opened: Registry[];
  readonly at: { dir: string; path: string };
} {
  const at = { dir: '', path: '' };
  const opened: Registry[] = [];
  const open = (): Registry => {
    const registry = must(openRegistry({ path: at.path, clock: systemClock, log }));
    opened.push(registry);
    return registry;
  };

  beforeEach(() => {
    at.dir = mkdtempSync(join(tmpdir(), 'mcg-registry-'));
    at.path = join(at.dir, 'registry.db');
  });
  afterEach(() => {
    for (const registry of opened.splice(0)) registry.close();
    rmSync(at.dir, { recursive: true });
  });
  return { open, opened, at };
}
