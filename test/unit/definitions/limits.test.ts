import { expect } from 'chai';
import { good, resolved, rulesOf, serviceText } from './support.ts';

describe('definitions: limits, at the limit and one past it (G46)', () => {
  const rules = (files: Record<string, string | Uint8Array>): string[] => [
    ...new Set(rulesOf(resolved(files).desired.issues)),
  ];
  const many = (count: number, made: (at: number) => string): string =>
    Array.from({ length: count }, (_, at) => made(at)).join('');
  const list = (count: number, made: (at: number) => string): string =>
    `[${Array.from({ length: count }, (_, at) => JSON.stringify(made(at))).join(', ')}]`;
  const a = (more: string): Record<string, string> => ({ 'services/a.toml': serviceText('a', more) });

  it('a file of 256 KiB', () => {
    const sized = (bytes: number): string => serviceText('a').padEnd(bytes, '#');
    expect(rules({ 'services/a.toml': sized(256 * 1024) })).to.deep.equal([]);
    expect(rules({ 'services/a.toml': sized(256 * 1024 + 1) })).to.deep.equal(['file/size']);
  });

  it('20,000 files', () => {
    const files = (count: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`other/${at}`, '']));
    expect(rules(files(20_000))).to.deep.equal([]);
    const { desired } = resolved(files(20_001), { lastGood: good(a('')) });
    expect(rulesOf(desired.issues)).to.deep.equal(['file/count']);
    expect(desired.unreadable).to.equal(true);
    expect(desired.services.map(({ heldBack }) => heldBack)).to.deep.equal([true]);
  });

  it('64 MiB of files', () => {
    const part = new Uint8Array(1024 * 1024);
    const files = (count: number, more: number): Record<string, Uint8Array> => ({
      ...Object.fromEntries(Array.from({ length: count }, (_, at) => [`other/${at}`, part])),
      'other/more': new Uint8Array(more),
    });
    expect(rules(files(64, 0))).to.deep.equal([]);
    expect(rules(files(64, 1))).to.deep.equal(['file/count']);
  });

  it('32 deep', () => {
    // The document, components, its element and cmd are above the first array.
    const deep = (count: number): string => `cmd = ${'['.repeat(count)}${']'.repeat(count)}\n`;
    expect(rules(a(deep(30)))).to.deep.equal(['value/type']);
    expect(rules(a(deep(31)))).to.deep.equal(['file/depth']);
  });

  it('1,000 services a node; what runs already stays', () => {
    const files = (count: number): Record<string, string> =>
      Object.fromEntries(
        Array.from({ length: count }, (_, at) => [`services/s${at}.toml`, serviceText(`s${at}`)]),
      );
    expect(rules(files(1_000))).to.deep.equal([]);
    const { desired } = resolved(files(1_001), { lastGood: good(files(999)) });
    expect(rulesOf(desired.issues)).to.deep.equal(['service/limit', 'service/limit']);
    expect(desired.services).to.have.length(999);
    expect(desired.refused).to.deep.equal(['s1000', 's999']);
  });

  it('20 components', () => {
    const text = (count: number): string =>
      `name = "a"\nnode = "rift"\n${many(count, (at) => `[[components]]\nname = "c${at}"\nimage = "x:1.0.0"\n`)}`;
    expect(rules({ 'services/a.toml': text(20) })).to.deep.equal([]);
    expect(rules({ 'services/a.toml': text(21) })).to.deep.equal(['service/components']);
  });

  it('20 routes, 50 fixed ports, 50 volumes, 200 strings of a command', () => {
    const routes = (count: number): string =>
      many(count, (at) => `[[components.routes]]\nname = "r${at}"\nport = ${at + 1}\nmode = "l4"\n`);
    expect(rules(a(routes(20)))).to.deep.equal([]);
    expect(rules(a(routes(21)))).to.deep.equal(['route/limit']);
    expect(rules(a(`ports = ${list(50, (at) => `${at + 1}:1`)}`))).to.deep.equal([]);
    expect(rules(a(`ports = ${list(51, (at) => `${at + 1}:1`)}`))).to.deep.equal(['ports/limit']);
    expect(rules(a(`volumes = ${list(50, (at) => `v:/v${at}`)}`))).to.deep.equal([]);
    expect(rules(a(`volumes = ${list(51, (at) => `v:/v${at}`)}`))).to.deep.equal(['volume/limit']);
    expect(rules(a(`cmd = ${list(200, String)}`))).to.deep.equal([]);
    expect(rules(a(`cmd = ${list(201, String)}`))).to.deep.equal(['component/cmd']);
    expect(rules(a(`cmd = ["${'x'.repeat(32 * 1024)}"]`))).to.deep.equal([]);
    expect(rules(a(`cmd = ["${'x'.repeat(32 * 1024)}", "y"]`))).to.deep.equal(['component/cmd']);
  });

  it('100 variables of 4 KiB each', () => {
    const entry = (bytes: number): string => `V=${'é'.repeat((bytes - 2) / 2)}`;
    expect(rules(a(`env = ${list(100, (at) => `V${at}=1`)}`))).to.deep.equal([]);
    expect(rules(a(`env = ${list(101, (at) => `V${at}=1`)}`))).to.deep.equal(['env/limit']);
    expect(rules(a(`env = ["${entry(4096)}"]`))).to.deep.equal([]);
    expect(rules(a(`env = ["${entry(4096)}x"]`))).to.deep.equal(['env/limit']);
  });

  it('50 findings a file are told, and how many there are more', () => {
    const { issues } = resolved(a(many(60, (at) => `k${at} = 1\n`))).desired;
    expect(issues).to.have.length(51);
    expect(issues[0]?.message).to.equal('there are 60 findings in this file, and 50 are told');
  });
});
