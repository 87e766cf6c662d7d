import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { systemClock } from '../../src/base/clock.ts';
import { closeHttp } from '../../src/base/http.ts';
import { openDistribution, type Distribution } from '../../src/node/images/distribution.ts';
import type { Answer } from '../../src/node/images/endpoint.ts';
import { spoil } from '../support/spoiled.ts';
import { CALL_FAULTS, type CallFault } from '../support/simulation/faults.ts';
import { tally } from '../support/tally.ts';
import { imageRef, MANIFEST, MANIFEST_DIGEST, sendManifest } from '../unit/node/images-support.ts';

/** Of a registry that leaves a question without an answer; a busy machine may need longer before it comes to the fault. */
const DEADLINES_MS = [500, 2_000, 8_000];
const PATIENT_MS = 30_000;
const UNANSWERED: readonly CallFault[] = ['hang', 'slow drip'];
const PASSWORD = 'still-Lagoon-73+q/z';
const TOKEN = 'tide.Over-The_Sand.58';
const BASIC = Buffer.from(`robot:${PASSWORD}`).toString('base64');
const SECRETS = [PASSWORD, TOKEN, BASIC.slice(8)];

/** What it takes to be told the digest of a tag, by how the registry lets one in. */
const WAYS = ['without an account', 'with Basic', 'with a token', 'with a token, HEAD not allowed'] as const;
type Way = (typeof WAYS)[number];

describe('G18 G19 the client of image registries, when the N-th request of a question fails', () => {
  let folder: string;
  let credentialsFile: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mcg-registry-'));
    credentialsFile = join(folder, 'account');
    writeFileSync(credentialsFile, `robot:${PASSWORD}\n`, { mode: 0o600 });
  });
  after(async () => {
    await closeHttp();
    rmSync(folder, { recursive: true });
  });

  for (const way of WAYS)
    it(`${way}: each request, in each of ${CALL_FAULTS.length} ways, once and from then on: the digest, or why not, in time; asked again, the digest`, async function () {
      this.timeout(300_000);
      const begun = performance.now();
      const faults = CALL_FAULTS.flatMap((fault) => [false, true].map((isLasting) => ({ fault, isLasting })));
      const runs = await Promise.all(
        faults.map(({ fault, isLasting }) => failing(way, fault, isLasting, credentialsFile)),
      );
      const fired = runs.reduce((sum, count) => sum + count, 0);
      console.log(`      ${fired} faults in ${Math.max(...runs)} requests`);
      tally({
        kind: 'registry client: each request × 14 faults × 2',
        fired,
        unit: 'cases',
        ms: performance.now() - begun,
      });
      expect(Math.min(...runs)).to.be.at.least(1);
    });
});

/** One question with one kind of fault at each of its requests; how many there are. */
async function failing(way: Way, fault: CallFault, isLasting: boolean, file: string): Promise<number> {
  const registry = await startRegistry(way);
  const entry = way === 'without an account' ? {} : { credentialsFile: file };
  const ask = (client: Distribution): Promise<Answer> =>
    client.findManifest(registry.host, entry, imageRef(registry.host, 'mc/hello', 'v1.0.0'));
  const open = (timeoutMs: number): Distribution => openDistribution({ clock: systemClock, timeoutMs });
  const said: string[] = [];
  try {
    expect(await ask(open(PATIENT_MS))).to.deep.equal({ kind: 'ok', value: MANIFEST_DIGEST });
    const requests = registry.asked();
    for (let skip = 0; skip < requests; skip += 1) {
      const when = `${fault}${isLasting ? ' from then on' : ''}, request ${skip + 1}`;
      let met: { readonly answer: Answer; readonly of: string; readonly client: Distribution } | undefined;
      for (const deadlineMs of UNANSWERED.includes(fault) ? DEADLINES_MS : [PATIENT_MS]) {
        if (met !== undefined) break;
        const client = open(deadlineMs);
        registry.fail(fault, skip, isLasting);
        const answer = await ask(client);
        const of = registry.spoiled();
        registry.fail(undefined);
        if (of !== undefined) met = { answer, of, client };
      }
      if (met === undefined) throw new Error(`${when}: it does not fire`);
      const { answer, of, client } = met;
      said.push(JSON.stringify(answer));
      if (answer.kind !== 'ok') expect(answer.why, when).to.contain(registry.host);
      // L19: no such image is only what the registry says of the image itself.
      else if (fault !== '404' || of === 'token') expect(answer.value, when).to.equal(MANIFEST_DIGEST);
      // The same client: nothing of the fault stays with it, no token either. A slow machine has its time.
      let again = await ask(client);
      if (again.kind !== 'ok') again = await ask(open(PATIENT_MS));
      expect(again, `${when}, again`).to.deep.equal({ kind: 'ok', value: MANIFEST_DIGEST });
    }
    for (const secret of SECRETS) expect(said.join('\n'), 'an account (G10)').to.not.contain(secret);
    return requests;
  } finally {
    await registry.close();
  }
}

interface FaultyRegistry {
  readonly host: string;
  /** Requests so far. */
  asked(): number;
  /** The request after `skip` more fails so, once or from then on; undefined: none does. */
  fail(fault: CallFault | undefined, skip?: number, isLasting?: boolean): void;
  /** Which request met the fault first; undefined: none did. */
  spoiled(): 'token' | 'manifest' | undefined;
  close(): Promise<void>;
}

/** A registry and its token server, which refuse with what they were sent. */
async function startRegistry(way: Way): Promise<FaultyRegistry> {
  let count = 0;
  let fault: { readonly kind: CallFault; readonly at: number; readonly isLasting: boolean } | undefined;
  let spoiled: 'token' | 'manifest' | undefined;
  const good = (request: IncomingMessage, response: ServerResponse): void => {
    const sent = request.headers.authorization;
    if (request.url?.startsWith('/token') === true) {
      if (sent !== `Basic ${BASIC}`) return void response.writeHead(401).end();
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end(JSON.stringify({ token: TOKEN, expires_in: 300 }));
    }
    const wanted = way === 'with Basic' ? `Basic ${BASIC}` : `Bearer ${TOKEN}`;
    if (way !== 'without an account' && sent !== wanted) {
      const challenge = way === 'with Basic' ? 'Basic realm="r"' : `Bearer realm="http://${host()}/token"`;
      return void response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    if (way.endsWith('HEAD not allowed') && request.method === 'HEAD')
      return void response.writeHead(405).end();
    sendManifest(request, response);
  };
  const server = createServer((request, response) => {
    count += 1;
    const strikes = fault !== undefined && (fault.isLasting ? count >= fault.at : count === fault.at);
    if (!strikes || fault === undefined) {
      good(request, response);
      return;
    }
    const isToken = request.url?.startsWith('/token') === true;
    spoiled ??= isToken ? 'token' : 'manifest';
    const body: unknown = isToken ? { token: TOKEN, expires_in: 300 } : JSON.parse(MANIFEST);
    spoil(fault.kind, response, () => [200, body], !isToken, ` for ${request.headers.authorization ?? ''}`);
  });
  const host = (): string => `127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: host(),
    asked: () => count,
    fail: (kind, skip = 0, isLasting = false) => {
      spoiled = undefined;
      fault = kind === undefined ? undefined : { kind, at: count + skip + 1, isLasting };
    },
    spoiled: () => spoiled,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
