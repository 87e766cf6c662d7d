import { expect } from 'chai';
import fc from 'fast-check';
import { parseToml, stringifyToml } from '../../../src/base/toml.ts';
import { indexToml, placeOf, type TomlPath, type TomlSpan } from '../../../src/base/tomlindex.ts';

interface Written {
  readonly text: string;
  readonly spans: readonly { readonly path: TomlPath; readonly span: TomlSpan }[];
}

type Leaf = { readonly kind: 'leaf'; readonly text: string };
type Node =
  | Leaf
  | { readonly kind: 'list'; readonly items: readonly Node[]; readonly style: number }
  | { readonly kind: 'inline'; readonly pairs: readonly (readonly [string, Node])[] }
  | { readonly kind: 'table'; readonly pairs: readonly (readonly [string, Node])[] }
  | { readonly kind: 'dotted'; readonly pairs: readonly (readonly [string, Leaf])[] }
  | { readonly kind: 'tables'; readonly items: readonly (readonly (readonly [string, Node])[])[] };

/** Writes a document and notes where it puts each key and value. */
class Writer {
  text = '';
  readonly spans: { path: TomlPath; span: TomlSpan }[] = [];
  readonly #newline: string;
  readonly #trivia: readonly string[];
  #turn = 0;

  constructor(newline: string, trivia: readonly string[]) {
    this.#newline = newline;
    this.#trivia = trivia;
  }

  document(pairs: readonly (readonly [string, Node])[], path: TomlPath = []): void {
    const isHeader = (node: Node): boolean => node.kind === 'table' || node.kind === 'tables';
    for (const [key, node] of pairs) if (!isHeader(node)) this.#pair(key, node, path);
    for (const [key, node] of pairs) {
      if (node.kind === 'table') {
        this.#header(path, key, '[', ']');
        this.document(node.pairs, [...path, key]);
      }
      if (node.kind !== 'tables') continue;
      node.items.forEach((item, at) => {
        this.#header(path, key, '[[', ']]');
        const span = this.spans.at(-1)?.span ?? { key: 0, value: 0, end: 0 };
        if (at > 0) this.spans.pop();
        this.spans.push({ path: [...path, key, at], span });
        this.document(item, [...path, key, at]);
      });
    }
  }

  #header(path: TomlPath, key: string, open: string, close: string): void {
    this.#blank();
    this.text += open;
    for (const part of path) if (typeof part === 'string') this.text += `${written(part)} . `;
    const start = this.text.length;
    this.text += written(key);
    this.spans.push({ path: [...path, key], span: { key: start, value: start, end: this.text.length } });
    this.text += ` ${close}`;
    this.#line();
  }

  #pair(key: string, node: Node, path: TomlPath): void {
    this.#blank();
    if (node.kind === 'dotted') {
      for (const [second, leaf] of node.pairs) {
        const first = this.text.length;
        this.text += written(key);
        if (second === node.pairs[0]?.[0]) {
          this.spans.push({
            path: [...path, key],
            span: { key: first, value: first, end: this.text.length },
          });
        }
        this.text += '. ';
        this.#assign(second, leaf, [...path, key]);
        this.#line();
      }
      return;
    }
    this.#assign(key, node, path);
    this.#line();
  }

  #assign(key: string, node: Node, path: TomlPath): void {
    const start = this.text.length;
    this.text += `${written(key)} =\t`;
    const value = this.text.length;
    this.#value(node, [...path, key]);
    this.spans.push({ path: [...path, key], span: { key: start, value, end: this.text.length } });
  }

  #value(node: Node, path: TomlPath): void {
    if (node.kind === 'leaf') this.text += node.text;
    else if (node.kind === 'list') {
      this.text += '[';
      node.items.forEach((item, at) => {
        this.text += node.style > 0 ? `${this.#newline}  # , ] "` : ' ';
        if (node.style > 0) this.text += `${this.#newline}\t`;
        const start = this.text.length;
        this.#value(item, [...path, at]);
        this.spans.push({ path: [...path, at], span: { key: start, value: start, end: this.text.length } });
        if (at < node.items.length - 1 || node.style > 1) this.text += ' ,';
      });
      this.text += ' ]';
    } else if (node.kind === 'inline') {
      this.text += '{ ';
      node.pairs.forEach(([key, part], at) => {
        this.#assign(key, part, path);
        if (at < node.pairs.length - 1) this.text += ', ';
      });
      this.text += ' }';
    }
  }

  #blank(): void {
    this.text += this.#trivia[this.#turn % this.#trivia.length] ?? '';
    this.#turn += 1;
  }

  #line(): void {
    this.text += this.#newline;
  }
}

function written(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key).replaceAll('\x7f', '\\u007F');
}

const LEAVES = [
  '1',
  '0xff',
  '1_000.5e3',
  'inf',
  'true',
  '1979-05-27T07:32:00Z',
  '1979-05-27 07:32:00',
  '07:32:00',
  '"plain"',
  '"esc \\" \\u00e9 ] } , #"',
  "'lit \\ # \" '",
  '"""\nmany\n lines \\""" = [x] ""\n"""',
  "'''\n[no.header]\nk = 'v' ''\n'''",
  '""',
  '""""quoted""""',
];

