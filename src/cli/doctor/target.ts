import { X509Certificate } from 'node:crypto';
import type { Config } from '../../config/config.ts';
import { CREDENTIAL_KEYS, type CredentialKey } from '../../config/credentials.ts';
import { alpnOf, type Endpoint, parseEndpoint } from '../../transport/endpoint.ts';
import type { TransportTls } from '../../transport/port.ts';
import { proxyOf } from '../proxy.ts';
import { credentialOf, pinFileOf, pkcs11Key } from '../settings.ts';
import type { DoctorHost } from './host.ts';

/** Where the link goes, and with what; made once, and used by every check of the link. */
export interface Target {
  config: Config;
  endpoint: Endpoint;
  proxy: string | undefined;
  tls: TransportTls;
  alpn: readonly string[];
  clientId: string;
}

/** A certificate, key, CA or PIN that the configuration names. */
export interface CredentialText {
  key: CredentialKey | 'pkcs11.pin';
  path?: string;
  text?: string;
  /** Why there is none, although there should be. */
  problem?: string;
}

export async function readCredentials(config: Config, host: DoctorHost): Promise<CredentialText[]> {
  const keys = [...CREDENTIAL_KEYS, 'pkcs11.pin'] as const;
  return Promise.all(
    keys.map(async (key): Promise<CredentialText> => {
      try {
        const path = key === 'pkcs11.pin' ? pinFileOf(config) : credentialOf(config, key);
        if (path === undefined) return { key };
        const text = await host.readText(path);
        return text === undefined ? { key, path, problem: `cannot read ${path}` } : { key, path, text };
      } catch (error) {
        return { key, problem: (error as Error).message };
      }
    }),
  );
}

/** The client certificate, where there is one that can be read as such. */
export function clientCertificate(credentials: readonly CredentialText[]): X509Certificate | undefined {
  const text = credentials.find(({ key }) => key === 'certificate')?.text;
  try {
    return text === undefined ? undefined : new X509Certificate(text);
  } catch {
    return undefined;
  }
}

export function targetOf(config: Config, credentials: readonly CredentialText[], host: DoctorHost): Target {
  const { connection } = config;
  const endpoint = parseEndpoint(connection.url);
  const texts = credentials.flatMap(({ key, text }) =>
    text === undefined || key === 'pkcs11.pin' ? [] : [[key, text]],
  );
  const pkcs11 = pkcs11Key(config, credentials.find(({ key }) => key === 'pkcs11.pin')?.text);
  const tls: TransportTls = {
    ...(Object.fromEntries(texts) as Partial<Record<CredentialKey, string>>),
    ...(pkcs11 !== undefined && { pkcs11 }),
    ...(connection.alpn !== undefined && { alpn: connection.alpn }),
    ...(connection.serverName !== undefined && { serverName: connection.serverName }),
  };
  return {
    config,
    endpoint,
    proxy: proxyOf(config, host.env),
    tls,
    alpn: alpnOf(endpoint, tls),
    clientId: connection.clientId ?? config.thing,
  };
}
