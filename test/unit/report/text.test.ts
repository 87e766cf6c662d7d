import { expect } from 'chai';
import type { View } from '../../../src/report/types.ts';
import { formatPs, formatStatus, table } from '../../../src/report/text.ts';
import { poisoned } from '../../support/poison.ts';
import { sampleView } from '../../support/sample-view.ts';

describe('the text of status and ps', () => {
  let view: View;
  before(async () => {
    view = await sampleView();
  });

  it('status says desired, applied and observed of each service, and why anything waits', () => {
    const text = formatStatus(view);
    for (const service of view.services) expect(text).to.contain(`\n${service.name}: ${service.state}\n`);
    for (const word of ['desired', 'applied', 'observed'])
      expect(text.split('\n').filter((line) => line.startsWith(`  ${word} `)).length, word).to.be.at.least(
        view.services.length,
      );
    for (const { why } of view.services.flatMap((service) => [...service.waiting, ...service.refused]))
      expect(text).to.contain(why);
    expect(text).to.contain('  silenced  image/unbuilt: its supplier pushes it to our registry\n');
    expect(text).to.contain('f83b51cd902e hello v1.1.0; paste is new (Kyle Isom');
  });

  it('status tells each condition that is not well, and of each route when its certificate ends', () => {
    const notAfter = (view.at ?? 0) + 86_400_000;
    const [first, ...rest] = view.services.filter(({ routes }) => routes.length > 0);
    const [route] = first?.routes ?? [];
    if (first === undefined || route === undefined) throw new Error('no route');
    const conditions = [
      { name: 'git', ok: true, text: 'answers' },
      { name: 'dns', ok: false, text: '[mcns] key_file /k is not there', hint: 'Put the key there.' },
    ] as const;
    const textOf = (end: number): string =>
      formatStatus({
        ...{ ...view, conditions },
        services: [{ ...first, routes: [{ ...route, notAfter: end }] }, ...rest],
      });
    expect(textOf(notAfter)).to.contain(
      '\nproblem  dns: [mcns] key_file /k is not there\n         Put the key there.\n',
    );
    expect(textOf(notAfter)).to.not.contain('answers');
    const day = (at: number): string => new Date(at).toISOString().slice(0, 10);
    expect(textOf(notAfter)).to.match(
      new RegExp(`  route     ${route.hostname}.*, certificate ends ${day(notAfter)}`),
    );
    expect(textOf((view.at ?? 0) - 1)).to.match(/, certificate ended \d{4}-/);
  });

  it('status has what a version that gave way printed last', () => {
    const [first, ...rest] = view.services;
    if (first === undefined) throw new Error('no service');
    const printed = [
      { component: 'web', container: 'w', at: 0, lines: ['opening', 'cannot open the store'] },
    ];
    const trial = { phase: 'held back', since: 1, tries: 0, commit: 'c', printed } as const;
    expect(formatStatus({ ...view, services: [{ ...first, trial }, ...rest] })).to.contain(
      '\n  printed   by web of the version that gave way, its last lines at 1970-01-01T00:00:00Z:\n' +
        '            | opening\n            | cannot open the store\n',
    );
  });

  it('status of one service is only that one', () => {
    const text = formatStatus(view, 'docs');
    expect(text).to.contain('docs: degraded').and.not.contain('hello: ').and.not.contain('source ');
  });

  it('ps is one aligned line a container of ours, and names the others', () => {
    const all = formatPs(view).split('\n');
    const lines = all.slice(0, -1);
    expect(all.at(-1)).to.match(/^not ours, and never touched: .*postgres-test/);
    expect(formatPs({ ...view, foreign: [] }).split('\n')).to.deep.equal(lines);
    expect(lines).to.have.length(1 + view.services.flatMap((service) => service.observed).length);
    const column = lines[0]?.indexOf('STATE') ?? -1;
    for (const line of lines.slice(1)) expect(line.slice(column - 2, column), line).to.equal('  ');
    expect(lines.some((line) => line.startsWith('postgres-test'))).to.equal(false);
  });

  it('ps says that nothing is known while the engine does not answer, not that nothing runs', () => {
    const conditions = [{ name: 'engine' as const, ok: false, text: 'does not answer' }];
    const services = view.services.map((service) => ({ ...service, observed: [] }));
    expect(formatPs({ ...view, conditions, services })).to.match(
      /^CONTAINER .*\nunknown: .*does not answer$/,
    );
    expect(formatPs(view)).to.not.contain('unknown');
  });

  it('G53 hostile text stays on its line and sends nothing to the terminal', () => {
    const hostile = poisoned(view, '\u001b[2J\r\nfake: converged\u202e');
    for (const text of [formatStatus(hostile), formatPs(hostile)]) {
      expect(text.replaceAll('\n', '')).to.not.match(/[\p{Cc}\p{Cf}]/u);
      expect(text.split('\n').some((line) => line.startsWith('fake'))).to.equal(false);
    }
    expect(formatPs(hostile).split('\n')).to.have.length(formatPs(view).split('\n').length);
  });

  it('a table of nothing is nothing', () => {
    expect(table([])).to.equal('');
    expect(table([['A'], ['long'], ['']])).to.equal('A\nlong\n');
  });
});
