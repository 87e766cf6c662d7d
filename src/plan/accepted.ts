import type { Desired, DesiredService } from '../definitions/types.ts';
import type { AcceptedFile } from '../registry/types.ts';

/** What is in force of each file: of services of this node, and of those of others that it is the edge of. */
export function acceptedFiles({ services, edges = [] }: Pick<Desired, 'services' | 'edges'>): AcceptedFile[] {
  return [
    ...services.map(acceptedFile),
    ...edges.map(({ service, file, oid, commit }) => ({ service: service.name, file, oid, commit })),
  ];
}

function acceptedFile({ service, file, oid, commit }: DesiredService): AcceptedFile {
  return { service: service.name, file, oid, commit, ...(service.prune === false ? { prune: false } : {}) };
}
