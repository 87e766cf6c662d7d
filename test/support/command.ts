export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** What a command of the command line says and which exit code it sets, without a process of its own. Not to be run side by side. */
export async function command(work: () => void | Promise<void>): Promise<Said> {
  const { stdout, stderr } = process;
  const [write, writeError, before] = [
    stdout.write.bind(stdout),
    stderr.write.bind(stderr),
    process.exitCode,
  ];
  let [out, err] = ['', ''];
  stdout.write = (chunk: unknown) => ((out += String(chunk)), true);
  stderr.write = (chunk: unknown) => ((err += String(chunk)), true);
  process.exitCode = 0;
  try {
    await work();
    return { code: process.exitCode, out, err };
  } finally {
    stdout.write = write;
    stderr.write = writeError;
    process.exitCode = before;
  }
}
