import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { v } from '../base/shape.ts';
import type { Applied, DnsRecord, Promised, Trial } from './types.ts';

/** What neither git nor the labels of containers can tell again when the registry is lost. */
export type Side = Pick<Promised, 'accepted' | 'engine' | 'named' | 'orphans' | 'nodeFile' | 'elsewhere'> & {
  readonly files: Promised['files'];
  /** What we put into DNS: nobody lists a name server, so that under names that git has no longer it is found by these alone (L08). */
  readonly records?: readonly DnsRecord[];
  /** Versions that are held back, each with the last proved one that is in force instead (L32). */
  readonly held?: readonly { readonly trial: Trial; readonly applied: Applied }[];
  /** Versions that are held back and have none before them: they gave back the place that they took (L27). */
  readonly gaveBack?: readonly Trial[];
  /** What is in force while git has another version that waits, or is being tried: the one to return to (L07). */
  readonly before?: readonly Applied[];
};

const FORMAT = 1;

const text = v.string();
const schema = v.object({
  format: v.literal(FORMAT),
  accepted: v.optional(v.object({ commit: text, at: v.number() })),
  engine: v.optional(v.object({ id: text, storageRoot: text })),
  named: v.optional(v.array(text)),
  orphans: v.optional(v.array(v.object({ service: text, commit: text, seenAt: v.number() }))),
  nodeFile: v.optional(v.object({ file: text, oid: text, commit: text })),
  elsewhere: v.optional(v.array(v.object({ service: text, node: text }))),
  files: v.array(
    v.object({
      ...{ service: text, file: text, oid: text, commit: text },
      ...{ prune: v.optional(v.literal(false)), goneIn: v.optional(text) },
    }),
  ),
  records: v.optional(v.array(v.object({ service: text, hostname: text, addresses: v.array(text) }))),
  // Our own words, read back by the version that wrote them or a later one: the definitions in them are taken as they are.
  held: v.optional(v.array(v.object({ trial: v.looseObject({}), applied: v.looseObject({}) }))),
  gaveBack: v.optional(v.array(v.looseObject({}))),
  before: v.optional(v.array(v.looseObject({}))),
});

/** Beside the database, so that one `rm registry.db*` does not take both by accident. */
function sidePath(path: string): string {
  return join(dirname(path), `kept-${basename(path).replace(/\.db$/, '')}.json`);
}

export function sideText(side: Side): string {
  const { accepted, engine, named, orphans, nodeFile, elsewhere, files, records, held, gaveBack, before } =
    side;
  return `${JSON.stringify({ format: FORMAT, accepted, engine, named, orphans, nodeFile, elsewhere, files, records, held, gaveBack, before }, null, 1)}\n`;
}

/** Undefined when there is none, or when it is not whole: it is then as good as lost. */
export function readSide(path: string): Side | undefined {
  try {
    const parsed = v.parse(schema, JSON.parse(readFileSync(sidePath(path), 'utf8')));
    // Absent keys stay absent: undefined is another thing to whoever compares.
    return JSON.parse(JSON.stringify(parsed)) as Side;
  } catch {
    return undefined;
  }
}

/** Whole or not at all, 0600: temporary file, fsync, rename, fsync of the directory. Throws the error of the file system. */
export function writeSide(path: string, content: string): void {
  const target = sidePath(path);
  const temporary = `${target}.tmp`;
  rmSync(temporary, { force: true });
  const file = openSync(temporary, 'wx', 0o600);
  try {
    writeSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, target);
  const directory = openSync(dirname(target), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** What is held back, with what is in force instead: without that, the bad version would be the only one that is known. */
export function keptOf({
  trials,
  applied,
  records,
  files,
}: Promised): Pick<Side, 'held' | 'records' | 'gaveBack' | 'before'> {
  const all = trials.filter(({ phase }) => phase === 'held back');
  const held = all.flatMap((trial) => {
    const before = applied.find((entry) => entry.service.name === trial.service);
    if (before === undefined) return [];
    return [{ trial, applied: withoutSlots(before) }];
  });
  const accepted = new Map(files.map(({ service, oid }) => [service, oid]));
  const before = applied
    .filter(({ service: { name }, oid }) => accepted.has(name) && accepted.get(name) !== oid)
    .filter((entry) => held.every(({ trial }) => trial.service !== entry.service.name))
    .map(withoutSlots);
  const gaveBack = all.filter((trial) => held.every((one) => one.trial !== trial));
  return {
    ...(records === undefined ? {} : { records }),
    ...(held.length === 0 ? {} : { held }),
    ...(gaveBack.length === 0 ? {} : { gaveBack }),
    ...(before.length === 0 ? {} : { before }),
  };
}

/** The leases are taken up from the labels, and stand in slot a then. */
function withoutSlots({ service, state, file, oid, digest, commit, appliedAt }: Applied): Applied {
  return { service, state, file, oid, digest, commit, appliedAt };
}
