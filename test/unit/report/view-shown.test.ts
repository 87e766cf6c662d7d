import { expect } from 'chai';
import { Secret } from '../../../src/base/secret.ts';
import { makeView } from '../../../src/report/view.ts';
import { renderPage } from '../../../src/dashboard/page.tsx';
import { CHOOSING, poisoned } from '../../support/poison.ts';
import { useView } from './view.kit.ts';

describe('what the view shows of texts that others wrote', () => {
  const { at, of } = useView();

  it('G10 shows the last lines of a build that is under way, secrets masked, and of none that is done', () => {
    const [paste = ''] = of('paste').desired?.images ?? [];
    const secret = new Secret('hunter2-of-the-build');
    const log = [...Array.from({ length: 300 }, (_, at) => `line ${at}`), `token ${secret.reveal()}`];
    const seen = makeView({ ...at.input, buildLog: () => log });
    const [build] = of('paste', seen).builds ?? [];
    expect(build?.reference).to.equal(paste);
    expect(build?.lines.length).to.equal(200);
    expect(build?.lines.at(-1)).to.equal('token •••');
    expect(of('hello', seen)).to.not.have.property('builds');
    expect(renderPage(seen, { now: 0, refresh: false })).to.contain('line 299\ntoken •••');
  });

  it('G10 has names of environment variables only: no value and no hash, in no patch', () => {
    const json = JSON.stringify(at.view);
    expect(json).to.contain('/components/web/env/DATABASE_URL');
    for (const hash of ['0123456789abcdef', 'fedcba9876543210', '1111111111111111'])
      expect(json).to.not.contain(hash);
  });

  it('G10 drops hashes from a patch that adds a whole component, or its whole environment', () => {
    const patch = [
      { op: 'add', path: '/components/web', value: { image: 'i', env: { TOKEN: 'cafecafe' } } },
      { op: 'replace', path: '/components/web/env', value: { TOKEN: 'cafecafe' } },
      { op: 'add', path: '/components/web/env/TOKEN', value: 'cafecafe' },
      { op: 'replace', path: '/components', value: [{ env: [{ name: 'TOKEN', hash: 'cafecafe' }] }] },
      { op: 'replace', path: '/active', value: false },
    ] as const;
    const step = {
      id: 1,
      pass: 1,
      service: 'hello',
      kind: 'k',
      subject: 's',
      startedAt: 1,
      because: { summary: 'x', patch },
    };
    const passes = [{ id: 1, startedAt: 1, commit: 'c', trigger: 't', steps: [step] }];
    const shown = makeView({ ...at.input, passes, history: () => step });
    expect(JSON.stringify(shown)).to.not.contain('cafecafe');
    expect(shown.passes[0]?.steps[0]?.because.patch).to.deep.equal([
      { op: 'add', path: '/components/web', value: { image: 'i', env: ['TOKEN'] } },
      { op: 'replace', path: '/components/web/env', value: ['TOKEN'] },
      { op: 'add', path: '/components/web/env/TOKEN' },
      { op: 'replace', path: '/components', value: [{ env: ['TOKEN'] }] },
      { op: 'replace', path: '/active', value: false },
    ]);
  });

  it('G10 masks a secret that got into any free text, and drops the user of a url', () => {
    const secret = 'pl4nted-S3cret';
    new Secret(secret);
    const shown = makeView(
      poisoned(
        { ...at.input, sourceUrl: 'https://user:word@git.example.net/r.git', idle: { why: 'w', hint: 'h' } },
        ` ${secret}`,
        [
          ...CHOOSING,
          'commit',
          'trigger',
          'author',
          'node',
          'version',
          'sourceUrl',
          'subject',
          'rule',
          'image',
          'proxyDriver',
          'storageRoot',
          'oid',
          'name',
          'path',
          'tag',
          'value',
          'backend',
        ],
      ),
    );
    const texts: string[] = [];
    const collect = (value: unknown, key: string): void => {
      if (typeof value === 'string' && value.includes(secret)) texts.push(`${key}: ${value}`);
      else if (value !== null && typeof value === 'object')
        for (const [name, part] of Object.entries(value)) collect(part, name);
    };
    collect(shown, '');
    expect(texts.filter((text) => /^(why|hint|message|summary|text): /.test(text)).join('\n')).to.equal('');
    expect(shown.source.url).to.equal('https://git.example.net/r.git');
  });

  it('G53 makes control characters and those that turn the direction visible in every text', () => {
    const text = '\u001b[2J\r\n\u202e\u2066\u0000\u{e0041}\ud800';
    const json = JSON.stringify(makeView(poisoned(at.input, text, CHOOSING)));
    JSON.parse(json, (key, value: unknown) => {
      if (typeof value === 'string') expect(value, key).to.not.match(/[\p{Cc}\p{Cf}\p{Cs}]/u);
      return value;
    });
    expect(json).to.contain(String.raw`\\u001b[2J\\u000d\\n\\u202e\\u2066\\u0000\\u{e0041}\\ud800`);
  });
});
