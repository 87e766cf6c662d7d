import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import type { Outcome } from '../../../src/base/outcome.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import type { Applied, Printed, Trial } from '../../../src/registry/types.ts';
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

export const PRINTED: Printed = {
  component: 'web',
  container: 'web',
  at: 12,
  lines: ['cannot open the store'],
};

/** A directory in memory where there is one: how long a disk takes to sync is no matter of these tests. */
export function scratch(): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mcg-registry-'));
}

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
    at.dir = scratch();
    at.path = join(at.dir, 'registry.db');
  });
  afterEach(() => {
    for (const registry of opened.splice(0)) registry.close();
    rmSync(at.dir, { recursive: true });
  });
  return { open, opened, at };
}

let filled: Buffer | undefined;

/** The file of a registry with twenty services, all that is recorded of them, and thirty passes with a step each. Made once. */
export function filledRegistry(): Buffer {
  if (filled !== undefined) return filled;
  const dir = scratch();
  const path = join(dir, 'registry.db');
  const registry = must(openRegistry({ path, clock: systemClock, log }));
  fill(registry);
  registry.close();
  filled = readFileSync(path);
  rmSync(dir, { recursive: true });
  return filled;
}

function fill(registry: Registry): void {
  const names = Array.from({ length: 20 }, (_, index) => `s${index}`);
  const files = names.map((name) => ({
    service: name,
    file: `services/${name}.toml`,
    oid: 'o',
    commit: 'c1',
  }));
  must(registry.accept('c1', 5, files));
  for (const [index, name] of names.entries()) {
    must(registry.lease([{ service: name, component: 'web', route: '', slot: 'a', port: 10_000 + index }]));
    must(
      registry.recordApplied({ ...APPLIED, service: service(name, [component('web')]), digest: `d${index}` }),
    );
    const hostname = `${name}.example.net`;
    must(registry.putRoutes(name, [{ hostname, port: 443, service: name, component: 'web', route: '' }]));
    must(registry.recordImage({ reference: `${name}:v1.0.0`, imageId: `sha256:${index}`, built: true }, 9));
  }
  must(registry.recordTrial({ ...TRIAL, service: 's3' }));
  must(registry.putRecords([{ service: 's4', hostname: 's4.example.net', addresses: ['192.0.2.4'] }]));
  const now = Date.now();
  for (let pass = 1; pass <= 30; pass += 1) {
    const startedAt = now + pass;
    const id = must(registry.beginPass({ trigger: 'git', commit: 'c1', startedAt }));
    const because = { summary: 'y'.repeat(100) };
    const step = must(registry.intend(id, { service: 's1', kind: 'k', subject: 'x', because, startedAt }));
    must(registry.conclude(step, { result: 'ok', endedAt: startedAt }));
    must(registry.endPass(id, startedAt));
  }
}
