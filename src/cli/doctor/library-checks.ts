import type { Config } from '../../config/config.ts';
import { unableWords } from '../../transport/crt.ts';
import { type CrtApi, loadCrt } from '../../transport/crt-api.ts';
import { createTlsContexts } from '../../transport/crt-tls.ts';
import { parseEndpoint } from '../../transport/endpoint.ts';
import { proxyOf } from '../proxy.ts';
import { explain } from './explain.ts';
import { type Finding, fail, ok } from './finding.ts';
import type { Target } from './target.ts';

/** The optional MQTT library, where it is chosen, and the key in a token that it alone can use. */

/** Nothing to say of mqtt.js, which is always there. */
export async function libraryChecks(
  config: Config,
  load: () => Promise<CrtApi> = loadCrt,
): Promise<Finding[]> {
  const { transport, url, serverName } = config.connection;
  if (transport !== 'aws-sdk') return [];
  const name = 'aws-sdk';
  const proxy = proxyOf(config);
  const wanted = {
    tls: { ...(serverName !== undefined && { serverName }) },
    ...(proxy !== undefined && { proxy }),
  };
  const unable = unableWords(wanted, parseEndpoint(url));
  if (unable !== undefined) return [fail(name, unable, 'take that out, or set connection.transport: mqttjs')];
  try {
    await load();
    return [ok(name, `aws-crt loads on ${process.platform} ${process.arch}`)];
  } catch (error) {
    const fix =
      'npm install aws-crt where there is a binary of it (x64 and arm64), or connection.transport: mqttjs';
    return [fail(name, (error as Error).message, fix)];
  }
}

/** Opens the token and finds the key: a wrong PIN is tried once, no more. */
export async function tokenCheck({ tls, alpn }: Target): Promise<Finding> {
  const name = 'PKCS#11 key';
  const { library, token, key } = tls.pkcs11 ?? {};
  try {
    createTlsContexts(await loadCrt(), tls, alpn).current();
    const label = key === undefined ? 'a private key' : `the private key "${key}"`;
    const where = token === undefined ? 'the token' : `the token "${token}"`;
    return ok(name, `${label} in ${where}, by ${library}`);
  } catch (error) {
    const { message } = error as Error;
    const { cause, fix } = explain(message);
    return fail(name, cause === message ? message : `${message}: ${cause}`, fix);
  }
}
