import { expect } from 'chai';
import { tellGithub, tellJson, tellText } from '../../../src/definitions/tell.ts';
import { isInside } from '../../../src/definitions/fields.ts';
import { isWithin } from '../../../src/definitions/mounts.ts';
import type { Resolution } from '../../../src/definitions/resolve.ts';
import type { Desired } from '../../../src/definitions/types.ts';
import { POLICY, fileOf } from './support.ts';

/** No file may take longer. */
export const MAX_MS = 1_000;
export const OURS = { ...POLICY, imageHosts: ['registry.example.net'] };

/** Time that this process worked: the clock on the wall also counts the neighbours. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Nothing that is in force may do what the policy does not allow, whatever the files say. */
export function expectHarmless(desired: Desired): void {
  for (const { service } of desired.services) {
    expect(service.node).to.equal('rift');
    expect(service.name).to.match(/^[a-z0-9-]{1,63}$/);
    expect(service.path).to.not.match(/^\/|(^|\/)\.\.(\/|$)|[^\x20-\x7e]/);
    for (const component of service.components) {
      expect(component.container).to.match(/^[a-z0-9-]{1,63}$/);
      expect(component.network).to.be.oneOf(POLICY.networks);
      expect(component.image.tag).to.match(/^v?\d+\.\d+\.\d+/);
      expect(component.image.host).to.be.oneOf([undefined, 'registry.example.net']);
      for (const mount of component.mounts) {
        expect(mount.target)
          .to.match(/^\/./)
          .and.not.match(/\/\.\.?(\/|$)|\/\/|^\/(proc|sys|dev)(\/|$)/);
        if (mount.kind === 'bind') expect(isWithin(mount.source, `/srv/${service.name}`)).to.equal(true);
      }
      for (const { name } of component.env) expect(name).to.match(/^(?!PORT$|PORT_|PEER_)[A-Za-z_]\w*$/);
      for (const { hostname, port } of component.routes) {
        expect(isInside(hostname, 'metacircular.net')).to.equal(true);
        expect(hostname).to.match(/^[a-z0-9.-]+$/);
        expect(port).to.be.within(1, 65_535);
      }
      for (const { host } of component.ports) expect(host === 53 || host >= 1024).to.equal(true);
    }
  }
}

/** All that is printed is one line an item, without characters that move the cursor. */
export function expectPrintable(
  { desired }: Resolution,
  files: Readonly<Record<string, string | Uint8Array>>,
): void {
  const bytesOf = new Map(
    Object.entries(files).map(([path, content]) => [path, fileOf(path, content).bytes]),
  );
  const controls = /[^\P{C}\n\t]|[\u2028\u2029]/u;
  const text = tellText(desired.issues, bytesOf, { color: false, prefix: '' });
  expect(controls.exec(text)?.[0]).to.equal(undefined);
  for (const { message, path, hint } of desired.issues) {
    expect(/[^\P{C}]|[\u2028\u2029]/u.exec(message + path + hint)?.[0], message).to.equal(undefined);
    expect(message.length + path.length).to.be.below(2_000);
  }
  expect(tellGithub(desired.issues, '').split('\n')).to.have.length(desired.issues.length + 1);
  expect(JSON.parse(tellJson(desired.issues))).to.have.length(desired.issues.length);
}
