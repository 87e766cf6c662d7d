import { expect } from 'chai';
import { renderService } from '../../../src/dashboard/history.tsx';
import { renderPage } from '../../../src/dashboard/page.tsx';
import type { NoticeRecord } from '../../../src/registry/types.ts';
import { historyOf } from '../../../src/report/history.ts';
import type { HistoryEntry, View } from '../../../src/report/types.ts';
import { poisoned } from '../../support/poison.ts';
import { sampleView } from '../../support/sample-view.ts';

const NOTICE: NoticeRecord = {
  id: 1,
  cause: 'held-back hello',
  kind: 'held back',
  service: 'hello',
  text: 'v1.1.0 was not ready in 60 s',
  hint: 'Read its log, and push a commit that mends it.',
  at: 1_000_000,
  deliveries: [
    { channel: 'webhook', tries: 1, doneAt: 1_001_000 },
    { channel: 'ntfy', tries: 2, nextAt: 1_120_000 },
    { channel: 'command', tries: 9 },
  ],
};
const CLEARED: NoticeRecord = {
  ...NOTICE,
  id: 2,
  text: 'the source cannot be reached',
  clearedAt: 1_050_000,
};

describe('the dashboard page of a service', () => {
  let view: View;
  let entries: HistoryEntry[];
  const page = (name: string, refresh = true): string => {
    const of = entries.filter(({ service }) => service === name);
    const html = renderService(view, { name, entries: of, now: (view.at ?? 0) + 2_000, refresh });
    if (html === undefined) throw new Error(`no page of ${name}`);
    return html;
  };

  before(async () => {
    view = await sampleView();
    entries = historyOf(
      view.passes.map((pass) => ({ ...pass, author: 'Mei Tanaka', message: 'hello v1.1.0' })),
    );
  });

  it('has each entry of its history: when, commit, author, why, what changed, how long, result, and each step', () => {
    const first = entries.find(({ patch, author }) => patch !== undefined && author !== undefined);
    if (first === undefined) throw new Error('the sample has no such entry');
    const html = page(first.service);
    const text = html.replaceAll('&quot;', '"');
    expect(text).to.contain(new Date(first.at).toISOString().replace(/\.\d+Z$/, 'Z'));
    for (const said of [first.commit, first.author ?? '', first.why, first.message ?? '', first.result])
      expect(text).to.contain(said);
    for (const operation of first.patch ?? []) expect(text).to.contain(JSON.stringify(operation));
    expect(text).to.match(/took \d/);
    for (const step of first.steps)
      expect(text).to.contain(`<span class="kind">${step.kind}</span> <strong>${step.subject}</strong>`);
  });

  it('has the service as the first page shows it, and nothing of another service', () => {
    const html = page('hello');
    expect(html.match(/<article/g)).to.have.length(1);
    expect(html).to.contain('<a href="/services/hello">hello</a>').and.to.not.contain('/services/docs');
    expect(html).to.contain('<a href="/">all services</a>');
  });

  it('is there for one that is gone as long as its history is kept, and for nobody else', () => {
    const gone = { ...view, services: [] };
    const options = { name: 'hello', now: 0, refresh: true };
    expect(renderService(gone, { ...options, entries })).to.contain('Neither git nor this node has it');
    expect(renderService(gone, { ...options, entries: [] })).to.equal(undefined);
  });

  it('renews itself, and stays as it is while it is paused', () => {
    expect(page('hello')).to.contain('http-equiv="refresh"').and.to.contain('href="/services/hello?pause"');
    expect(page('hello', false)).to.not.contain('http-equiv="refresh"');
  });

  it('G53 what a definition, a commit or an engine could have written stays text', () => {
    const text = `"><script>alert(1)</script>`;
    const hostile = poisoned(view, text);
    const html = renderService(hostile, {
      name: hostile.services[0]?.name ?? '',
      entries: poisoned(entries, text),
      now: 0,
      refresh: true,
    });
    expect(html)
      .to.contain('&lt;script>')
      .and.to.not.match(/<(script|img|iframe|svg)/);
  });
});

describe('the notices on the dashboard', () => {
  it('tells the open ones first, with what to do, and for each channel whether it was told', async () => {
    const view = await sampleView();
    const html = renderPage({ ...view, notices: [CLEARED, NOTICE] }, { now: 1_060_000, refresh: true });
    const section = /<section id="notices">.*?<\/section>/s.exec(html)?.[0].replaceAll(/<[^>]+>/g, '') ?? '';
    expect(section).to.contain('1 open, 1 cleared');
    expect(section.indexOf(NOTICE.text)).to.be.lessThan(section.indexOf(CLEARED.text));
    expect(section.split(NOTICE.hint ?? '')).to.have.length(2);
    expect(section).to.contain('webhook told 59 s ago, ntfy not told yet, tried again in 1 min');
    expect(section).to.contain('command given up after 9 tries').and.to.contain('cleared 10 s ago');
  });

  it('are no section while there are none', async () => {
    const view = await sampleView();
    expect(renderPage({ ...view, notices: [] }, { now: 0, refresh: true })).to.not.contain('id="notices"');
  });
});
