import { answerJobs } from '../../src/base/overseer.ts';
import { readAhead, type ReadAhead } from '../../src/definitions/ahead.ts';
import type { ReadingJob } from '../../src/reading.ts';

/** A parser with defects: it loops for ever, eats all memory or throws, on files that say so. */
answerJobs(({ root, ...file }: ReadingJob): ReadAhead => {
  const text = new TextDecoder().decode(file.bytes);
  while (text.includes('# loop'));
  const eaten: unknown[] = [];
  while (text.includes('# eat')) eaten.push(Array.from({ length: 1_000 }, () => eaten.length));
  if (text.includes('# throw')) throw new Error('a defect of the parser');
  return readAhead(file, root);
});
