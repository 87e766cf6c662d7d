import { startPodman } from '../support/engines.ts';
import { returns } from './return.kit.ts';

returns('Podman', startPodman);
