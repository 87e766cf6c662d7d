import * as v from 'valibot';

/** The schema library, imported here and nowhere else. */
export { v };

/** One finding of a schema: the way to the value and the message, for example `ports[0]`, `Expected …`. */
export interface ShapeIssue {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** The findings of a failed `v.safeParse`, flat and in the order of the input. */
export function shapeIssues(issues: readonly v.BaseIssue<unknown>[]): ShapeIssue[] {
  return issues.map((issue) => ({
    path: (issue.path ?? []).map((item) => (typeof item.key === 'number' ? item.key : String(item.key))),
    message: issue.message,
  }));
}
