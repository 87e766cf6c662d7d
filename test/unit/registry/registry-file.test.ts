import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { openKey } from '../../../src/registry/key.ts';
import { openRegistry } from '../../../src/registry/registry.ts';
import { until } from '../../support/until.ts';
import { APPLIED, log, must, useRegistry } from './registry.kit.ts';

describe('the file of the registry', () => {
  const { open, opened, at } = useRegistry();

  it('L34 L05 a lost registry begins with what the file beside it kept: commit, engine, names, orphans, last good files', () => {
    const before = open();
    const file = { service: 'web', file: 'services/web.toml', oid: 'o', commit: 'c1' };
    const nodeFile = { file: 'nodes/n1.toml', oid: 'n', commit: 'c1' };
    must(before.recordOrphan({ service: 'old', commit: 'c0', seenAt: 1 }));
    must(before.recordEngine({ id: 'e', storageRoot: '/x' }));
    must(before.accept('c1', 5, [{ ...file, prune: false }], nodeFile, ['gone']));
    must(before.putRecords([{ service: 'web', hostname: 'web.example.net', addresses: ['10.0.0.1'] }]));
    const { accepted, engine, named, orphans, files, records } = before.promised();
    expect(records).to.have.length(1);
    before.close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(at.path + suffix, { force: true });
    const side = join(at.dir, 'kept-registry.json');
    expect(statSync(side).mode & 0o777).to.equal(0o600);
    const after = open().promised();
    expect(after).to.deep.include({
      accepted,
      engine,
      named,
      orphans,
      files,
      records,
      nodeFile,
      fresh: { kept: true },
    });
    expect(after.applied).to.deep.equal([]);
  });

  it('G35 deleted under a running agent it is written again as it was, journal and all, and goes on', () => {
    const registry = open();
    must(registry.accept('c1', 5, [{ service: 'web', file: 'services/web.toml', oid: 'o', commit: 'c1' }]));
    must(registry.recordApplied(APPLIED));
    const now = Date.now();
    must(
      registry.endPass(must(registry.beginPass({ trigger: 'git', commit: 'c1', startedAt: now })), now + 1),
    );
    const before = [registry.promised(), registry.passes(5)];
    for (const [deleted, left] of [
      [['', '-wal', '-shm'], []],
      [[''], ['-wal', '-shm']],
    ]) {
      for (const suffix of deleted ?? []) rmSync(at.path + suffix, { force: true });
      expect(left?.every((suffix) => existsSync(at.path + suffix))).to.equal(true);
      must(registry.check());
      expect([registry.promised(), registry.passes(5)]).to.deep.equal(before);
      expect(statSync(at.path).mode & 0o777).to.equal(0o600);
    }
    must(registry.lease([{ service: 'web', component: 'web', route: '', slot: 'a', port: 12345 }]));
    registry.close();
    opened.pop();
    expect(open().promised().leases, 'it is the file on the disk that is written').to.have.length(1);
  });

  it('G35 replaced under a running agent the new file is taken', () => {
    const registry = open();
    must(registry.recordApplied(APPLIED));
    const copy = join(at.dir, 'copy.db');
    must(registry.snapshot(copy));
    must(registry.forgetService('web'));
    for (const suffix of ['-wal', '-shm']) rmSync(at.path + suffix, { force: true });
    renameSync(copy, at.path);
    must(registry.check());
    expect(registry.promised().applied).to.deep.equal([APPLIED]);
  });

  it('L34 a file beside it that is damaged is as good as none, and keeps nothing from going on', () => {
    open().close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(at.path + suffix, { force: true });
    writeFileSync(join(at.dir, 'kept-registry.json'), '{"format": 1, "files": [{}]}');
    expect(open().promised()).to.deep.include({ fresh: { kept: false }, files: [] });
  });

  it('is readable by its owner only', () => {
    open().promised();
    for (const name of readdirSync(at.dir))
      expect(statSync(join(at.dir, name)).mode & 0o077, name).to.equal(0);
  });

  it('G34 refuses a second agent with a clear line, and is free the moment the first one is killed', async () => {
    const script = `
      const { openRegistry } = await import(${JSON.stringify(new URL('../../../src/registry/registry.ts', import.meta.url).href)});
      const { systemClock } = await import(${JSON.stringify(new URL('../../../src/base/clock.ts', import.meta.url).href)});
      const { makeLog } = await import(${JSON.stringify(new URL('../../../src/base/log.ts', import.meta.url).href)});
      const opened = openRegistry({ path: ${JSON.stringify(at.path)}, clock: systemClock, log: makeLog('silent') });
      process.stdout.write(opened.kind + '\\n');
      setInterval(() => void opened, 1000);`;
    const holder = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    holder.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    try {
      await until('the first agent', () => said === 'ok\n');
      const second = openRegistry({ path: at.path, clock: systemClock, log });
      expect(second).to.include({ kind: 'blocked' });
      expect(second.kind === 'ok' ? '' : second.why).to.contain('another agent holds');
    } finally {
      holder.kill('SIGKILL');
    }
    await until(
      'the lock',
      () => {
        const again = openRegistry({ path: at.path, clock: systemClock, log });
        if (again.kind === 'ok') opened.push(again.value);
        return again.kind === 'ok';
      },
      1_000,
    );
  });

  for (const [how, damage] of [
    [
      'its first page is zeroed',
      (file: string) =>
        writeFileSync(file, Buffer.concat([Buffer.alloc(4096), readFileSync(file).subarray(4096)])),
    ],
    [
      'a page in the middle is zeroed',
      (file: string) => {
        const bytes = readFileSync(file);
        bytes.fill(0xff, 8192, 12288);
        writeFileSync(file, bytes);
      },
    ],
    ['it is cut short', (file: string) => truncateSync(file, 10_000)],
    [
      'it is no database',
      (file: string) =>
        writeFileSync(file, 'this is not a database, but long enough to be looked at as one'.repeat(20)),
    ],
  ] as const) {
    it(`G31 is set aside with a timestamp and begun anew when ${how}`, () => {
      const before = open();
      must(before.lease([{ service: 'web', component: 'web', route: '', slot: 'a', port: 12345 }]));
      before.close();
      opened.pop();
      damage(at.path);
      const anew = open();
      expect(anew.promised().leases).to.deep.equal([]);
      const aside = readdirSync(at.dir).filter((name) =>
        /^registry\.db\.damaged-\d{4}-\d\d-\d\dT[\d-]+Z$/.test(name),
      );
      expect(aside.map((name) => join(at.dir, name))).to.deep.equal([anew.setAside]);
    });
  }

  it('G33 politely refuses a registry that a newer version wrote, and leaves it as it is', () => {
    open().close();
    opened.pop();
    const raw = new Database(at.path);
    raw.pragma('user_version = 99');
    raw.close();
    const refused = openRegistry({ path: at.path, clock: systemClock, log });
    expect(refused.kind === 'ok' ? '' : refused.why).to.contain('newer version (99');
    expect(readdirSync(at.dir).some((name) => name.includes('damaged'))).to.equal(false);
  });

  it('takes a consistent snapshot', () => {
    const registry = open();
    must(registry.recordApplied(APPLIED));
    const copy = join(at.dir, 'copy.db');
    must(registry.snapshot(copy));
    at.path = copy;
    expect(open().promised().applied).to.deep.equal([APPLIED]);
    expect(registry.snapshot(copy).kind).to.equal('blocked');
  });

  it('says which file and what to do when its directory cannot be made', () => {
    writeFileSync(join(at.dir, 'file'), '');
    const refused = openRegistry({ path: join(at.dir, 'file', 'registry.db'), clock: systemClock, log });
    expect(refused).to.include({ kind: 'blocked' });
    expect(refused.kind === 'ok' ? '' : refused.why).to.contain('registry.db');
  });

  it('keeps the key of the environment hashes in a 0600 file of its own, and says when it is no key', () => {
    const first = must(openKey(at.dir));
    const second = must(openKey(at.dir));
    expect([first.created, second.created, second.keyId]).to.deep.equal([true, false, first.keyId]);
    expect(statSync(join(at.dir, 'env.key')).mode & 0o777).to.equal(0o600);
    chmodSync(join(at.dir, 'env.key'), 0o600);
    writeFileSync(join(at.dir, 'env.key'), 'short');
    expect(openKey(at.dir).kind).to.equal('blocked');
    expect(existsSync(join(at.dir, 'env.key'))).to.equal(true);
  });
});
