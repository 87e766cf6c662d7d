import { readFile } from 'node:fs/promises';
import { httpRequest } from '../base/http.ts';
import { blocked, messageOf, ok, retry, type Outcome } from '../base/outcome.ts';
import type { LastGood } from '../definitions/resolve.ts';
import { STATE_FORMAT, type NodeState } from '../report/state.ts';
import { findRepository } from './repository.ts';

const MAX_STATE_BYTES = 64 * 1024 * 1024;
const DEADLINE_MS = 10_000;

/** What `--state` names: the file or the address of a node's state. `retry`: the agent did not answer; `blocked`: it is no state. */
export async function readState(from: string): Promise<Outcome<NodeState>> {
  const isUrl = /^https?:\/\//.test(from);
  let text: string;
  try {
    text = isUrl ? await download(from) : await readFile(from, 'utf8');
  } catch (error) {
    const why = `the state cannot be read: ${messageOf(error)}`;
    const hint = 'Name the address of an agent, or a file with what it serves at /api/v1/state.';
    return isUrl ? retry(why, hint) : blocked(why, hint);
  }
  const state = parsed(text);
  if (state?.format === STATE_FORMAT) return ok(state as NodeState);
  return blocked(
    `${from} is no state of format ${STATE_FORMAT}`,
    'Save what the agent serves at /api/v1/state, from an agent of this version.',
  );
}

/** 0 good, 1 findings, 2 usage, 3 could not reach the agent. */
export function exitCodeOf(failure: { readonly kind: string }): number {
  return failure.kind === 'retry' ? 3 : 2;
}

/** The accepted files of the node, from the git repository that the directory belongs to, as far as it has them. */
export async function lastGood(
  dir: string,
  state: NodeState,
): Promise<{ readonly found: Map<string, LastGood>; readonly missing: number }> {
  const { files, nodeFile } = state.promised;
  const wanted = nodeFile === undefined ? files : [...files, nodeFile];
  const found = new Map<string, LastGood>();
  const repository = await findRepository(dir);
  // Without a repository nothing is known of what was accepted before, and whoever asks says so.
  if (repository.kind === 'ok') {
    for (const { file, oid, commit } of wanted) {
      const bytes = await repository.value.blob(oid);
      if (bytes !== undefined) found.set(file, { file: { path: file, oid, bytes }, commit });
    }
  }
  return { found, missing: wanted.length - found.size };
}

function parsed(text: string): Partial<NodeState> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === 'object' ? value : undefined;
  } catch {
    return undefined;
  }
}

async function download(from: string): Promise<string> {
  const url = new URL(from);
  if (url.pathname === '/') url.pathname = '/api/v1/state';
  const answer = await httpRequest({
    method: 'GET',
    url: url.href,
    deadlineMs: DEADLINE_MS,
    maxBytes: MAX_STATE_BYTES,
  });
  if (answer.status !== 200) throw new Error(`${url.host} answered ${answer.status}`);
  return Buffer.from(answer.body).toString('utf8');
}
