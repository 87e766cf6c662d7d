import { expect } from 'chai';
import type { Preview, ServicePreview } from '../../../src/report/preview.ts';
import { formatPreview, markdownPreview } from '../../../src/report/previewtext.ts';

const NOTHING = { added: [], removed: [] };

function servicePreview(name: string, change: Partial<ServicePreview> = {}): ServicePreview {
  return {
    name,
    action: 'replace',
    because: 'components/web/image changed → v2',
    patch: [{ op: 'replace', path: '/components/web/image', value: 'v2' }],
    steps: [
      { kind: 'create-container', subject: name },
      { kind: 'start-container', subject: name },
    ],
    images: { built: [], added: ['mcr.example.net/web:v2.0.0'] },
    ports: { added: ['web → 10001'], removed: [] },
    routes: NOTHING,
    records: NOTHING,
    certificates: [],
    downtime: 'a restart',
    first: [],
    notes: [],
    waiting: [],
    refused: [],
    ...change,
  };
}

function preview(services: readonly ServicePreview[], change: Partial<Preview> = {}): Preview {
  const budget = { spent: ['x'], named: [], allowed: 1, of: 9 };
  return {
    node: 'rift',
    from: 'c'.repeat(40),
    services,
    budget,
    windows: [],
    trailers: [],
    issues: [],
    assumptions: [],
    ...change,
  };
}

describe('a plan as text and as Markdown', () => {
  it('tells why, what comes and goes, the downtime and the budget', () => {
    const text = formatPreview(preview([servicePreview('web')]));
    for (const part of [
      'web       replace: components/web/image changed → v2',
      'create-container web',
      'new images: mcr.example.net/web:v2.0.0',
      'ports: + web → 10001',
      'downtime: a restart',
      'Stopped or removed: 1 of 9 services, the budget is 1.',
    ])
      expect(text).to.contain(part);
  });

  it('is one table a node with its steps folded, under the mark by which it is found again', () => {
    const text = markdownPreview([
      preview([servicePreview('web'), servicePreview('idle', { action: 'nothing', steps: [] })]),
    ]);
    expect(text.split('\n')[0]).to.equal('<!-- mc-gitops plan -->');
    expect(text).to.contain('| web | **replace** | components/web/image changed → v2 | a restart |');
    expect(text).to.contain('<details><summary>web: 2 steps</summary>');
    expect(text).to.contain('"path": "/components/web/image"');
    expect(text).to.contain('1 of 2 services stay as they are');
    expect(text).to.not.contain('Shortened');
  });

  for (const [what, count, long] of [
    ['patches', 40, 40],
    ['steps', 300, 4],
    ['rows', 1_000, 4],
    ['everything', 1_000, 400],
  ] as const) {
    it(`stays under 60,000 characters when ${what} would not fit, names what was left out, and breaks nothing`, () => {
      const path = `/components/${'web/'.repeat(long)}image`;
      const services = Array.from({ length: count }, (_, at) =>
        servicePreview(`service-${at}`, {
          because: path,
          patch: Array.from({ length: 30 }, () => ({ op: 'replace' as const, path, value: 'v2' })),
          refused: at % 2 === 0 ? [] : [{ service: 's', why: path, hint: path }],
        }),
      );
      const text = markdownPreview([preview(services)]);
      expect(text.length).to.be.below(60_000);
      expect(text).to.contain('Shortened: `mc-gitops plan` shows every step and patch.');
      expect(text).to.contain('| service-0 |');
      expect(text.split('<details>').length).to.equal(text.split('</details>').length);
      expect(text.split('```').length % 2).to.equal(1);
    });
  }

  it('uses the room that there is: every row of 500 services, and steps of as many as fit beside them', () => {
    const downtime = `a restart: ${'how it comes about '.repeat(8)}`;
    const services = Array.from({ length: 500 }, (_, at) =>
      servicePreview(`svc-${at}`, { because: 'components/web/image changed', downtime }),
    );
    const text = markdownPreview([preview(services)]);
    expect(text.match(/^\| svc-/gm)).to.have.length(500);
    expect(text.match(/<details>/g)?.length ?? 0).to.be.greaterThan(20);
    expect(text.length).to.be.within(57_000, 60_000);
  });

  it('stays under the limit with many nodes too', () => {
    const nodes = Array.from({ length: 500 }, (_, at) => ({
      ...preview([servicePreview(`web-${at}`)]),
      node: `node-${at}`,
    }));
    expect(markdownPreview(nodes).length).to.be.below(60_000);
  });

  it('no text of a definition makes a row, a tag, a mention or a code fence of its own (G52)', () => {
    const bad = 'a | b\n<img src=x> @team [x](http://x) ```';
    const text = markdownPreview([
      preview([servicePreview('web', { because: bad, patch: [{ op: 'add', path: '/x', value: bad }] })]),
    ]);
    expect(text).to.contain('a \\| b &lt;img src=x> \\@team \\[x\\](http://x) \\`\\`\\`');
    expect(text.split('\n').filter((line) => line.startsWith('```'))).to.deep.equal(['````json', '````']);
  });
});
