import { run } from './process.ts';

/** What an engine of ours found in the machine's packet filter before it started. */
export interface FirewallBefore {
  /** Another engine of this kind has bridges here: its chains are left alone. Chains without a bridge are leftovers. */
  readonly inUse: boolean;
  readonly forward: string;
}

export async function lookAtFirewall(inUse: boolean): Promise<FirewallBefore> {
  const rules = await tableRules('filter');
  return {
    inUse,
    forward: /^:FORWARD (\w+)/m.exec(rules.join('\n'))?.[1] ?? 'ACCEPT',
  };
}

/** Takes back the chains with this beginning, the rules that call them or name `bridge`, and the policy of FORWARD. */
export async function restoreFirewall(before: FirewallBefore, chain: string, bridge: string): Promise<void> {
  if (before.inUse) return;
  for (const table of ['filter', 'nat']) {
    const rules = await tableRules(table);
    const chains = rules
      .map((rule) => rule.slice(1).split(' ')[0] ?? '')
      .filter((name) => name.startsWith(chain));
    const calls = rules.filter(
      (rule) =>
        rule.startsWith('-A ') &&
        !rule.startsWith(`-A ${chain}`) &&
        (rule.includes(` -j ${chain}`) || rule.includes(` ${bridge} `)),
    );
    for (const rule of calls) await iptables(table, '-D', ...words(rule).slice(1));
    for (const name of chains) await iptables(table, '-F', name);
    for (const name of chains) await iptables(table, '-X', name);
  }
  if (before.forward === 'ACCEPT') await iptables('filter', '-P', 'FORWARD', 'ACCEPT');
}

/** The words of a rule as iptables-save prints it, where a comment stands in quotation marks. */
function words(rule: string): string[] {
  return [...rule.matchAll(/"([^"]*)"|\S+/g)].map((match) => match[1] ?? match[0]);
}

async function iptables(table: string, ...args: string[]): Promise<void> {
  await run('iptables', ['-w', '-t', table, ...args]).catch(() => undefined);
}

async function tableRules(table: string): Promise<string[]> {
  return run('iptables-save', ['-t', table]).then(
    ({ stdout }) => stdout.split('\n'),
    () => [],
  );
}
