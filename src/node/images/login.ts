import type { Clock } from '../../base/clock.ts';
import { blocked, ok, retry, type Failure, type Outcome } from '../../base/outcome.ts';
import { Secret } from '../../base/secret.ts';
import { v } from '../../base/shape.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import { basicAuth, readCredentials } from './credentials.ts';
import { denied, refused, type Endpoint } from './endpoint.ts';
import { isLoopback } from './reference.ts';

/** Values of `Authorization` headers, each for one registry (and repository) only. */
export interface Logins {
  /** What was valid a moment ago; saves the refused first request. */
  remembered(host: string, repository: string): Secret | undefined;
  /** Answers the challenge of a 401. */
  login(endpoint: Endpoint, repository: string, challenge: string): Promise<Outcome<Secret>>;
}

const tokenShape = v.object({
  token: v.optional(v.string()),
  access_token: v.optional(v.string()),
  expires_in: v.optional(v.number()),
});
/** By the token specification a token without `expires_in` holds 60 s. */
const DEFAULT_TOKEN_S = 60;
const EARLY_S = 10;

export function openLogins(clock: Clock): Logins {
  const tokens = new Map<string, { readonly header: Secret; readonly until: number }>();
  const keyOf = (host: string, repository: string): string => `${host}/${repository}`;
  return {
    remembered: (host, repository) => {
      const token = tokens.get(keyOf(host, repository));
      return token !== undefined && clock.monotonic() < token.until ? token.header : undefined;
    },
    login: async (endpoint, repository, header) => {
      tokens.delete(keyOf(endpoint.host, repository));
      const challenges = parseChallenges(header);
      const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
      if (bearer !== undefined) {
        const token = await fetchToken(endpoint, repository, bearer, clock);
        if (token.kind !== 'ok') return token;
        const until = clock.monotonic() + (token.value.holdsS - EARLY_S) * 1000;
        tokens.set(keyOf(endpoint.host, repository), { header: token.value.header, until });
        return ok(token.value.header);
      }
      if (challenges.some(({ scheme }) => scheme === 'basic')) return basic(endpoint, repository);
      return blocked(
        `registry ${endpoint.host} asks for a login of a kind that is not known here`,
        'Known are Bearer tokens and Basic.',
      );
    },
  };
}

async function basic(endpoint: Endpoint, repository: string): Promise<Outcome<Secret>> {
  const file = endpoint.entry.credentialsFile;
  if (file === undefined) return denied(endpoint, 401, `repository ${repository}`);
  const credentials = await readCredentials(file, endpoint.host);
  return credentials.kind === 'ok' ? ok(basicAuth(credentials.value)) : credentials;
}

async function fetchToken(
  endpoint: Endpoint,
  repository: string,
  challenge: Challenge,
  clock: Clock,
): Promise<Outcome<{ readonly header: Secret; readonly holdsS: number }>> {
  const realm = trustedRealm(endpoint, challenge.params.realm ?? '');
  if (realm.kind !== 'ok') return realm;
  const url = realm.value;
  if (challenge.params.service !== undefined) url.searchParams.set('service', challenge.params.service);
  // The scope is ours and not the server's: a challenge cannot make us ask for more than we need.
  url.searchParams.set('scope', `repository:${repository}:pull`);
  let authorization: Record<string, string> = {};
  if (endpoint.entry.credentialsFile !== undefined) {
    const header = await basic(endpoint, repository);
    if (header.kind !== 'ok') return header;
    authorization = { authorization: header.value.reveal() };
  }
  const response = await endpoint.ask({ method: 'GET', url: url.href, headers: authorization });
  const what = `a token for ${repository} at ${url.host}`;
  if (response.status === 401 || response.status === 403) return denied(endpoint, response.status, what);
  if (response.status !== 200) {
    const answer = refused(endpoint.host, response, what, clock, `a token at ${url.host}`);
    return answer.kind === 'ok' ? retry(what) : answer;
  }
  return tokenOf(response.body, endpoint, what);
}

/** The realm comes from the server: unless the settings trust it, nothing at all is sent there. */
function trustedRealm(endpoint: Endpoint, text: string): Outcome<URL> {
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  if (realm === undefined || !['http:', 'https:'].includes(realm.protocol)) {
    return blocked(
      `registry ${endpoint.host} names no token server that can be read in its answer 401`,
      'The realm of its WWW-Authenticate header is no http(s) address: set it in the settings of the registry.',
    );
  }
  const trusted = [endpoint.host, ...(endpoint.entry.realmHosts ?? [])].some((host) => {
    const written = `${realm.protocol}//${host}/`;
    return URL.canParse(written) && new URL(written).host === realm.host;
  });
  if (!trusted) {
    return blocked(
      `registry ${endpoint.host} wants its account sent to ${realm.host}, which the settings do not trust`,
      `If that is its token server, add "${realm.host}" to registries."${endpoint.host}".realm_hosts.`,
    );
  }
  if (realm.protocol === 'http:' && !isLoopback(realm.host)) {
    return blocked(
      `registry ${endpoint.host} wants its account sent to ${realm.host} without TLS`,
      'Give the token server a certificate.',
    );
  }
  realm.username = '';
  realm.password = '';
  return ok(realm);
}

function tokenOf(
  body: Uint8Array,
  endpoint: Endpoint,
  what: string,
): Outcome<{ readonly header: Secret; readonly holdsS: number }> {
  const unreadable: Failure = retry(`registry ${endpoint.host}: the answer to ${what} holds no token`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return unreadable;
  }
  const parsed = v.safeParse(tokenShape, value);
  const token = parsed.success ? (parsed.output.token ?? parsed.output.access_token) : undefined;
  // It goes into a header: what could break out of one is no token (RFC 6750 section 2.1).
  if (!parsed.success || token === undefined || !/^[\w.~+/=-]+$/.test(token)) return unreadable;
  const header = new Secret(`Bearer ${new Secret(token).reveal()}`);
  return ok({ header, holdsS: parsed.output.expires_in ?? DEFAULT_TOKEN_S });
}
