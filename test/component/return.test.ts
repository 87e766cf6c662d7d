import { startDocker } from '../support/engines.ts';
import { returns } from './return.kit.ts';

returns('Docker', startDocker);
