import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { messageOf, ok, type Outcome } from '../base/outcome.ts';
import type { Elsewhere } from '../definitions/types.ts';
import {
  journalOn,
  readingOn,
  type JournalLimits,
  type NewPass,
  type NewPlan,
  type NewStep,
  type StepEnd,
} from './journal.ts';
import { clockWatch, onRightClock } from './clock.ts';
import { failureOf, openFile, writeAgain, type RegistryFile } from './open.ts';
import { acceptanceOn, type Acceptance } from './acceptance.ts';
import { noticesOn, type Notices } from './notices.ts';
import { printedOn } from './printed.ts';
import { promisesOn, type Promises } from './promises.ts';
import { sealsOn } from './seal.ts';
import { tablesOn } from './tables.ts';
import { keptOf, readSide, sideText, type Side } from './sidefile.ts';
import type {
  AcceptedFile,
  Applied,
  DnsRecord,
  EngineIdentity,
  FailureRecord,
  FlapRecord,
  ImageRecord,
  Lease,
  NodeFileRecord,
  OrphanRecord,
  PassRecord,
  Printed,
  Promised,
  Rebuilt,
  RouteRecord,
  StepRecord,
  Trial,
  StoredPlan,
  Told,
} from './types.ts';
import { vaultOf } from './vault.ts';
import { writingTo } from './writing.ts';

const JOURNAL: JournalLimits = { maxAgeMs: 90 * 24 * 3_600_000, maxPasses: 20_000, maxPlans: 1_000 };
const PRUNE_EVERY_PASSES = 100;

export interface RegistryOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly journal?: JournalLimits;
  /** The node's own: stored plans are locked with it. Absent: they stand in clear. */
  readonly key?: Uint8Array;
}

/**
 * The node's memory: one SQLite file, one agent. Reads throw only when the file is lost under us; every write is an
 * outcome, because what cannot be written down is not done (G32).
 */
export interface Registry {
  promised(): Promised;
  passes(limit: number): PassRecord[];
  pass(id: number): PassRecord | undefined;
  changes(service: string, limit: number): PassRecord[];
  history(service: string, limit: number): StepRecord[];
  plan(pass: number): StoredPlan | undefined;
  planKey(): string | undefined;
  accept(
    commit: string,
    at: number,
    files: readonly AcceptedFile[],
    nodeFile?: NodeFileRecord,
    named?: readonly string[],
    elsewhere?: readonly Elsewhere[],
    told?: Told,
  ): Outcome<undefined>;
  /** Those of which nothing is told yet. */
  untold(oids: readonly string[]): string[];
  recordEngine(engine: EngineIdentity): Outcome<undefined>;
  recordOrphan(orphan: OrphanRecord): Outcome<undefined>;
  /** Takes up in one transaction what a lost registry knew. */
  rebuild(rebuilt: Rebuilt): Outcome<undefined>;
  lease(leases: readonly Lease[]): Outcome<undefined>;
  releaseLeases(leases: readonly Lease[]): Outcome<undefined>;
  recordImage(image: Omit<ImageRecord, 'firstSeenAt'>, at: number): Outcome<undefined>;
  imageRemoved(reference: string): Outcome<undefined>;
  putRoutes(service: string, routes: readonly RouteRecord[]): Outcome<undefined>;
  removeRoutes(service: string, keys: readonly { hostname: string; port: number }[]): Outcome<undefined>;
  putRecords(records: readonly DnsRecord[]): Outcome<undefined>;
  removeRecords(records: readonly DnsRecord[]): Outcome<undefined>;
  recordApplied(applied: Applied): Outcome<undefined>;
  forgetService(service: string): Outcome<undefined>;
  recordFailure(failure: Omit<FailureRecord, 'count'>): Outcome<undefined>;
  clearFailure(service: string): Outcome<undefined>;
  /** A version that is being tried, or gave way. It ends with `recordApplied`; the failures so far are forgotten. */
  recordTrial(trial: Trial): Outcome<undefined>;
  /** The last lines of a version that is about to give way: kept as long as its trial. */
  recordPrinted(service: string, digest: string, printed: readonly Printed[]): Outcome<undefined>;
  /** Of versions that gave way, by service. */
  printed(): ReadonlyMap<string, readonly Printed[]>;
  /** The wall clock was set by so much: every trial keeps the time that it has left. */
  moveTrials(byMs: number): Outcome<undefined>;
  recordFlap(flap: FlapRecord): Outcome<undefined>;
  /** What people were told. Its methods may throw. */
  readonly notices: Notices;
  beginPass(pass: NewPass): Outcome<number>;
  endPass(pass: number, endedAt: number): Outcome<undefined>;
  storePlan(pass: number, plan: NewPlan): Outcome<undefined>;
  intend(pass: number, step: NewStep): Outcome<number>;
  conclude(step: number, end: StepEnd): Outcome<undefined>;
  /**
   * Is the file still the one that is open (G35)? One that was deleted is written again, one that was replaced is opened.
   * Asked at the beginning of every pass.
   */
  check(): Outcome<undefined>;
  /** A consistent copy of the whole registry, also while it is in use. The file must not exist. */
  snapshot(file: string): Outcome<undefined>;
  /** Where a damaged registry was set aside when this one was opened: what it knew is rebuilt from git and the labels. */
  readonly setAside?: string;
  close(): void;
}

