/**
 * Under whose name steps are planned that belong to no service: images of repositories that nobody has any more, the builder's
 * cache, certificates and records that are left. No service can be called so.
 */
export const NOBODY = '(images)';
