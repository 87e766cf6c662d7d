import { expect } from 'chai';
import { renderPage } from '../../../src/dashboard/page.tsx';
import { STYLE } from '../../../src/dashboard/style.ts';
import { duration, imageName, relative } from '../../../src/dashboard/words.ts';
import type { View } from '../../../src/report/types.ts';
import { makeView } from '../../../src/report/view.ts';
import { sampleInput, sampleView } from '../../support/sample-view.ts';
import { CHOOSING, poisoned } from '../../support/poison.ts';

const HOSTILE = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</title><svg onload=alert(1)>',
  '</pre></details><iframe src=//evil>',
  'javascript:alert(1)',
  'a\r\nSet-Cookie: x=1',
  '\u001b]0;owned\u0007\u001b[2J',
  'safe\u202egnp.exe',
  '\u0000\uffff\ud800',
  '&lt;b&gt; &amp;',
];

describe('the dashboard page', () => {
  let view: View;
  const page = (change: Partial<View> = {}, refresh = true): string =>
    renderPage({ ...view, ...change }, { now: (view.at ?? 0) + 2_000, refresh });

  before(async () => {
    view = await sampleView();
  });

  it('L13 shows desired, applied and observed of each service as three things, and the word for it as text', () => {
    const html = page();
    for (const { name, state } of view.services) {
      expect(html, name).to.contain(`<h3><a href="/services/${name}">${name}</a></h3>`);
      expect(html, name).to.match(new RegExp(`class="badge s-[a-z-]+">${state}<`));
    }
    for (const column of ['desired', 'applied', 'observed'])
      expect(html.split(`<h4>${column}</h4>`), column).to.have.length(view.services.length + 1);
  });

  it('says unknown, not "no container", of what runs while the engine does not answer', () => {
    const services = view.services.map((service) => ({ ...service, observed: [] }));
    const conditions = [{ name: 'engine' as const, ok: false, text: 'does not answer' }];
    expect(textOf(page({ services }))).to.contain('no container');
    expect(textOf(page({ services, conditions }))).to.not.contain('no container');
    expect(textOf(page({ services, conditions }))).to.contain('observedunknown');
  });

  it('has every waiting and refused line, issue and last error with its hint, once for each service it is about', () => {
    const text = textOf(page());
    for (const service of view.services) {
      for (const { why, hint } of [...service.waiting, ...service.refused]) {
        expect(text).to.contain(why);
        if (hint !== undefined) expect(text).to.contain(hint);
      }
      if (service.lastError !== undefined) expect(text).to.contain(service.lastError.why);
    }
    for (const issue of view.issues) {
      expect(text).to.contain(`${issue.file}:${issue.line}:${issue.column}`);
      expect(text).to.contain(issue.hint);
    }
    expect(text).to.contain('silenced image/unbuilt: its supplier pushes it to our registry');
  });

  it('has the steps of the last passes with reasons, results and patches', () => {
    const text = textOf(page());
    for (const step of view.passes.flatMap((pass) => pass.steps)) {
      expect(text).to.contain(step.because.summary);
      for (const operation of step.because.patch ?? []) expect(text).to.contain(operation.path);
    }
    expect(text).to.contain('components/api/image');
  });

  it('is self-contained: no script, no inline style, nothing from elsewhere, links only to itself and to routes of l7', () => {
    const html = page();
    expect(html).to.not.match(/<script|<iframe|<form|<object|<embed|javascript:| style=| on[a-z]+=/i);
    expect([...html.matchAll(/ src="([^"]*)"/g)]).to.deep.equal([]);
    const links = [...html.matchAll(/ href="([^"]*)"/g)].map((match) => match[1] ?? '');
    const pages = view.services.map(({ name }) => `/services/${name}`);
    const own = ['/favicon.svg', '/style.css', '/?pause', '/api/v1/status', ...pages];
    const routes = view.services.flatMap((service) => service.routes);
    const urls = routes.flatMap(({ url }) => (url === undefined ? [] : [url]));
    expect(new Set(links)).to.deep.equal(new Set([...own, ...urls]));
    expect(routes.filter((route) => route.mode === 'l4').every((route) => route.url === undefined)).to.equal(
      true,
    );
    expect(STYLE).to.not.match(/url\(|@import|expression/);
  });

  it('reloads itself every 5 s without a script, and not while it is paused', () => {
    expect(page()).to.contain('<meta http-equiv="refresh" content="5"/>');
    expect(page({}, false)).to.not.contain('http-equiv="refresh"');
    expect(page({}, false)).to.contain('href="/"');
  });

  for (const text of HOSTILE) {
    it(`G53 stays text in every field: ${JSON.stringify(text)}`, () => {
      // Past makeView, as if it had let everything through: the page does not rely on it.
      const html = renderPage(poisoned(view, text), { now: 0, refresh: true });
      expect(tagsOf(html)).to.deep.equal(tagsOf(renderPage(poisoned(view, 'x'), { now: 0, refresh: true })));
      expect(html).to.not.match(/<(script|img|iframe|svg)/);
    });
  }

  it('G53 control characters and those that turn the direction never reach the page', async () => {
    const input = await sampleInput();
    const text = '\u001b[2J\r\nx\u202ey\u2066z\u0000\u200b';
    const html = renderPage(makeView(poisoned(input, text, CHOOSING)), { now: 0, refresh: true });
    expect(html.replaceAll('\n', '')).to.not.match(/[\p{Cc}\p{Cf}]/u);
    expect(html).to.contain(String.raw`\u001b[2J\u000d\nx\u202ey\u2066z\u0000\u200b`);
  });

  it('a link is never anything but http or https, whatever a view says', () => {
    const services = view.services.map((service) => ({
      ...service,
      routes: service.routes.map((route) => ({ ...route, url: 'javascript:alert(1)' })),
    }));
    expect(page({ services })).to.not.contain('javascript:');
  });

  it('shows a node that has done nothing yet, and one whose git and engine are down', async () => {
    const { seen, ...input } = await sampleInput();
    const start = makeView({ ...input, passes: [], history: () => undefined });
    expect(textOf(renderPage(start, { now: 0, refresh: true })))
      .to.contain('No commit yet.')
      .and.contain('Nothing had to be done yet.');
    expect(seen).to.not.equal(undefined);
    const down = await sampleView({
      source: { reachable: false, since: 5, why: 'connection refused' },
      idle: { why: 'git.example.net: connection refused', hint: 'Start it.' },
    });
    const text = textOf(renderPage(down, { now: 10_000, refresh: true }));
    expect(text).to.contain('git: attention').and.contain('connection refused').and.contain('Start it.');
  });

  it('500 services make a page in well under a second', () => {
    const one = view.services.find((service) => service.name === 'hello');
    if (one === undefined) throw new Error('no hello');
    const services = Array.from({ length: 500 }, (_, index) => ({ ...one, name: `s${index}` }));
    const from = performance.now();
    const html = page({ services });
    expect(html).to.contain('>s499</a></h3>');
    expect(performance.now() - from).to.be.lessThan(5_000);
  });

  it('says times and spans as people do', () => {
    expect([0, 340, 1_500, 59_999, 60_000, 185_000, 7_800_000, 3_553_200_000].map(duration)).to.deep.equal([
      '0 ms',
      '340 ms',
      '1.5 s',
      '59 s',
      '1 min',
      '3 min 5 s',
      '2 h 10 min',
      '41 d 3 h',
    ]);
    expect([relative(0, 400), relative(0, 4_900), relative(90_000, 0)]).to.deep.equal([
      'now',
      '4 s ago',
      'in 1 min 30 s',
    ]);
    expect(imageName('mcr.example.net:8443/mc/web:v1')).to.equal('mc/web:v1');
    expect(imageName('library/web:v1')).to.equal('library/web:v1');
    expect(imageName('web:v1')).to.equal('web:v1');
  });
});

/** The page as a reader sees it: tags off, entities back. */
function textOf(html: string): string {
  return html
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&');
}

/** Element names in order: what an injected tag would change. */
function tagsOf(html: string): string[] {
  return [...html.matchAll(/<\/?([a-z0-9]+)/gi)].map((match) => match[0]);
}
