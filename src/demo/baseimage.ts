import { spawn } from 'node:child_process';
import { cp, mkdir, realpath, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Engine } from '../node/engine/engine.ts';
import { run } from './process.ts';

/**
 * Builds the base image of the demo's services from this machine's own `node` and the libraries it is linked with:
 * nothing is pulled from anywhere. `reference` is local to the engine.
 */
export async function buildBaseImage(
  engine: Engine,
  reference: string,
  directory: string,
  label: string,
): Promise<void> {
  const root = join(directory, 'rootfs');
  const node = await realpath(process.execPath);
  await place(node, join(root, 'usr/bin/node'));
  for (const library of await librariesOf(node)) await place(library, join(root, library));
  await writeFile(join(directory, 'Dockerfile'), 'FROM scratch\nCOPY rootfs /\n');
  const context = spawn('tar', ['-C', directory, '-c', 'Dockerfile', 'rootfs'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const built = await engine.buildImage(context.stdout, {
    reference,
    dockerfile: 'Dockerfile',
    buildArgs: {},
    labels: { 'net.metacircular.gitops.demo': label },
    signal: AbortSignal.timeout(120_000),
    onProgress: () => undefined,
  });
  if (built.kind !== 'ok') throw new Error(`the base image could not be built: ${built.why}`);
}

async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await cp(from, to, { dereference: true });
}

/** The shared libraries that `ldd` names, and the loader; none for a static binary. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await run('ldd', [program]).catch(() => ({ stdout: '' }));
  return stdout.split('\n').flatMap((line) => {
    const path = /(?:=>\s*)?(\/\S+)\s+\(0x/.exec(line)?.[1];
    return path === undefined ? [] : [path];
  });
}
