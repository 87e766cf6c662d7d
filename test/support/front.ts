import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A port before a server's own, which can be closed and opened again. */
export interface Front {
  readonly host: string;
  cut(): Promise<void>;
  mend(): Promise<void>;
  close(): Promise<void>;
}

export async function openFront(target: number): Promise<Front> {
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const open = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server = createServer((socket) => {
        const behind = connect(target, '127.0.0.1');
        for (const one of [socket, behind]) {
          sockets.add(one);
          one.on('error', () => undefined);
          one.on('close', () => {
            sockets.delete(one);
            socket.destroy();
            behind.destroy();
          });
        }
        socket.pipe(behind).pipe(socket);
      });
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  await open(0);
  const { port } = server?.address() as AddressInfo;
  const cut = async (): Promise<void> => {
    const closed = new Promise((resolve) => server?.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
    server = undefined;
  };
  return {
    host: `127.0.0.1:${port}`,
    cut,
    mend: () => open(port),
    close: async () => {
      if (server !== undefined) await cut();
    },
  };
}
