import { answerJobs } from './base/overseer.ts';
import { readAhead, type ReadAhead } from './definitions/ahead.ts';
import type { ReadingJob } from './reading.ts';

/** The thread on which definitions are read for the first time. */
answerJobs(({ root, ...file }: ReadingJob): ReadAhead => readAhead(file, root));
