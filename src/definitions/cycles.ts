/**
 * The groups of names that wait for each other, directly or in a ring (strongly connected components, Kosaraju). Names
 * without an entry wait for nobody. Linear and without recursion: how many there are is what a hostile repository chooses.
 */
export function cyclesOf(edges: ReadonlyMap<string, readonly string[]>): ReadonlySet<string>[] {
  const backward = new Map<string, string[]>();
  for (const [name, others] of edges) {
    for (const other of others) {
      const waiters = backward.get(other);
      if (waiters === undefined) backward.set(other, [name]);
      else waiters.push(name);
    }
  }
  const finished: string[] = [];
  const seen = new Set<string>();
  for (const name of edges.keys()) walk(name, edges, seen, (left) => finished.push(left));
  const grouped = new Set<string>();
  return finished
    .reverse()
    .map((name) => {
      const group = new Set<string>();
      walk(name, backward, grouped, (left) => group.add(left));
      return group;
    })
    .filter((group) => group.size > 1);
}

/** Depth first; tells each name when everything behind it was seen. */
function walk(
  start: string,
  edges: ReadonlyMap<string, readonly string[]>,
  seen: Set<string>,
  leave: (name: string) => void,
): void {
  if (seen.has(start)) return;
  seen.add(start);
  const open = [{ name: start, next: 0 }];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const other = edges.get(top.name)?.[top.next];
    top.next += 1;
    if (other === undefined) {
      leave(top.name);
      open.pop();
    } else if (!seen.has(other)) {
      seen.add(other);
      open.push({ name: other, next: 0 });
    }
  }
}
