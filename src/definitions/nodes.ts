import { isIP } from 'node:net';
import type { DefinitionFile } from '../source/types.ts';
import { wrongNetwork } from './component.ts';
import { isInside, readHostname } from './fields.ts';
import { finding, isError, quote, type Finding } from './findings.ts';
import { readWindow } from './quantities.ts';
import { doubtsOf, salvage } from './salvage.ts';
import { LIMITS, NODE, REMOVALS, type NodeShape } from './shape.ts';
import { shapeOf } from './structure.ts';
import { readText } from './text.ts';
import type { Defaults, NodeDefinition, Policy, Window } from './types.ts';

export interface ReadNode {
  readonly file: DefinitionFile;
  /** Absent when there is an error among the findings. */
  readonly node?: NodeDefinition;
  /** Instead of it, what can be known of a bad file: for telling what else is wrong, never for what is in force. */
  readonly part?: NodeDefinition;
  readonly findings: readonly Finding[];
}

/** Reads `nodes/<node>.toml`. `policy` is given for the node whose agent asks: git may not widen it. */
export function readNode(
  file: DefinitionFile,
  name: string,
  defaults: Defaults,
  policy: Policy | undefined,
): ReadNode {
  const read = readText(file.bytes);
  if (!read.ok) return { file, findings: [read.found] };
  const shaped = shapeOf(NODE, read.value);
  const salvaged =
    shaped.output === undefined ? salvage(NODE, read.value) : { output: shaped.output, bad: [] };
  if (salvaged === undefined) return { file, findings: shaped.findings };
  const { output, bad } = salvaged;
  const judged: Finding[] = [];
  checkNode(output, judged);
  const windows = readWindows(output, judged);
  if (policy !== undefined) checkPolicy(output, defaults, policy, judged);
  const doubts = doubtsOf(bad);
  const findings = [...shaped.findings, ...judged.filter((found) => !doubts.about(found))];
  if (!findings.some(isError)) return { file, node: nodeOf(name, output, windows, defaults), findings };
  // Of listeners that are partly bad nothing is known: each route might be on the one that is meant.
  const { listeners, ...rest } = output;
  const isKnown = !bad.some(([key]) => key === 'listeners');
  const known = isKnown && listeners !== undefined ? { ...rest, listeners } : rest;
  return { file, part: nodeOf(name, known, windows, defaults), findings };
}

/** A node without a file: the defaults of the settings. */
export function plainNode(name: string, defaults: Defaults): NodeDefinition {
  return { name, addresses: [], defaults };
}

/** Reads `removals.toml`: names of services that may go. */
export function readRemovals(file: DefinitionFile): {
  readonly services: readonly string[];
  readonly findings: readonly Finding[];
} {
  const read = readText(file.bytes);
  if (!read.ok) return { services: [], findings: [read.found] };
  const shaped = shapeOf(REMOVALS, read.value);
  return { services: shaped.output?.services ?? [], findings: shaped.findings };
}

function checkNode(shape: NodeShape, findings: Finding[]): void {
  for (const [at, address] of shape.addresses.entries()) {
    if (isIP(address) === 0)
      findings.push(finding('node/address', ['addresses', at], `${quote(address)} is no address`));
  }
  if (shape.hostname_suffix !== undefined) {
    const suffix = readHostname(shape.hostname_suffix);
    if (!suffix.ok) findings.push(finding('route/hostname', ['hostname_suffix'], suffix.why));
  }
  const network = shape.defaults.network;
  const wrong = network === undefined ? undefined : wrongNetwork(network);
  if (wrong !== undefined) findings.push(finding('network/name', ['defaults', 'network'], wrong));
}

function checkPolicy(shape: NodeShape, defaults: Defaults, policy: Policy, findings: Finding[]): void {
  const suffix = shape.hostname_suffix;
  const domains = [defaults.hostnameSuffix, ...policy.hostnames];
  if (suffix !== undefined && !domains.some((domain) => isInside(suffix.toLowerCase(), domain))) {
    const message = `${quote(suffix)} lies in none of the node's domains (${domains.join(', ')})`;
    findings.push(finding('route/domain', ['hostname_suffix'], message));
  }
  const network = shape.defaults.network;
  if (network !== undefined && network !== defaults.network && !policy.networks.includes(network)) {
    const message = `the node does not allow the network ${quote(network)}`;
    findings.push(finding('network/policy', ['defaults', 'network'], message));
  }
}

function readWindows({ windows }: NodeShape, findings: Finding[]): Window[] {
  if (windows.length > LIMITS.windows) {
    findings.push(finding('window/limit', ['windows'], `there are ${windows.length} windows`));
    return [];
  }
  return windows.map((window, at) => readWindow(window, ['windows', at], findings));
}

function nodeOf(
  name: string,
  shape: NodeShape,
  windows: readonly Window[],
  defaults: Defaults,
): NodeDefinition {
  const user = shape.defaults.user ?? defaults.user;
  const set = { ...shape.defaults, hostname_suffix: shape.hostname_suffix };
  const own = Object.entries(set).flatMap(([key, value]) => (value === undefined ? [] : [key]));
  return {
    name,
    addresses: shape.addresses,
    ...(shape.listeners === undefined ? {} : { listeners: shape.listeners }),
    defaults: {
      network: shape.defaults.network ?? defaults.network,
      ...(user === undefined ? {} : { user }),
      restart: shape.defaults.restart ?? defaults.restart,
      hostnameSuffix: shape.hostname_suffix?.toLowerCase() ?? defaults.hostnameSuffix,
    },
    ...(own.length === 0 ? {} : { own }),
    ...(shape.mode === 'observe' ? { mode: 'observe' } : {}),
    ...(windows.length === 0 ? {} : { windows }),
  };
}
