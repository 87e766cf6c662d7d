import { nearest } from '../base/suggest.ts';
import { finding, shownPath, type Finding } from './findings.ts';

const PLACES = ['services', 'nodes'] as const;

/**
 * What is said of a file that is read by nobody although its name looks meant as a definition; undefined for all others (a
 * README, the files of a forge). `inside`: its path below the folder of the definitions, `prefix`: that folder.
 */
export function misplaced(inside: string, prefix: string): Finding | undefined {
  const right = rightPlace(inside);
  if (right === undefined || right === inside) return undefined;
  const hint = `Did you mean ${shownPath(prefix + right)}? What is no definition is better kept elsewhere.`;
  return finding('file/ignored', [], 'nothing reads this file', hint);
}

/** Is the name of a folder, beside those that are read, so near to one of them that its files are worth a look? */
export function looksMeant(folder: string): boolean {
  return placeOf(folder) !== undefined;
}

function rightPlace(inside: string): string | undefined {
  const parts = inside.split('/');
  const [top = ''] = parts;
  const base = parts.at(-1) ?? '';
  if (parts.length === 1) {
    const [stem = '', end = ''] = base.toLowerCase().split('.');
    if (end !== 'toml' && end !== 'tml') return undefined;
    if (nearest(stem, ['removals']) !== undefined) return 'removals.toml';
    if (stem === 'node' || stem === 'nodes') return 'nodes/<node>.toml';
    return stem === 'service' || stem === 'services' ? 'services/<service>.toml' : undefined;
  }
  const place = placeOf(top);
  if (place === undefined || !/\.(?:toml|tml|tolm|ya?ml)$/i.test(base)) return undefined;
  const name = base.replace(/\.[^.]*$/, '.toml');
  return place === 'nodes' ? `nodes/${name}` : ['services', ...parts.slice(1, -1), name].join('/');
}

function placeOf(folder: string): string | undefined {
  return nearest(folder, PLACES);
}