/** Opens the registry, or says why not: another agent has it, it is from a newer version, its disk refuses. */
export function openRegistry(options: RegistryOptions): Outcome<Registry> {
  const { path, clock, log } = options;
  const opened = openFile(path, log, clock.now(), prove);
  if (opened.kind !== 'ok') return opened;
  let file = opened.value;
  let inode = inodeOf(path);
  let isDoubtful = false;
  const doubt = (): void => void (isDoubtful = true);
  const lookAtClock = clockWatch(options, (byMs) => current.moveTrials(byMs));
  const begun = (): ReturnType<typeof registryOn> =>
    onRightClock(registryOn(file, options, doubt), lookAtClock);
  let current = begun();
  const check = (): Outcome<undefined> => {
    const there = lookAtFile();
    return there.kind === 'ok' ? lookAtClock() : there;
  };
  const lookAtFile = (): Outcome<undefined> => {
    const now = inodeOf(path);
    if (now !== undefined && now === inode && !isDoubtful) {
      current.seal();
      return ok();
    }
    if (isDoubtful) log.error({ path }, 'the registry could not be read: its file is looked at again');
    else if (now === undefined) {
      const again = writtenAgain(file, options);
      if (again.kind !== 'ok') return again;
    } else log.error({ path }, 'the registry was replaced under the running agent: the new file is taken');
    const next = file.reopen();
    if (next.kind !== 'ok') return next;
    file = next.value;
    current = begun();
    inode = inodeOf(path);
    isDoubtful = false;
    return ok();
  };
  // Whoever holds the registry goes on holding it when its file has become another one.
  return ok(
    new Proxy<Registry>(
      { ...current, check },
      {
        get: (_own, name) => {
          if (name === 'check') return check;
          const member = Reflect.get(current, name) as unknown;
          return typeof member === 'function' ? doubting(member as Work, doubt) : member;
        },
      },
    ),
  );
}

type Work = (...values: unknown[]) => unknown;

/** Damage that came after the file was opened: this pass ends here, the next one looks at the file again (G31). */
function doubting(work: Work, doubt: () => void): Work {
  return (...values) => {
    try {
      return work(...values);
    } catch (error) {
      doubt();
      throw error;
    }
  };
}

/** Its number on the file system; undefined when it is gone. */
function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

function writtenAgain(file: RegistryFile, { path, log }: RegistryOptions): Outcome<undefined> {
  try {
    writeAgain(file.db, path);
    log.error({ path }, 'the registry was deleted under the running agent: it is written again as it was');
    return ok();
  } catch (error) {
    return failureOf(path, error);
  }
}

/** All statements can be made, and all promises be read. */
function prove(db: Database.Database): void {
  const tables = tablesOn(db, sealsOn(db));
  promisesOn(db, tables, acceptanceOn(db, tables)).promised();
  journalOn(db);
  noticesOn(db);
  printedOn(db, tables).read();
}

