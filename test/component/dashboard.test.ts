import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { chromium, type BrowserContext, type Page } from 'playwright-core';
import { makeLog } from '../../src/base/log.ts';
import { ok } from '../../src/base/outcome.ts';
import { startDashboard, type Dashboard } from '../../src/dashboard/server.ts';
import type { View } from '../../src/report/types.ts';
import { poisoned } from '../support/poison.ts';
import { quietApi, sampleView } from '../support/sample-view.ts';
import { until } from '../support/until.ts';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

describe('the dashboard in a browser', function () {
  this.timeout(300_000);
  let view: View;
  let dashboard: Dashboard;
  let browser: BrowserContext;
  let page: Page;
  let profile: string;
  const complaints: string[] = [];

  before(async () => {
    view = await sampleView();
    const started = await startDashboard({
      listenAddr: '127.0.0.1:0',
      log: makeLog('silent'),
      view: () => view,
      state: () => '{}',
      trouble: () => undefined,
      ...quietApi(),
      root: () => Promise.resolve(ok('')),
    });
    if (started.kind !== 'ok') throw new Error(started.why);
    dashboard = started.value;
    profile = mkdtempSync(join(tmpdir(), 'mcg-chromium-'));
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: '/usr/bin/chromium',
      args: FLAGS,
    });
    page = await browser.newPage();
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => {
      if (!request.url().startsWith(dashboard.address)) complaints.push(`asked for ${request.url()}`);
    });
  });
  after(async () => {
    await browser.close();
    await dashboard.close();
    rmSync(profile, { recursive: true, force: true });
  });
  afterEach(() => {
    expect(complaints.splice(0), 'the browser complains of nothing').to.deep.equal([]);
  });

  for (const scheme of ['light', 'dark'] as const) {
    for (const width of [1280, 390]) {
      it(`fits a window of ${width} pixels and can be read, ${scheme}`, async () => {
        await page.emulateMedia({ colorScheme: scheme });
        await page.setViewportSize({ width, height: 900 });
        await page.goto(`${dashboard.address}/?pause`);
        const seen = await page.evaluate<{ wide: number; cut: string[]; ink: string; paper: string }>(`({
          wide: document.documentElement.scrollWidth,
          cut: [...document.querySelectorAll('main *, header *')]
            .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest('.scroll'))
            .map((e) => e.outerHTML.slice(0, 80)),
          ink: getComputedStyle(document.body).color,
          paper: getComputedStyle(document.body).backgroundColor,
        })`);
        expect(seen.wide).to.equal(width);
        expect(seen.cut).to.deep.equal([]);
        expect(brightness(seen.paper) > brightness(seen.ink)).to.equal(scheme === 'light');
        expect(contrast(seen.ink, seen.paper), 'WCAG AAA').to.be.greaterThan(7);
      });

      it(`every word has enough contrast (WCAG AA, 4.5), at ${width} pixels, ${scheme}`, async () => {
        await page.emulateMedia({ colorScheme: scheme });
        await page.setViewportSize({ width, height: 900 });
        await page.goto(`${dashboard.address}/?pause`);
        const words = await page.evaluate<{ text: string; ink: string; paper: string }[]>(WORDS);
        expect(words.length).to.be.greaterThan(100);
        const faint = words.filter(({ ink, paper }) => contrast(ink, paper) < 4.5);
        expect(faint.slice(0, 5)).to.deep.equal([]);
      });
    }
  }

  it('shows what is new by itself, without a script', async () => {
    await page.goto(`${dashboard.address}/`);
    expect(await page.locator('h1').textContent()).to.contain('rift');
    const before = view;
    view = { ...view, node: 'later' };
    await until(
      'the page to show the new view',
      async () => (await page.locator('h1').textContent())?.includes('later'),
      20_000,
    );
    view = before;
    expect(await page.locator('script').count()).to.equal(0);
  });

  it('stays as it is while it is paused, so that an opened patch stays open', async () => {
    await page.goto(`${dashboard.address}/?pause`);
    expect(await page.locator('meta[http-equiv=refresh]').count()).to.equal(0);
    const patch = page.locator('details.patch').first();
    await patch.locator('summary').click();
    expect(await patch.locator('pre').isVisible()).to.equal(true);
    expect(await patch.locator('pre').textContent()).to.contain('"path":"/');
  });

  it('leads from a service to its own page, and back', async () => {
    await page.goto(`${dashboard.address}/?pause`);
    await page.locator('article.service h3 a').first().click();
    await until('the page of the service', () => page.url().includes('/services/'));
    expect(await page.locator('h1').textContent()).to.contain('on rift');
    expect(await page.locator('article.service').count()).to.equal(1);
    await page.locator('header a').first().click();
    await until('the first page', () => new URL(page.url()).pathname === '/');
  });

  it('G53 runs nothing and fetches nothing that a definition, an engine or a registry could have written', async () => {
    const before = view;
    view = poisoned(
      view,
      `<script>document.title='owned'</script><img src=http://192.0.2.1/x onerror=alert(1)>"'>`,
    );
    await page.goto(`${dashboard.address}/?pause`);
    expect(await page.title()).to.contain('<script>');
    expect(await page.locator('img, script, iframe, svg, form').count()).to.equal(0);
    expect(await page.locator('article.service').count()).to.equal(before.services.length);
    view = before;
  });
});

/** Each text of the page with its colour and the colour behind it, opacity reckoned in. */
const WORDS = `(() => {
  const rgb = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (text === '' || !element.checkVisibility()) continue;
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) opacity *= Number(getComputedStyle(e).opacity);
    const paper = behind(element);
    const ink = rgb(getComputedStyle(element).color).slice(0, 3).map((v, i) => v * opacity + paper[i] * (1 - opacity));
    found.push({ text: text.slice(0, 60), ink: 'rgb(' + ink + ')', paper: 'rgb(' + paper + ')' });
  }
  return found;
})()`;

/** Relative luminance of WCAG 2.1 of \`rgb(r, g, b)\`. */
function brightness(color: string): number {
  const [r = 0, g = 0, b = 0] = (color.match(/[\d.]+/g) ?? []).map((part) => {
    const value = Number(part) / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [low = 0, high = 0] = [brightness(a), brightness(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}
