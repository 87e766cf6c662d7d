/**
 * Under whose name steps are planned that belong to no service: images of repositories that nobody has any more, the builder's
 * cache, certificates and records that are left. No service can be called so.
 */
export const NOBODY = '(node)';

/** What it was called before 0.2.0: in older journals, and of a failure that was recorded then. */
const FORMERLY = '(images)';

export function isNobody(service: string): boolean {
  return service === NOBODY || service === FORMERLY;
}
