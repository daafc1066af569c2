import { createServer as createHttpsServer } from 'node:https';
import { type ServerType, serve } from '@hono/node-server';
import type { TlsFiles } from './certificates.ts';

export interface HttpServer {
  port: number;
  close(): Promise<void>;
}

export type Fetch = (request: Request, env?: object) => Response | Promise<Response>;

/** Listens for HTTP, or for HTTPS where a certificate is given. */
export async function listenHttp(
  host: string,
  port: number,
  fetch: Fetch,
  tls?: TlsFiles,
): Promise<HttpServer> {
  const server = await new Promise<ServerType>((resolve, reject) => {
    const started: ServerType = serve(
      {
        fetch,
        hostname: host,
        port,
        // Clients may have a certificate; nobody must.
        ...(tls && {
          createServer: createHttpsServer,
          serverOptions: { ...tls, requestCert: true, rejectUnauthorized: false },
        }),
      },
      () => resolve(started),
    );
    started.once('error', (error: Error) =>
      reject(new Error(`cannot listen for HTTP on ${host}:${port}: ${error.message}`)),
    );
  });
  return {
    port: (server.address() as { port: number }).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        if ('closeAllConnections' in server) server.closeAllConnections();
      }),
  };
}

/** An IPv6 address needs brackets. */
export function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
