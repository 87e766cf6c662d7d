import { open, readdir, readFile, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { constants, inflate, inflateSync } from 'node:zlib';
import { promisify } from 'node:util';
