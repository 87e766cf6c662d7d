import { dirname } from 'node:path';
import { quoted } from '../../plan/render.ts';

export interface RenderedCertificate {
  readonly hostname: string;
  readonly certPath: string;
  readonly keyPath: string;
  /** Of the host names of the node: part of the name of its CA. */
  readonly suffix: string;
}

/** Commands that make what is missing, and leave what is there. `caDir`: of the node's own CA, where it is known. */
export function certificateCommands(
  wanted: RenderedCertificate,
  driver: 'files' | 'local' | 'acme',
  caDir: string | undefined,
): string[] {
  const { hostname, certPath, keyPath } = wanted;
  const suffix = hostname.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
  if (driver !== 'local')
    return [
      `# ${hostname}: ${driver === 'files' ? "the operator's own files, wherever they are kept" : 'ordered by the agent; without it take them from another ACME client'}: the full chain in CHAIN_…, its key in KEY_…`,
      `[ -e ${quoted(certPath)} ] || install -D -m 0644 "\${CHAIN_${suffix}?full chain of ${hostname}, PEM}" ${quoted(certPath)}`,
      `[ -e ${quoted(keyPath)} ] || install -D -m 0600 "\${KEY_${suffix}?key of ${hostname}, PEM}" ${quoted(keyPath)}`,
    ];
  if (caDir === undefined)
    return [
      `# ${hostname}: issued by the CA of the node, beside its database (--config FILE of the node prints how)`,
    ];
  return [
    `# ${hostname}: issued by the CA of this node`,
    ...caCommands(wanted, caDir),
    ...leafCommands(wanted, caDir),
  ];
}

const NEW_KEY = 'openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out';

function caCommands({ suffix }: RenderedCertificate, caDir: string): string[] {
  const [cert, key] = [quoted(`${caDir}/ca.pem`), quoted(`${caDir}/ca.key`)];
  const name = `/O=mc-gitops/CN=mc-gitops local CA ${suffix.replaceAll(/[^a-zA-Z0-9.-]/g, '')}`.slice(0, 77);
  return [
    `[ -e ${key} ] || (umask 077; mkdir -p ${quoted(caDir)} && ${NEW_KEY} ${key})`,
    `[ -e ${cert} ] || openssl req -new -key ${key} -subj ${quoted(name)} \\
  -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \\
  | openssl x509 -req -key ${key} -days 3650 -copy_extensions copy -out ${cert}`,
  ];
}

function leafCommands({ hostname, certPath, keyPath }: RenderedCertificate, caDir: string): string[] {
  const [cert, key, chain] = [quoted(certPath), quoted(keyPath), quoted(`${certPath}.next`)];
  const [ca, caKey] = [quoted(`${caDir}/ca.pem`), quoted(`${caDir}/ca.key`)];
  return [
    `[ -e ${key} ] || (mkdir -p ${quoted(dirname(keyPath))} && umask 077 && ${NEW_KEY} ${key})`,
    `[ -e ${cert} ] || { openssl req -new -key ${key} -subj /O=mc-gitops \\
  -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \\
  -addext extendedKeyUsage=serverAuth -addext subjectAltName=DNS:${hostname} \\
  | openssl x509 -req -CA ${ca} -CAkey ${caKey} -days 90 -copy_extensions copy -out ${chain} \\
  && cat ${ca} >> ${chain} && mv ${chain} ${cert}; }`,
  ];
}
