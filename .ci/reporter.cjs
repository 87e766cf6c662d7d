// mocha's spec reporter, which also keeps the counts in the file that MC_GITOPS_COUNTS names, after each test: a run
// that is cut off still has them.
const { writeFileSync } = require('node:fs');
const process = require('node:process');
const { setTimeout } = require('node:timers');
const { reporters } = require('mocha');

const PATIENCE_MS = 20_000;

class Counting extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const counts = { passed: 0, failed: 0, ended: false };
    const keep = () => writeFileSync(process.env.MC_GITOPS_COUNTS, JSON.stringify(counts));
    keep();
    runner.on('pass', () => {
      counts.passed += 1;
      keep();
    });
    runner.on('fail', () => {
      counts.failed += 1;
      keep();
    });
    runner.on('end', () => {
      counts.ended = true;
      keep();
      // Tests stop what they start: something that keeps the process alive is a failure with a name.
      const timer = setTimeout(() => {
        counts.failed += 1;
        keep();
        process.stderr.write(
          `the tests ended, but these keep the process alive: ${process.getActiveResourcesInfo()}\n`,
        );
        process.exit(1);
      }, PATIENCE_MS);
      timer.unref();
    });
  }
}

module.exports = Counting;
