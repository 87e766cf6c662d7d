import { expect } from 'chai';
import { openReader, readSafely, type Reader } from '../../../src/reading.ts';
import { resolve } from '../../../src/definitions/resolve.ts';
import { COMMIT, DEFAULTS, fileOf, good, hash, serviceText } from '../definitions/support.ts';

const ENTRY = new URL('../../support/stubbornworker.ts', import.meta.url);

describe('reading definitions on a thread of their own (G44, G45)', function () {
  this.timeout(300_000);
  let reader: Reader;
  before(() => (reader = openReader(ENTRY, 500)));
  after(() => reader.close());

  const files = (all: Readonly<Record<string, string>>): ReturnType<typeof fileOf>[] =>
    Object.entries(all).map(([path, text]) => fileOf(path, text));

  it('G17 a file on which the parser loops for ever holds back itself, at its last good state, and nothing else (L33)', async () => {
    const lastGood = good({ 'services/b.toml': serviceText('b') });
    const readable = await readSafely(
      {
        files: files({
          'services/a.toml': serviceText('a'),
          'services/b.toml': `${serviceText('b')}# loop\n`,
          'services/c.toml': `${serviceText('c')}# loop\n`,
          'services/d.toml': serviceText('d'),
          'services/e.toml': serviceText('e', 'user = "0:0:0"'),
        }),
        refusedFiles: [],
        lastGood,
      },
      '',
      reader,
    );
    if (readable.kind !== 'ok') throw new Error(readable.why);
    const { desired } = resolve({
      ...readable.value,
      commit: COMMIT,
      node: 'rift',
      defaults: DEFAULTS,
      hash,
    });
    expect(desired.services.map(({ service, heldBack }) => [service.name, heldBack])).to.deep.equal([
      ['a', false],
      ['b', true],
      ['d', false],
    ]);
    expect(desired.refused).to.deep.equal(['c', 'e']);
    expect(desired.unreadable).to.equal(true);
    expect(
      desired.issues.map(({ file, line, column, rule, message, service }) => [
        `${file}:${line}:${column}`,
        rule,
        message,
        service,
      ]),
    ).to.deep.equal([
      ['services/b.toml:1:1', 'file/deadline', 'it is not read within 0.5 s', 'b'],
      ['services/c.toml:1:1', 'file/deadline', 'it is not read within 0.5 s', 'c'],
      ['services/e.toml:7:8', 'component/user', '"0:0:0" is no user', 'e'],
    ]);
  });

  it('G17 one that takes all memory, or on which the parser throws, too', async () => {
    const read = await reader.read(
      files({
        'services/eat.toml': `${serviceText('eat')}# eat\n`,
        'nodes/rift.toml': '# throw\n',
        'services/well.toml': serviceText('well'),
      }),
      '',
    );
    if (read.kind !== 'ok') throw new Error(read.why);
    const why = [...read.value.values()];
    expect(why).to.have.length(2);
    expect(why[0]).to.match(/memory|heap|^it is not read within/i);
    expect(why[1]).to.equal('it cannot be read: a defect of the parser');
  });

  it('what was read on the thread is what is read here: drafts, findings and their places', async () => {
    const texts = {
      'services/a.toml': serviceText('a', 'env = ["A=1", "1=2"]\nuser = "0:0:0"'),
      'services/b.toml': serviceText('b', 'cmd = ["x"]\nvolumes = ["/srv/b:/b"]'),
      'services/c.toml': '__proto__ = 1\nx = 1979-05-27\ny = inf\nname = 2',
      'services/d.toml': 'a = [',
    };
    const input = { refusedFiles: [], lastGood: new Map() };
    const common = { commit: COMMIT, node: 'rift', defaults: DEFAULTS, hash };
    const readable = await readSafely({ ...input, files: files(texts) }, '', reader);
    if (readable.kind !== 'ok') throw new Error(readable.why);
    expect(resolve({ ...common, ...readable.value })).to.deep.equal(
      resolve({ ...common, ...input, files: files(texts) }),
    );
  });

  it('gives up after eight files that never end, and holds back what was not tried', async () => {
    const poisoned = Object.fromEntries(
      Array.from({ length: 9 }, (_, at) => [`services/p${at}.toml`, `${serviceText(`p${at}`)}# loop\n`]),
    );
    const quick = openReader(ENTRY, 100);
    const read = await quick.read(files({ ...poisoned, 'services/z.toml': serviceText('z') }), '');
    await quick.close();
    if (read.kind !== 'ok') throw new Error(read.why);
    expect(read.value.size).to.equal(10);
    expect([...read.value.values()].at(-1)).to.contain('too many before it did not end');
  });

  it('no thread: nothing is read, and nothing is taken for bad', async () => {
    const broken = openReader(new URL('./missing.ts', import.meta.url));
    const read = await broken.read(files({ 'services/a.toml': serviceText('a') }), '');
    await broken.close();
    expect(read).to.deep.include({ kind: 'retry' });
  });
});
