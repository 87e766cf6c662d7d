import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import type { Outcome } from '../../../src/base/outcome.ts';
import { openFile } from '../../../src/registry/open.ts';
import { registryOn } from '../../../src/registry/registry.ts';
import { component, service } from '../../support/definitions.ts';
import { APPLIED, filledRegistry, log, must, PRINTED, scratch, TRIAL } from './registry.kit.ts';

type Opened = Omit<ReturnType<typeof registryOn>, 'seal' | 'close' | 'notices'>;

/** One call of each write, on the registry that `filledRegistry` gives. */
const WRITES: Readonly<Record<string, (registry: Opened) => Outcome<unknown>>> = {
  accept: (registry) => registry.accept('c2', 6, [{ service: 's1', file: 'f', oid: 'o2', commit: 'c2' }]),
  recordEngine: (registry) => registry.recordEngine({ id: 'e', storageRoot: '/x' }),
  recordOrphan: (registry) => registry.recordOrphan({ service: 's1', commit: 'c1', seenAt: 1 }),
  rebuild: (registry) => registry.rebuild({ applied: [APPLIED], leases: [], routes: [], lostAt: 'c1' }),
  lease: (registry) =>
    registry.lease([{ service: 'x', component: 'web', route: '', slot: 'a', port: 4_000 }]),
  releaseLeases: (registry) =>
    registry.releaseLeases([{ service: 's1', component: 'web', route: '', slot: 'a', port: 10_001 }]),
  recordImage: (registry) => registry.recordImage({ reference: 'x:v1', imageId: 'sha256:9', built: true }, 9),
  imageRemoved: (registry) => registry.imageRemoved('s1:v1.0.0'),
  putRoutes: (registry) =>
    registry.putRoutes('s1', [
      { hostname: 'x.example.net', port: 443, service: 's1', component: 'web', route: '' },
    ]),
  removeRoutes: (registry) => registry.removeRoutes('s1', [{ hostname: 's1.example.net', port: 443 }]),
  putRecords: (registry) =>
    registry.putRecords([{ service: 's1', hostname: 's1.example.net', addresses: ['192.0.2.1'] }]),
  removeRecords: (registry) =>
    registry.removeRecords([{ service: 's4', hostname: 's4.example.net', addresses: ['192.0.2.4'] }]),
  recordApplied: (registry) =>
    registry.recordApplied({ ...APPLIED, service: service('s1', [component('web')]), digest: 'new' }),
  forgetService: (registry) => registry.forgetService('s1'),
  recordFailure: (registry) => registry.recordFailure({ service: 's1', digest: 'd', lastAt: 1, why: 'w' }),
  clearFailure: (registry) => registry.clearFailure('s2'),
  moveTrials: (registry) => registry.moveTrials(60_000),
  recordTrial: (registry) => registry.recordTrial({ ...TRIAL, service: 's1' }),
  recordPrinted: (registry) => registry.recordPrinted('s3', TRIAL.digest, [PRINTED]),
  recordFlap: (registry) =>
    registry.recordFlap({ service: 's1', component: 'web', spec: 's', count: 1, heldAt: 1, why: 'w' }),
  beginPass: (registry) => registry.beginPass({ trigger: 'git', commit: 'c1', startedAt: 1 }),
  endPass: (registry) => registry.endPass(31, 1),
  storePlan: (registry) => registry.storePlan(1, { version: '1', key: 'k', inputs: {}, plan: {} }),
  intend: (registry) =>
    registry.intend(31, { service: 's1', kind: 'k', subject: 's', because: { summary: 'y' }, startedAt: 1 }),
  conclude: (registry) => registry.conclude(31, { result: 'ok', endedAt: 1 }),
};

interface Fault {
  readonly said: string;
  /** Brings it about; what is given back ends it. */
  readonly begin: (db: Database.Database, path: string) => () => void;
}

const FAULTS: Readonly<Record<string, Fault>> = {
  SQLITE_BUSY: {
    said: 'Another program has the registry open',
    begin: (_db, path) => {
      const other = new Database(path);
      other.exec('BEGIN IMMEDIATE');
      return () => other.close();
    },
  },
  SQLITE_READONLY: {
    said: 'needs to read and write there',
    begin: (db) => {
      db.pragma('query_only = ON');
      return () => db.pragma('query_only = OFF');
    },
  },
  SQLITE_IOERR: {
    said: 'needs to read and write there',
    begin: () => {
      ioFails = true;
      return () => (ioFails = false);
    },
  },
};

let ioFails = false;

describe('a registry whose disk or neighbour refuses', () => {
  for (const [code, { said, begin }] of Object.entries(FAULTS))
    for (const [name, write] of Object.entries(WRITES))
      it(`G32 ${code} at ${name}: an outcome that says what to do, nothing of it is there, and it works again afterwards`, () => {
        const dir = scratch();
        const path = join(dir, 'registry.db');
        writeFileSync(path, filledRegistry());
        const file = must(openFile(path, log, 0));
        const registry = registryOn({ ...file, db: failing(file.db) }, { path, clock: systemClock, log });
        try {
          must(registry.beginPass({ trigger: 'git', commit: 'c1', startedAt: 1 }));
          must(
            registry.intend(31, {
              ...{ service: 's1', kind: 'k', subject: 's', because: { summary: 'y' }, startedAt: 1 },
            }),
          );
          file.db.pragma('busy_timeout = 0');
          const before = [registry.promised(), registry.history('s1', 50), registry.passes(50)];
          const end = begin(file.db, path);
          const outcome = write(registry);
          end();
          expect(outcome.kind, JSON.stringify(outcome)).to.be.oneOf(['retry', 'blocked']);
          expect(outcome.kind === 'ok' ? '' : `${outcome.why} ${outcome.hint}`)
            .to.contain(path)
            .and.contain(said);
          expect([registry.promised(), registry.history('s1', 50), registry.passes(50)]).to.deep.equal(
            before,
          );
          expect(write(registry).kind).to.equal('ok');
        } finally {
          ioFails = false;
          registry.close();
          rmSync(dir, { recursive: true });
        }
      });

  it('G32 every write of the registry is among them', () => {
    const dir = scratch();
    const path = join(dir, 'registry.db');
    const registry = registryOn(must(openFile(path, log, 0)), { path, clock: systemClock, log });
    const others = [
      ...['promised', 'passes', 'pass', 'changes', 'history', 'plan', 'planKey', 'notices', 'printed'],
      ...['untold', 'snapshot', 'seal', 'close'],
    ];
    expect([...Object.keys(WRITES), ...others].sort()).to.deep.equal(Object.keys(registry).sort());
    registry.close();
    rmSync(dir, { recursive: true });
  });
});

/** The same database, whose disk fails every write when it is told to. */
function failing(db: Database.Database): Database.Database {
  return new Proxy(db, {
    get: (target, name) => {
      const member = Reflect.get(target, name, target) as unknown;
      if (name === 'prepare') return (sql: string) => failingStatement(target.prepare(sql));
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

function failingStatement(statement: Database.Statement): Database.Statement {
  return new Proxy(statement, {
    get: (target, name) => {
      if (name === 'run' && ioFails)
        return () => {
          throw new Database.SqliteError('disk I/O error', 'SQLITE_IOERR_WRITE');
        };
      const member = Reflect.get(target, name, target) as unknown;
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}
