import { expect } from 'chai';
import fc from 'fast-check';
import {
  formatRouteTable,
  parseAddress,
  parseRouteTable,
  routeTableDigest,
  type RouteTable,
} from '../../../src/base/routetable.ts';

const GOOD = `
generation = "abc"
[[listeners]]
addr = ":8443"
[[listeners.routes]]
hostname = "Hello.svc.mcp.metacircular.net"
backend = "127.0.0.1:23456"
mode = "l7"
tls_cert = "/srv/mc-proxy/certs/hello.pem"
tls_key = "/srv/mc-proxy/certs/hello.key"
[[listeners.routes]]
hostname = "api.svc.mcp.metacircular.net"
backend = "127.0.0.1:23457"
mode = "l4"
`;

function refusal(text: string): string {
  const parsed = parseRouteTable(text);
  if (parsed.kind === 'ok') throw new Error('the table was taken');
  return parsed.why;
}

describe('route table', () => {
  it("reads the platform's form, host names in lower case", () => {
    const parsed = parseRouteTable(GOOD);
    expect(parsed).to.deep.equal({
      kind: 'ok',
      value: {
        generation: 'abc',
        listeners: [
          {
            addr: ':8443',
            routes: [
              {
                hostname: 'hello.svc.mcp.metacircular.net',
                backend: '127.0.0.1:23456',
                mode: 'l7',
                tlsCert: '/srv/mc-proxy/certs/hello.pem',
                tlsKey: '/srv/mc-proxy/certs/hello.key',
                backendTls: false,
              },
              { hostname: 'api.svc.mcp.metacircular.net', backend: '127.0.0.1:23457', mode: 'l4' },
            ],
          },
        ],
      },
    });
  });

  it('takes an empty table: nothing is routed', () => {
    expect(parseRouteTable('')).to.deep.equal({ kind: 'ok', value: { listeners: [] } });
  });

  const bad: [string, string, RegExp][] = [
    ['broken TOML, with its line', GOOD.replace('mode = "l4"', 'mode = '), /line 1[34], column/],
    ['an unknown key', GOOD.replace('addr =', 'adr = 1\naddr ='), /listeners\[0\]\.adr/],
    ['an unknown key of the table', `x = 1\n${GOOD}`, /^route table: x:/],
    ['an unknown mode', GOOD.replace('"l4"', '"l5"'), /routes\[1\]\.mode: mode must be/],
    ['a certificate on an l4 route', `${GOOD}tls_cert = "/a"`, /routes\[1\]\.tls_cert/],
    ['an l7 route without a key', GOOD.replace(/tls_key.*\n/, ''), /routes\[0\]\.tls_key/],
    ['a relative path', GOOD.replace('"/srv/mc-proxy/certs/hello.key"', '"hello.key"'), /absolute path/],
    ['a wildcard', GOOD.replace('"api.', '"*.'), /wildcards are not served/],
    ['something that is no host name', GOOD.replace('"api.', '"a b.'), /is not a host name/],
    ['a backend without a port', GOOD.replace('127.0.0.1:23457', '127.0.0.1'), /expected "host:port"/],
    ['a backend without a host', GOOD.replace('127.0.0.1:23457', ':23457'), /expected "host:port"/],
    ['a port that there is not', GOOD.replace(':8443', ':84430'), /listeners\[0\]\.addr/],
    [
      'a host name twice on a listener, in another case',
      GOOD.replace('api.svc', 'HELLO.svc'),
      /hello\.svc\.mcp\.metacircular\.net is there twice on the listener :8443/,
    ],
    [
      'what a CA asks for on an address of a listener',
      `${GOOD}[challenges]\naddr = ":8443"\nbackend = "127.0.0.1:8402"`,
      /the listener :8443 is there twice/,
    ],
    ['challenges without a backend', `${GOOD}[challenges]\naddr = ":80"`, /challenges\.backend/],
    ['a listener twice', `${GOOD}[[listeners]]\naddr = ":8443"`, /the listener :8443 is there twice/],
  ];
  for (const [what, text, message] of bad) {
    it(`refuses ${what}`, () => expect(refusal(text)).to.match(message));
  }

  it('comes back unchanged from its own text, and the digest does not depend on order or generation', () => {
    const label = fc.stringMatching(/^[a-z0-9]{1,12}$/);
    const port = fc.integer({ min: 1, max: 65_535 });
    const route = fc
      .record({ hostname: label, port, l7: fc.boolean(), backendTls: fc.boolean() })
      .map((draw) => {
        const backend = `127.0.0.1:${draw.port}`;
        return draw.l7
          ? {
              hostname: draw.hostname,
              backend,
              mode: 'l7' as const,
              tlsCert: '/c "x"',
              tlsKey: '/k\n',
              backendTls: draw.backendTls,
            }
          : { hostname: draw.hostname, backend, mode: 'l4' as const };
      });
    const routes = fc.uniqueArray(route, { selector: ({ hostname }) => hostname, maxLength: 8 });
    const listener = fc.record({ addr: port.map((number) => `:${number}`), routes });
    const listeners = fc.uniqueArray(listener, { selector: ({ addr }) => addr, maxLength: 4 });
    fc.assert(
      fc.property(listeners, fc.string(), fc.boolean(), (drawn, generation, isThrough) => {
        const clear = isThrough ? { challenges: { addr: '10.0.0.1:80', backend: '127.0.0.1:8402' } } : {};
        const table: RouteTable = { generation, listeners: drawn, ...clear };
        const back = parseRouteTable(formatRouteTable(table));
        if (back.kind !== 'ok') throw new Error(back.why);
        expect(back.value.generation).to.equal(generation);
        expect(formatRouteTable(back.value)).to.equal(formatRouteTable(table));
        const turned: RouteTable = {
          ...clear,
          listeners: drawn.toReversed().map((one) => ({ ...one, routes: one.routes.toReversed() })),
        };
        expect(routeTableDigest(turned)).to.equal(routeTableDigest(back.value));
        expect(routeTableDigest({ listeners: drawn }) === routeTableDigest(table)).to.equal(!isThrough);
      }),
    );
  });

  it('splits addresses of both families', () => {
    expect(parseAddress('[::1]:443')).to.deep.equal({ host: '::1', port: 443 });
    expect(parseAddress(':443')).to.deep.equal({ host: undefined, port: 443 });
    expect(parseAddress('10.0.0.1:443')).to.deep.equal({ host: '10.0.0.1', port: 443 });
    for (const text of ['443', 'a:b', '::1:443', ':0', 'a:65536', 'a b:1', '']) {
      expect(parseAddress(text), text).to.equal(undefined);
    }
  });
});
