import type { DefinitionFile } from '../source/types.ts';
import { isRemembered, readDraft, rememberDraft, type Draft } from './draft.ts';
import { locate } from './findings.ts';
import { kindOf } from './files.ts';
import { readNode, readRemovals } from './nodes.ts';
import type { Defaults } from './types.ts';

/** What reading a file ahead gives: the draft, when it is the file of a service. */
export interface ReadAhead {
  readonly draft?: Draft;
}

/** Nothing of a node's file depends on them but what they fill in. */
const ANY: Defaults = { network: 'none', restart: 'no', hostnameSuffix: 'example' };

/**
 * Everything that `resolve` does with the bytes of one file, so that it can be tried where it may be killed: a parser
 * that loops for ever holds back one file then, not the agent (G44, L33).
 */
export function readAhead(file: DefinitionFile, root: string): ReadAhead {
  const kind = kindOf(file.path, root);
  const text = (): string => new TextDecoder('utf-8').decode(file.bytes);
  if (kind === 'service') {
    const draft = readDraft(file);
    if (draft.findings.length > 0) locate(file.path, text(), draft.findings, undefined);
    return { draft };
  }
  if (kind !== undefined) {
    const { findings } = kind === 'node' ? readNode(file, 'node', ANY, undefined) : readRemovals(file);
    if (findings.length > 0) locate(file.path, text(), findings, undefined);
  }
  return {};
}

/** The files that were not read yet, on any thread. */
export function unreadOf(files: readonly DefinitionFile[]): DefinitionFile[] {
  return files.filter((file) => !isRemembered(file) && !tried.has(file.bytes));
}

/** Takes over what was read ahead of this file. */
export function takeOver(file: DefinitionFile, { draft }: ReadAhead): void {
  tried.add(file.bytes);
  if (draft !== undefined) rememberDraft({ ...draft, file });
}

const tried = new WeakSet<Uint8Array>();