/** The registry on an open file; puts its journal in order first. */
export function registryOn(
  file: RegistryFile,
  options: RegistryOptions,
  doubt: () => void = () => undefined,
): Omit<Registry, 'check'> & { readonly seal: () => void } {
  const { path, clock, log } = options;
  const { db, setAside, close } = file;
  const seals = sealsOn(db);
  const tables = tablesOn(db, seals);
  const acceptance = acceptanceOn(db, tables);
  const promises = promisesOn(db, tables, acceptance);
  const vault = options.key === undefined ? undefined : vaultOf(options.key);
  const journal = journalOn(db, vault);
  const printed = printedOn(db, tables);
  const side = (): string => sideText({ ...acceptance.read(), ...keptOf(promises.promised()) });
  const { numbered, write, keep, seal } = writingTo({ path, log, seals, side, doubt });
  const prune = (): void => journal.prune({ ...(options.journal ?? JOURNAL), now: clock.now() });
  try {
    const open = journal.interrupt(clock.now());
    if (open > 0)
      log.warn({ steps: open }, 'the last agent ended in the middle of steps; the first pass looks again');
    promises.resumeTrials(clock.now());
    prune();
    if (file.isNew) begin(readSide(path), acceptance, promises);
    keep(() => undefined);
  } catch (error) {
    log.error({ why: messageOf(error) }, 'the journal could not be put in order');
  }
  return {
    ...readingOn(db, vault),
    promised: () => promises.promised(),
    accept: (commit, at, files, nodeFile, named, elsewhere, told) =>
      keep(() => {
        journal.tell(told?.commits ?? []);
        acceptance.accept(commit, at, files, nodeFile, named, elsewhere, told?.gone);
      }),
    recordEngine: (engine) => keep(() => acceptance.recordEngine(engine)),
    recordOrphan: (orphan) => keep(() => acceptance.recordOrphan(orphan)),
    rebuild: (rebuilt) => write(() => promises.rebuild(rebuilt)),
    lease: (leases) => write(() => promises.lease(leases)),
    releaseLeases: (leases) => write(() => promises.releaseLeases(leases)),
    recordImage: (image, at) => write(() => promises.recordImage(image, at)),
    imageRemoved: (reference) => write(() => promises.imageRemoved(reference)),
    putRoutes: (service, routes) => write(() => promises.putRoutes(service, routes)),
    removeRoutes: (service, keys) => write(() => promises.removeRoutes(service, keys)),
    recordApplied: (applied) => keep(() => promises.recordApplied(applied)),
    putRecords: (records) => keep(() => promises.putRecords(records)),
    removeRecords: (records) => keep(() => promises.removeRecords(records)),
    forgetService: (service) => keep(() => promises.forgetService(service)),
    recordFailure: (failure) => write(() => promises.recordFailure(failure)),
    clearFailure: (service) => write(() => promises.clearFailure(service)),
    recordTrial: (trial) => keep(() => promises.recordTrial(trial)),
    recordPrinted: (service, digest, lines) => write(() => printed.record(service, digest, lines)),
    printed: () => printed.read(),
    moveTrials: (byMs) => keep(() => promises.moveTrials(byMs)),
    recordFlap: (flap) => write(() => promises.recordFlap(flap)),
    notices: noticesOn(db),
    beginPass: (pass) => numbered(() => journal.beginPass(pass)),
    endPass: (pass, endedAt) =>
      write(() => {
        journal.endPass(pass, endedAt);
        // An agent may run for years without being opened again.
        if (pass % PRUNE_EVERY_PASSES === 0) prune();
      }),
    storePlan: (pass, plan) => write(() => journal.storePlan(pass, plan)),
    intend: (pass, step) => numbered(() => journal.intend(pass, step)),
    conclude: (step, end) => write(() => journal.conclude(step, end)),
    snapshot: (target) => write(() => void db.prepare('VACUUM INTO ?').run(target)),
    ...(setAside === undefined ? {} : { setAside }),
    seal,
    close: () => {
      if (db.open) seal();
      close();
    },
  };
}

function begin(side: Side | undefined, acceptance: Acceptance, promises: Promises): void {
  acceptance.begin(side);
  promises.putRecords(side?.records ?? []);
  for (const applied of side?.before ?? []) promises.recordApplied(applied);
  for (const { trial, applied } of side?.held ?? []) {
    promises.recordApplied(applied);
    promises.recordTrial(trial);
  }
  for (const trial of side?.gaveBack ?? []) promises.recordTrial(trial);
}
