import type { Seen, ViewInput } from '../../../src/report/view.ts';
import { makeView } from '../../../src/report/view.ts';
import type { ServiceView, View } from '../../../src/report/types.ts';
import { sampleInput } from '../../support/sample-view.ts';

interface Viewed {
  readonly at: { input: ViewInput & { readonly seen: Seen }; view: View };
  readonly of: (name: string, from?: View) => ServiceView;
  /** The view of the sample node, with this changed of what was seen. */
  readonly seeing: (change: Partial<Seen>) => View;
}

/** The view of the sample node: made once, for all tests of a file. */
export function useView(): Viewed {
  const at = {} as Viewed['at'];
  const of = (name: string, from: View = at.view): ServiceView => {
    const found = from.services.find((service) => service.name === name);
    if (found === undefined) throw new Error(`no service ${name}`);
    return found;
  };
  before(async () => {
    const { seen, ...rest } = await sampleInput();
    if (seen === undefined) throw new Error('nothing was seen');
    at.input = { ...rest, seen };
    at.view = makeView(at.input);
  });
  return {
    at,
    of,
    seeing: (change) => makeView({ ...at.input, seen: { ...at.input.seen, ...change } }),
  };
}
