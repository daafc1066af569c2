import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { TransportTls } from './port.ts';

export interface Endpoint {
  host: string;
  port: number;
  secure: boolean;
}

const DEFAULT_PORTS: Record<string, { port: number; secure: boolean }> = {
  'mqtt:': { port: 1883, secure: false },
  'mqtts:': { port: 8883, secure: true },
};

/**
 * Node gives each address of a name 250 ms before it tries the next, which no address answers on a satellite or a
 * bad cellular link; the connect timeout above this bounds the whole.
 */
const ADDRESS_ATTEMPT_TIMEOUT_MS = 2_500;

/** Reads `mqtt://host[:port]` or `mqtts://host[:port]`; throws on anything else. */
export function parseEndpoint(url: string): Endpoint {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const kind = parsed && DEFAULT_PORTS[parsed.protocol];
  if (parsed === undefined || kind === undefined || parsed.hostname === '') {
    throw new Error(
      `cannot use broker url "${url}": it must look like mqtt://host:port or mqtts://host:port`,
    );
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw new Error('cannot use broker url: user name and password have options of their own');
  }
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? kind.port : Number(parsed.port),
    secure: kind.secure,
  };
}

/** Starts a connection. Throws when the TLS options cannot be used, such as a key that is no PEM. */
export function openSocket(endpoint: Endpoint, tls: TransportTls | undefined): Socket {
  const { host, port } = endpoint;
  const target = { host, port, autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_TIMEOUT_MS };
  const socket = endpoint.secure ? connectTls({ ...target, ...tlsOptions(host, tls) }) : connectTcp(target);
  // Without it Nagle and delayed acknowledgement cost some 40 ms an exchange. It takes effect only on a connected
  // socket: while several addresses are tried, the handle underneath changes.
  socket.once('connect', () => socket.setNoDelay(true));
  return socket;
}

function tlsOptions(host: string, tls: TransportTls = {}): ConnectionOptions {
  const serverName = tls.serverName ?? (isIP(host) === 0 ? host : undefined);
  return {
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.certificate === undefined ? {} : { cert: tls.certificate }),
    ...(tls.privateKey === undefined ? {} : { key: tls.privateKey }),
    ...(tls.alpn === undefined ? {} : { ALPNProtocols: [...tls.alpn] }),
  };
}
