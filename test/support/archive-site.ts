import { once } from 'node:events';
import { createServer } from 'node:http';

export interface ArchiveSite {
  /** Where these bytes are served from now on; `name` is the last part of the URL. */
  serve(name: string, bytes: Uint8Array): string;
  close(): Promise<void>;
}

/** Serves archives on the loopback. */
export async function startArchiveSite(): Promise<ArchiveSite> {
  const served = new Map<string, Uint8Array>();
  const server = createServer((request, response) => {
    const bytes = served.get(request.url ?? '');
    if (bytes) response.end(bytes);
    else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    serve(name, bytes) {
      const path = `/${served.size}/${name}`;
      served.set(path, bytes);
      return `http://127.0.0.1:${port}${path}`;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
