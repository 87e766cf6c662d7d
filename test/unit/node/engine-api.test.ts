import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, rmSync } from 'node:fs';
import type { ClientRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { expect } from 'chai';
import { openApi } from '../../../src/node/engine/api.ts';
import { startFakeEngine } from '../../support/fakeengine.ts';

const STARTED = 'http.client.request.start';
const PARALLEL = 8;

describe('the transport to the engine', () => {
  it('G57 writes out nothing of the requests that are open: it does so for each call, for a log that is off', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mcg-api-'));
    const fake = await startFakeEngine(join(dir, 'engine.sock'));
    const api = openApi(fake.socketPath, 10_000);
    const written: number[] = [];
    const started = (message: unknown): void => {
      const { agent } = (message as { request: ClientRequest & { agent: unknown } }).request;
      // As docker-modem does.
      written.push(inspect({ agent }, { showHidden: true, depth: null }).length);
    };
    subscribe(STARTED, started);
    try {
      await Promise.all(Array.from({ length: PARALLEL }, () => api.call('list', 'GET', '/containers/json')));
    } finally {
      unsubscribe(STARTED, started);
      api.close();
      await fake.close();
      rmSync(dir, { recursive: true });
    }
    expect(written).to.have.length(PARALLEL);
    expect(Math.max(...written)).to.be.at.most(100);
  });
});
