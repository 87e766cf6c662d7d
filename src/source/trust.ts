import { blocked, ok, retry, type Outcome } from '../base/outcome.ts';
import type { GitMirror } from '../base/git/mirror.ts';

/**
 * May `head` follow `accepted`? Only when the accepted commit is in its history (G26): a force-push, a rewind or
 * another repository at the same address is refused, and the accepted commit stays in force. `others`: the mirrors
 * that are asked before this one; they may know that a fallback only lags behind.
 */
export async function mayFollow(
  mirror: GitMirror,
  head: string,
  accepted: string | undefined,
  others: readonly GitMirror[],
): Promise<Outcome<undefined>> {
  if (accepted === undefined || accepted === head) return ok();
  const follows = (await mirror.has(accepted)) ? await mirror.isDescendant(head, accepted) : ok(false);
  if (follows.kind !== 'ok') return follows;
  if (follows.value) return ok();

  const names = `${mirror.shown}: the branch is at ${short(head)}, and the accepted commit ${short(accepted)}`;
  const older = await isOlder([mirror, ...others], accepted, head);
  if (older && others.length > 0) {
    return retry(
      `${names} is newer: this fallback lags behind`,
      'Nothing to do once the first url answers again.',
    );
  }
  return blocked(
    older
      ? `${names} is newer: the branch was set back`
      : `${names} is not in its history: the branch was rewritten`,
    `The accepted commit stays in force. Push a commit that has ${accepted} in its history (to undo a change, use git revert).`,
  );
}

async function isOlder(mirrors: readonly GitMirror[], accepted: string, head: string): Promise<boolean> {
  for (const mirror of mirrors) {
    if (!(await mirror.has(accepted))) continue;
    const result = await mirror.isDescendant(accepted, head);
    if (result.kind === 'ok' && result.value) return true;
  }
  return false;
}

function short(oid: string): string {
  return oid.slice(0, 12);
}