const key = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9_-]{1,8}$/),
  fc.string({ minLength: 0, maxLength: 6 }),
  fc.constantFrom('a.b', '"', '\\', '[x]', '#', '=', ' ', 'é', '𝔘', '__proto__', 'constructor'),
);
const leaf: fc.Arbitrary<Leaf> = fc.constantFrom(...LEAVES).map((text) => ({ kind: 'leaf', text }));
const unique = <T>(value: fc.Arbitrary<T>, maxLength: number): fc.Arbitrary<[string, T][]> =>
  fc.uniqueArray(fc.tuple(key, value), { maxLength, selector: ([name]) => name });
const { pairs } = fc.letrec<{ value: Node; pairs: [string, Node][] }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.record({
      kind: fc.constant('list' as const),
      items: fc.array(tie('value'), { maxLength: 4 }),
      style: fc.nat(2),
    }),
    fc.record({ kind: fc.constant('inline' as const), pairs: unique(tie('value'), 3) }),
  ),
  pairs: unique(
    fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      tie('value'),
      fc.record({ kind: fc.constant('table' as const), pairs: tie('pairs') }),
      fc.record({
        kind: fc.constant('dotted' as const),
        pairs: unique(leaf, 3).filter((list) => list.length > 0),
      }),
      fc.record({
        kind: fc.constant('tables' as const),
        items: fc.array(tie('pairs'), { minLength: 1, maxLength: 3 }),
      }),
    ),
    4,
  ),
}));

const documents = fc
  .record({
    pairs,
    crlf: fc.boolean(),
    bom: fc.boolean(),
    trivia: fc.array(fc.constantFrom('', ' ', '\t', '\n', '# [c] = "x\n', '\n\n  # é\n'), {
      minLength: 1,
      maxLength: 3,
    }),
  })
  .map(({ pairs: root, crlf, bom, trivia }): Written => {
    const writer = new Writer(crlf ? '\r\n' : '\n', trivia);
    if (bom) writer.text += '\ufeff';
    writer.document(root);
    return writer;
  });

function pathsOf(found: unknown, path: TomlPath = []): TomlPath[] {
  if (found === null || typeof found !== 'object' || found instanceof Date) return [path];
  const entries: [string | number, unknown][] = Array.isArray(found)
    ? [...found.entries()]
    : Object.entries(found);
  return [path, ...entries.flatMap(([part, inner]) => pathsOf(inner, [...path, part]))];
}

describe('places of keys and values in TOML', () => {
  it('are where the document was written, for documents of every kind', () => {
    fc.assert(
      fc.property(documents, ({ text, spans }) => {
        expect(parseToml(text).ok, text).to.equal(true);
        const index = indexToml(text);
        for (const { path, span } of spans)
          expect(index.find(path), `${JSON.stringify(path)} in\n${text}`).to.deep.equal(span);
      }),
      { numRuns: 500 },
    );
  });

  it('are there for every path that the parser finds, and no others', () => {
    fc.assert(
      fc.property(documents, ({ text, spans }) => {
        const parsed = parseToml(text);
        if (!parsed.ok) throw new Error(parsed.message);
        const index = indexToml(text);
        const paths = pathsOf(parsed.value).filter((path) => path.length > 0);
        for (const path of paths) expect(index.find(path), JSON.stringify(path)).to.not.equal(undefined);
        const known = new Set(paths.map((path) => JSON.stringify(path)));
        expect(spans.filter(({ path }) => !known.has(JSON.stringify(path)))).to.deep.equal([]);
      }),
      { numRuns: 300 },
    );
  });

  it('hold the text of the value: read again, it is the value', () => {
    const json = fc.dictionary(
      key,
      fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.string())),
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(json, (table) => {
        const text = stringifyToml({ table });
        const index = indexToml(text);
        for (const [name, value] of Object.entries(table)) {
          const span = index.find(['table', name]);
          const again = parseToml(`x = ${text.slice(span?.value, span?.end)}`);
          expect(again.ok && (again.value as { x: unknown }).x).to.deep.equal(value);
        }
      }),
    );
  });

  it('go through arrays of tables to the element that a later header means', () => {
    const text = '[[a]]\nx = 1\n[[a.b]]\ny = 2\n[[a.b]]\ny = 3\n[a.c]\nz = 4\n[[a]]\n[a.c]\nz = 5\n';
    const index = indexToml(text);
    const lineOf = (...path: TomlPath): number => placeOf(text, index.find(path)?.key ?? -1).line;
    expect(lineOf('a', 0, 'x')).to.equal(2);
    expect(lineOf('a', 0, 'b', 1, 'y')).to.equal(6);
    expect(lineOf('a', 0, 'c', 'z')).to.equal(8);
    expect(lineOf('a', 1)).to.equal(9);
    expect(lineOf('a', 1, 'c', 'z')).to.equal(11);
  });

  it('are told as line and column, both from 1', () => {
    expect(placeOf('ab\ncd\n', 0)).to.deep.equal({ line: 1, column: 1 });
    expect(placeOf('ab\ncd\n', 4)).to.deep.equal({ line: 2, column: 2 });
    expect(placeOf('ab\r\ncd', 5)).to.deep.equal({ line: 2, column: 2 });
    expect(placeOf('ab\ncd\n', 6)).to.deep.equal({ line: 3, column: 1 });
  });

  it('are found in no more time than the text is long: a key of 60,000 parts, 50,000 tables', () => {
    const begun = process.cpuUsage().user;
    indexToml(`${'a.'.repeat(60_000)}a = 1`);
    indexToml('[[a]]\n'.repeat(50_000));
    indexToml(`a = [${'1,'.repeat(100_000)}]`);
    expect((process.cpuUsage().user - begun) / 1_000).to.be.below(1_000);
  });
});
