/** Makes `npx mc-gitops` run this clone's own build: npm links a package's program for its users, not for itself. */
import { chmodSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';

const root = new URL('..', import.meta.url);
const link = new URL('node_modules/.bin/mc-gitops', root);
mkdirSync(new URL('node_modules/.bin', root), { recursive: true });
rmSync(link, { force: true });
symlinkSync('../../dist/main.js', link);
chmodSync(new URL('dist/main.js', root), 0o755);
