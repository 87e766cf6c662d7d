import { mkdirSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import type { Memory } from '../../../src/pass.ts';
import { openReader } from '../../../src/registry/reader.ts';
import { formatHistory, historyOf } from '../../../src/report/history.ts';
import { formatState } from '../../../src/report/state.ts';
import { converged, definition, passRig } from './pass.kit.ts';

const CANARY = 'canary-9f31c0';

/** A word in each place where a definition takes free text; nothing about it looks like a secret. */
function secretive(version: number): string {
  const word = (place: string): string => `${CANARY}-${place}-${version}`;
  return [
    'name = "web"\nnode = "n1"\n[deploy]\nstable_for = "0s"\n[[components]]\nname = "web"',
    'image = "mcr.example.net/web:v1.0.0"',
    `env = ["GREETING=${word('env')}"]`,
    `cmd = ["serve", "${word('cmd')}"]`,
    `entrypoint = ["/bin/run", "${word('entrypoint')}"]`,
    `labels = { "net.example.note" = "${word('label')}" }`,
    `health = { type = "exec", command = ["/bin/check", "${word('health')}"] }`,
    '',
  ].join('\n');
}

describe('what the agent writes down of a definition with secrets in it (G10)', () => {
  const rig = passRig();

  /** A service that is new, changed, healed and removed, beside one that stays: in each of these passes something is stored. */
  beforeEach(async () => {
    const { repository, house, world } = rig();
    const memory: Memory = {};
    const pushed = async (files: Record<string, string | undefined>): Promise<void> => {
      await repository.commit(files);
      await converged(house, memory);
    };
    await pushed({ 'services/web.toml': secretive(1), 'services/bb.toml': definition('bb') });
    await pushed({ 'services/web.toml': secretive(2) });
    world.containers = [];
    await converged(house, memory);
    await pushed({ 'services/web.toml': `active = false\n${secretive(3)}` });
    house.registry.check();
  });

  it('stands in clear in the applied definition alone, which heals the node when git is gone', () => {
    const { dir, house } = rig();
    expect(house.registry.promised().applied.map(({ service }) => service.name)).to.include('web');
    const db = new Database(join(dir, 'data', 'registry.db'), { readonly: true });
    const tables = db
      .prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'table'")
      .pluck()
      .all();
    const telling = tables.filter((table) =>
      db.prepare<[], unknown[]>(`SELECT * FROM ${table}`).raw().all().flat().some(hasCanary),
    );
    db.close();
    expect(tables).to.include.members(['parts', 'steps', 'passes', 'notices', 'trials', 'failures']);
    expect(telling).to.deep.equal(['applied']);
  });

  it('is in no other file beside the registry but the copy of what is in force, and nobody else may read these', () => {
    const { dir } = rig();
    const data = join(dir, 'data');
    const files = readdirSync(data, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const telling = files.filter((file) => hasCanary(readFileSync(file)));
    const names = telling.map((file) => file.slice(data.length + 1).replace(/-(?:wal|shm)$/, ''));
    expect([...new Set(names)].sort()).to.deep.equal(['registry.db', 'source/in-force.json']);
    for (const file of telling) expect((statSync(file).mode & 0o777).toString(8), file).to.equal('600');
  });

  it('is in stored plans for the one who has the key: read on the node, and nothing is told without it', () => {
    const { dir, house } = rig();
    const path = join(dir, 'data', 'registry.db');
    const [newest] = house.registry.passes(1);
    const open = (): ReturnType<typeof openReader> => openReader(path);
    const stored = valueOf(open()).plan(newest?.id ?? 0);
    if (stored === undefined) throw new Error('the inputs of the newest pass are not stored');
    expect(hasCanary(JSON.stringify(stored))).to.equal(true);
    renameSync(join(dir, 'data', 'env.key'), join(dir, 'env.key.away'));
    expect(() => valueOf(open()).plan(newest?.id ?? 0)).to.throw(/locked with the key [0-9a-f]{8}.*env\.key/);
    const kept = join(dir, 'kept');
    mkdirSync(kept);
    renameSync(join(dir, 'env.key.away'), join(kept, 'env.key'));
    expect(valueOf(openReader(path, kept)).plan(newest?.id ?? 0), 'named by the settings').to.deep.equal(
      stored,
    );
  });

  it('is in no history, plan that is printed, nor state that is asked for', () => {
    const { house } = rig();
    const passes = house.registry.passes(99);
    const { accepted } = house.registry.promised();
    const state = formatState({
      ...{ format: 1, node: 'n1', commit: accepted?.commit ?? '', root: '' },
      ...{ settings: house.planSettings, defaults: house.definitions.defaults },
      policy: { mounts: [], networks: [], ports: [], hostnames: [] },
      promised: house.registry.promised(),
      observed: { at: 0 } as never,
    });
    expect(passes.length).to.be.greaterThan(3);
    for (const told of [formatHistory(historyOf(passes)), JSON.stringify(historyOf(passes)), state]) {
      expect(told).to.contain('web');
      expect(told).to.not.contain(CANARY);
    }
    expect(formatHistory(historyOf(passes))).to.contain('/components/web/cmd/1');
  });
});

/** In clear, in base64 (three places of a word in its groups), or deflated. */
function hasCanary(value: unknown): boolean {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) return false;
  const bytes = Buffer.from(value as string);
  const forms = [0, 1, 2].map((shift) =>
    Buffer.from(`${'x'.repeat(shift)}${CANARY}`)
      .toString('base64')
      .slice(shift + 1, -4),
  );
  const inflated = ((): Buffer => {
    try {
      return inflateRawSync(bytes);
    } catch {
      return Buffer.alloc(0);
    }
  })();
  return [CANARY, ...forms].some((form) => bytes.includes(form)) || inflated.includes(CANARY);
}

function valueOf<T>(outcome: { readonly kind: string; readonly value?: T }): T {
  if (outcome.value === undefined) throw new Error(`not ok: ${JSON.stringify(outcome)}`);
  return outcome.value;
}
