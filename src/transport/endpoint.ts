import { connect as connectTcp, isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { TransportTls } from './port.ts';
import { openTunnel } from './tunnel.ts';

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
export const ADDRESS_ATTEMPT_TIMEOUT_MS = 2_500;

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

/** At AWS port 443 speaks MQTT only to who asks for it by this name (with a client certificate). */
const ALPN_443 = ['x-amzn-mqtt-ca'];
const HTTPS_PORT = 443;

/** Protocols to offer in the handshake; none unless they are configured, or the port is the one of HTTPS. */
export function alpnOf({ port, secure }: Endpoint, tls: TransportTls = {}): readonly string[] {
  return tls.alpn ?? (secure && port === HTTPS_PORT ? ALPN_443 : []);
}

/** Starts a connection. Throws when the options cannot be used, such as a key that is no PEM. */
export function openSocket(endpoint: Endpoint, tls: TransportTls | undefined, proxy?: string): Duplex {
  const { host, port, secure } = endpoint;
  if (proxy !== undefined) {
    const tunnel = openTunnel(proxy, host, port, ADDRESS_ATTEMPT_TIMEOUT_MS);
    if (!secure) return tunnel;
    const socket = connectTls({ socket: tunnel, host, ...tlsOptions(endpoint, tls) });
    tunnel.once('error', (error) => socket.destroy(error));
    return socket;
  }
  const target = { host, port, autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_TIMEOUT_MS };
  const socket = secure ? connectTls({ ...target, ...tlsOptions(endpoint, tls) }) : connectTcp(target);
  // Without it Nagle and delayed acknowledgement cost some 40 ms an exchange. It takes effect only on a connected
  // socket: while several addresses are tried, the handle underneath changes.
  socket.once('connect', () => socket.setNoDelay(true));
  return socket;
}

/** The name that the server has to prove; `undefined` for an address, which has no SNI. */
export function serverNameOf({ host }: Endpoint, tls: TransportTls = {}): string | undefined {
  return tls.serverName ?? (isIP(host) === 0 ? host : undefined);
}

export function tlsOptions(endpoint: Endpoint, tls: TransportTls = {}): ConnectionOptions {
  const serverName = serverNameOf(endpoint, tls);
  const alpn = alpnOf(endpoint, tls);
  return {
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.certificate === undefined ? {} : { cert: tls.certificate }),
    ...(tls.privateKey === undefined ? {} : { key: tls.privateKey }),
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  };
}
