import { expect } from 'chai';
import { allEngines } from '../support/engines.ts';

for (const { name, start } of allEngines) {
  describe(`support: ${name}`, () => {
    it('starts and says its version', async () => {
      const engine = await start();
      expect(engine.version).to.match(/^\d+\./);
    });
  });
}
