import { createPrivateKey, randomBytes, sign, type KeyObject } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/demo/process.ts';

/** What a registry must know of its token server. */
export interface TokenIssuer {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** Certificates that its tokens may be signed by. */
  readonly certPem: string;
}

export interface TokenServer extends TokenIssuer {
  /** `127.0.0.1:<port>`. */
  readonly host: string;
  readonly credentials: { readonly username: string; readonly password: string };
  /** Scopes that were asked for, with whether the account was good. */
  readonly asked: { readonly scope: string; readonly authorized: boolean }[];
  stop(): Promise<void>;
}

const LIFE_S = 300;

/**
 * A token server by the distribution's "Token Authentication Specification" and its JWT profile: one account, whose
 * password is an identity token, and which may do everything. Tokens are signed by ES256 with the certificate in `x5c`.
 */
export async function startTokenServer(): Promise<TokenServer> {
  const { key, certPem } = await makeKey();
  const identity = [randomBytes(30), randomBytes(60), randomBytes(64)].map((part) =>
    part.toString('base64url'),
  );
  const credentials = { username: 'deployer', password: identity.join('.') };
  const basic = `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
  const asked: { scope: string; authorized: boolean }[] = [];
  const [service, issuer] = ['registry.test', 'tokens.test'];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    const scopes = url.searchParams.getAll('scope').flatMap((scope) => scope.split(' '));
    const authorized = request.headers.authorization === basic;
    for (const scope of scopes) asked.push({ scope, authorized });
    if (!authorized || url.searchParams.get('service') !== service) {
      response.writeHead(401, { 'content-type': 'application/json' }).end('{}');
      return;
    }
    const access = scopes.map((scope) => {
      const [type = '', name = '', actions = ''] = scope.split(':');
      return { type, name, actions: actions.split(',') };
    });
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, sub: credentials.username, aud: service, nbf: now - 10, iat: now };
    const token = jwt(
      { ...claims, exp: now + LIFE_S, jti: randomBytes(8).toString('hex'), access },
      key,
      certPem,
    );
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ token, expires_in: LIFE_S, issued_at: new Date().toISOString() }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    ...{ host, realm: `http://${host}/token`, service, issuer, certPem, credentials, asked },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function jwt(claims: object, key: KeyObject, certPem: string): string {
  const der = certPem.replaceAll(/-----[^-]+-----|\s/g, '');
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${encode({ typ: 'JWT', alg: 'ES256', x5c: [der] })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(body), { key, dsaEncoding: 'ieee-p1363' });
  return `${body}.${signature.toString('base64url')}`;
}

async function makeKey(): Promise<{ key: KeyObject; certPem: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'mc-tokens-'));
  try {
    await run(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '7'],
        ...['-keyout', 'key.pem', '-out', 'cert.pem', '-subj', '/CN=test tokens'],
      ],
      { cwd: dir },
    );
    const key = createPrivateKey(await readFile(join(dir, 'key.pem')));
    return { key, certPem: await readFile(join(dir, 'cert.pem'), 'utf8') };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
