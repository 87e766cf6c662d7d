import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { init } from 'isomorphic-git';
import { writeFileAtomic } from '../files.ts';
import { isOid } from './objects.ts';
import { openReader, type GitReader } from './reader.ts';

/** One copy of a remote in a directory of its own. A mirror is a cache: it is replaced whole, never mended. */
export interface Generation {
  readonly name: string;
  readonly gitdir: string;
  readonly reader: GitReader;
}

const CURRENT = 'current';

/** The copy in use, if there is a usable one. What else lies about is what a crash left: removed. */
export async function openGeneration(dir: string): Promise<Generation | undefined> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const name = (await readFile(join(dir, CURRENT), 'utf8').catch(() => '')).trim();
  const usable = /^g-[0-9a-f]{12}$/.test(name) && (await isGitDir(join(dir, name)));
  await removeOthers(dir, usable ? name : undefined);
  return usable ? generationAt(dir, name) : undefined;
}

export async function newGeneration(dir: string): Promise<Generation> {
  const name = `g-${randomBytes(6).toString('hex')}`;
  const gitdir = join(dir, name);
  await mkdir(gitdir, { recursive: true, mode: 0o700 });
  await init({ fs, gitdir, dir: gitdir, bare: true, defaultBranch: 'main' });
  return generationAt(dir, name);
}

/** From now on this copy is the one; the others go. */
export async function adopt(dir: string, generation: Generation): Promise<void> {
  await writeFileAtomic(join(dir, CURRENT), `${generation.name}\n`);
  await removeOthers(dir, generation.name);
}

export async function discard(generation: Generation): Promise<void> {
  await rm(generation.gitdir, { recursive: true, force: true });
}

export async function listPacks(gitdir: string): Promise<string[]> {
  return (await readdir(join(gitdir, 'objects', 'pack')).catch(() => [])).filter((name) =>
    name.endsWith('.pack'),
  );
}

/** Removes what a broken-off fetch left: every pack that was not there before, packs without index, lock files. */
export async function removeLeftovers(gitdir: string, before: readonly string[]): Promise<void> {
  const folder = join(gitdir, 'objects', 'pack');
  const names = await readdir(folder).catch(() => []);
  const good = new Set(before.map((name) => name.replace(/\.pack$/, '')));
  const bad = names.filter((name) => !good.has(name.replace(/\.(pack|idx|rev)$/, '')));
  const locks = ['shallow.lock', 'packed-refs.lock', 'config.lock', 'HEAD.lock', 'refs/mc/incoming.lock'];
  await Promise.all([
    ...bad.map((name) => rm(join(folder, name), { force: true })),
    ...locks.map((name) => rm(join(gitdir, name), { force: true })),
  ]);
}

/** Our own refs: commits that were seen to be whole. The tracking refs of the libraries are never trusted. */
export async function writeMark(gitdir: string, name: string, oid: string): Promise<void> {
  const path = join(gitdir, 'refs', name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFileAtomic(path, `${oid}\n`, 0o644);
}

export async function readMark(gitdir: string, name: string): Promise<string | undefined> {
  const oid = (await readFile(join(gitdir, 'refs', name), 'utf8').catch(() => '')).trim();
  return isOid(oid) ? oid : undefined;
}

function generationAt(dir: string, name: string): Generation {
  const gitdir = join(dir, name);
  return { name, gitdir, reader: openReader(gitdir) };
}

async function isGitDir(gitdir: string): Promise<boolean> {
  const parts = ['HEAD', 'config', 'objects/pack'].map((part) => stat(join(gitdir, part)));
  return Promise.all(parts).then(
    () => true,
    () => false,
  );
}

async function removeOthers(dir: string, keep: string | undefined): Promise<void> {
  const names = (await readdir(dir)).filter((name) => /^g-[0-9a-f]{12}$/.test(name) && name !== keep);
  await Promise.all(
    names.map((name) => rm(join(dir, name), { recursive: true, force: true, maxRetries: 3 })),
  );
}
