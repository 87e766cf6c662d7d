/** Whose doing it is that no commit asked for. */
export function causer(by: 'settings' | 'agent'): string {
  return by === 'agent'
    ? 'by this agent itself'
    : 'by the settings of this agent, another version of it, or a registry that was put back';
}
