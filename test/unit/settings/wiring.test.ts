import { expect } from 'chai';
import type { Policy } from '../../../src/definitions/types.ts';
import { parseSettings } from '../../../src/settings.ts';
import { definitionOptions } from '../../../src/wiring.ts';
import { resolved, serviceText } from '../definitions/support.ts';

function policyOf(more: string): Policy {
  const parsed = parseSettings(`node = "rift"\n[source]\nurls = ["/nowhere"]\n${more}`, 'test', {});
  if (parsed.kind !== 'ok') throw new Error(parsed.why);
  const { policy } = definitionOptions(parsed.value, () => '');
  if (policy === undefined) throw new Error('the agent has a policy');
  return policy;
}

describe('[registries] of the settings', () => {
  const told = (image: string, more: string): string[] => {
    const files = { 'services/a.toml': serviceText('a').replace(/image = ".*"/, `image = "${image}"`) };
    const { issues } = resolved(files, { policy: policyOf(more) }).desired;
    return issues.map(({ rule, severity, line, hint }) => `${rule} ${severity} ${line}: ${hint}`);
  };
  const LISTED = '[registries."mcr.example.net:8443"]\n[registries."docker.io"]\n';

  it('are the allow-list of image hosts: any other is an error that names the ones there are', () => {
    expect(told('mcr.example.net:8443/a:v1.0.0', LISTED)).to.deep.equal([]);
    expect(told('docker.io/library/a:v1.0.0', LISTED)).to.deep.equal([]);
    expect(told('quay.io/a/a:v1.0.0', LISTED)).to.deep.equal([
      `image/host error 6: It knows docker.io, mcr.example.net:8443. Take an image from there, or add [registries."quay.io"] to the node's settings.`,
    ]);
    // Another port is another host.
    expect(told('mcr.example.net/a:v1.0.0', LISTED)).to.have.length(1);
    expect(told('localhost/a:v1.0.0', LISTED)).to.have.length(1);
  });

  it('leave local images alone, and everything where none is listed: nobody is asked then', () => {
    for (const image of ['a:v1.0.0', 'mc/a:v1.0.0']) expect(told(image, LISTED), image).to.deep.equal([]);
    expect(told('quay.io/a/a:v1.0.0', '')).to.deep.equal([]);
  });
});
