import { expect } from 'chai';
import { known } from '../../../src/base/outcome.ts';
import { renderPage } from '../../../src/dashboard/page.tsx';
import type { ObservedRoute, ServerRecord } from '../../../src/node/types.ts';
import { formatStatus } from '../../../src/report/text.ts';
import type { ServiceView, View } from '../../../src/report/types.ts';
import { useView } from './view.kit.ts';

describe('what is told of what others have or did where a service is', () => {
  const { at, of, seeing } = useView();
  const HOST = 'hello.svc.mcp.metacircular.net';
  const page = (view: View): string =>
    renderPage(view, { now: 0, refresh: false }).replaceAll(/<\/?code>/g, '');
  const shown = (view: View): string => `${formatStatus(view, 'hello')}${page(view)}`;
  const issuesOf = (view: View): unknown[] =>
    of('hello', view)
      .issues.filter(({ rule }) => /^dns|^cert/.test(rule))
      .map(({ rule, severity, message, hint }) => ({ rule, severity, message, hint }));

  const withRoute = (mark: string | undefined): ServiceView['routes'][number] | undefined => {
    const { proxy } = at.input.seen.observed;
    if (!proxy.known) throw new Error('no proxy');
    const strange = (route: ObservedRoute): ObservedRoute => {
      if (route.hostname !== HOST || route.listenerPort !== 443) return route;
      const { listenerPort, hostname, mode, backendTls } = route;
      const bare = { listenerPort, hostname, mode, backendTls, backend: '10.6.6.6:80' };
      return mark === undefined ? bare : { ...bare, mark };
    };
    const table = proxy.value.table.map(strange);
    const observed = {
      ...at.input.seen.observed,
      proxy: known({ ...proxy.value, table, live: known(table) }),
    };
    const view = seeing({ observed });
    const whose = mark === undefined ? 'not ours' : 'of other/main';
    const told = `the proxy has a route to 10.6.6.6:80 there, ${whose}`;
    expect(shown(view).split(told), 'status and page').to.have.length(3);
    expect(formatStatus(view, 'hello')).to.contain(`${HOST}:443 l7 -> nothing yet (not served: ${told}`);
    return of('hello', view).routes.find(({ hostname, port }) => hostname === HOST && port === 443);
  };

  it('a route of somebody else in the place of ours is shown as theirs, with whose it is if they say so (L13)', () => {
    expect(withRoute('other/main/web/web/')).to.deep.include({
      served: false,
      foreign: { backend: '10.6.6.6:80', owner: 'other/main' },
    });
    const unmarked = withRoute(undefined);
    expect(unmarked).to.deep.include({ served: false, foreign: { backend: '10.6.6.6:80' } });
    expect(unmarked).to.not.have.property('backend');
  });

  it('an address of somebody else beside ours is a warning of the service; in the place of ours it is refused, and told there (L14)', () => {
    const { owner } = at.input;
    const mark = { owner, service: 'hello', addresses: ['10.0.0.1'] };
    const viewOf = (value: ServerRecord): View => {
      const names = { [HOST]: { zone: 'svc.test', servers: [{ server: 'ns', seen: known(value) }] } };
      const dns = { driver: 'rfc2136', zones: ['svc.test'], names } as const;
      return seeing({ addresses: ['10.0.0.1'], observed: { ...at.input.seen.observed, dns } });
    };
    const beside = viewOf({ addresses: ['10.0.0.1', '198.51.100.66'], mark });
    const message = `${HOST} has a record on name server ns that is not ours: 198.51.100.66; clients are led there by turns`;
    expect(issuesOf(beside)).to.deep.equal([
      {
        ...{ rule: 'dns/foreign', severity: 'warning', message },
        hint: 'Remove it there: foreign records are never touched.',
      },
    ]);
    expect(
      shown(beside).split(message).length,
      'status, the page, and what the page links',
    ).to.be.greaterThan(2);
    expect(issuesOf(viewOf({ addresses: ['198.51.100.66'] }))).to.deep.equal([]);
    expect(issuesOf(viewOf({ addresses: ['10.0.0.1'], mark }))).to.deep.equal([]);
  });

  it('a key that others may read is a warning of the service', () => {
    const keyPath = '/certs/hello.key';
    const certificate = { kind: 'valid', certPath: '/certs/hello.pem', keyPath, notAfter: 1 } as const;
    const viewOf = (more: { readonly keyMode?: string }): View => {
      const certificates = { [HOST]: { ...certificate, fingerprint256: 'f', ...more } };
      return seeing({ observed: { ...at.input.seen.observed, certificates } });
    };
    expect(issuesOf(viewOf({}))).to.deep.equal([]);
    expect(issuesOf(viewOf({ keyMode: '0644' }))).to.deep.equal([
      {
        ...{ rule: 'certificate/key-mode', severity: 'warning' },
        message: `the private key ${keyPath} has mode 0644: others than its owner may read or write it`,
        hint: `chmod 0600 ${keyPath}`,
      },
    ]);
  });
});
