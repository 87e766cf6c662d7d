/** What the two services of the demo are made of: the contents of their source repositories. */

/** `hello`: an HTTP page, and an API with TLS of its own; `docs`: a page on a port of its own. Runs on the demo's node base image. */
const SERVER = `
const http = require('node:http'), https = require('node:https'), fs = require('node:fs');
const { env } = process;
const role = process.argv[2] || 'docs';
const say = (req, res) => {
  res.writeHead(200, { 'content-type': 'text/plain' });
  res.end(role + ' ' + env.VERSION + '\\n');
};
process.on('SIGTERM', () => process.exit(0));
if (role === 'api') {
  const tls = { cert: fs.readFileSync('/srv/hello/certs/cert.pem'), key: fs.readFileSync('/srv/hello/certs/key.pem'), minVersion: 'TLSv1.3' };
  https.createServer(tls, say).listen(Number(env.PORT), '0.0.0.0');
} else {
  http.createServer(say).listen(Number(role === 'docs' ? 8080 : env.PORT), '0.0.0.0');
}
`;

/** The files of a source repository; the base image has the machine's own node. */
export function sourceFiles(
  baseImage: string,
  roles: string,
  change: (server: string) => string = (server) => server,
): Record<string, string> {
  return {
    Dockerfile: [
      `FROM ${baseImage}`,
      'ARG VERSION=dev',
      'ENV VERSION=$VERSION',
      'COPY server.cjs /server.cjs',
      'ENTRYPOINT ["/usr/bin/node", "/server.cjs"]',
      '',
    ].join('\n'),
    'server.cjs': change(SERVER),
    '.dockerignore': 'README.md\n',
    'README.md': `${roles}: a service of the mc-gitops demo.\n`,
  };
}

/** A mistake that no build finds: the page listens where nobody looks (L17). */
export function onWrongPort(server: string): string {
  return server.replace("role === 'docs' ? 8080 : env.PORT", "role === 'docs' ? 8080 : 8000");
}
