import { connect as connectTcp, isIP } from 'node:net';
import { within } from '../../host/within.ts';
import { errorWords } from '../../transport/reasons.ts';
import { openTunnel, parseProxy } from '../../transport/tunnel.ts';
import { explain } from './explain.ts';
import { type Finding, fail, ok, skipped, warn } from './finding.ts';
import type { DoctorHost } from './host.ts';
import type { Target } from './target.ts';

/** The endpoint's name, DNS, the proxy, and TCP to each address. */

const DNS_LIMIT_MS = 15_000;
export const TCP_LIMIT_MS = 8000;
const MQTTS_PORT = 8883;
/** Names of AWS that are no MQTT endpoint of an account: control plane, credentials provider, data plane by HTTPS. */
const AWS_HOST = /\.amazonaws\.com(\.cn)?$/;
const AWS_DATA_HOST = /^(?:[a-z0-9]+-ats\.iot\.[a-z0-9-]+|.*\.vpce)\.amazonaws\.com(?:\.cn)?$/;
const AWS_LEGACY_HOST = /^[a-z0-9]{10,}\.iot\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?$/;
const DESCRIBE_ENDPOINT = 'aws iot describe-endpoint --endpoint-type iot:Data-ATS';

export function endpointCheck({ endpoint, config, clientId }: Target): Finding {
  const name = 'endpoint';
  const { host, port, secure } = endpoint;
  const detail = `${config.connection.url} as ${clientId}`;
  if (AWS_HOST.test(host)) {
    if (AWS_LEGACY_HOST.test(host)) {
      return warn(
        name,
        `${host} is the older endpoint of the account, whose certificates no device trusts by default`,
        `take the -ats one: ${DESCRIBE_ENDPOINT}`,
      );
    }
    if (!AWS_DATA_HOST.test(host)) {
      return fail(
        name,
        `${host} is a name of AWS, and not the data endpoint of an account`,
        `connection.url: mqtts:// and what this prints: ${DESCRIBE_ENDPOINT}`,
      );
    }
    if (!secure)
      return fail(name, 'AWS IoT Core takes TLS only', `connection.url: mqtts://${host}:${MQTTS_PORT}`);
  }
  if (!secure && port === MQTTS_PORT)
    return warn(name, `${detail}: no TLS, on the port of TLS`, `connection.url: mqtts://${host}:${port}`);
  return ok(name, detail);
}

/** Everything up to a TCP connection; `reachable` when there is one. */
export async function networkChecks(
  target: Target,
  host: DoctorHost,
): Promise<{ findings: Finding[]; reachable: boolean }> {
  if (target.proxy !== undefined) return proxyCheck(target, target.proxy, host);
  const { host: name } = target.endpoint;
  const resolved = await addressesOf(name, host);
  if (resolved.finding.result === 'fail') return { findings: [resolved.finding], reachable: false };
  const findings = await tcpChecks(target, resolved.addresses, host);
  return {
    findings: [resolved.finding, ...findings],
    reachable: findings.some(({ result }) => result === 'ok'),
  };
}

async function addressesOf(
  name: string,
  host: DoctorHost,
): Promise<{ finding: Finding; addresses: readonly string[] }> {
  if (isIP(name) !== 0) return { finding: skipped('DNS', `${name} is an address`), addresses: [name] };
  try {
    const found = await within(DNS_LIMIT_MS, host.clock, new AbortController().signal, (signal) =>
      Promise.race([host.lookup(name), aborted(signal)]),
    );
    const addresses = [...new Set(found.map(({ address }) => address))];
    return { finding: ok('DNS', `${name} is ${addresses.join(', ')}`), addresses };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOTFOUND'
        ? `there is no host ${name}: connection.url is misspelt, or the resolver does not know it`
        : `${name} cannot be resolved: ${code === 'EAI_AGAIN' ? 'no resolver answers (EAI_AGAIN)' : message}`;
    return { finding: fail('DNS', why, explain('ENOTFOUND').fix.replace('NAME', name)), addresses: [] };
  }
}

async function tcpChecks(
  { endpoint }: Target,
  addresses: readonly string[],
  host: DoctorHost,
): Promise<Finding[]> {
  const tried = await Promise.all(
    addresses.map(async (address) => ({
      address,
      failed: await connectFailure(address, endpoint.port, host),
    })),
  );
  const anyOpen = tried.some(({ failed }) => failed === undefined);
  return tried.map(({ address, failed }) => {
    const name = addresses.length === 1 ? 'TCP' : `TCP ${isIP(address) === 6 ? 'IPv6' : 'IPv4'}`;
    const where = `${isIP(address) === 6 ? `[${address}]` : address}:${endpoint.port}`;
    if (failed === undefined) return ok(name, `${where} is open`);
    const { cause, fix } = explain(failed);
    const detail = `${where}: ${failed.replace(/^connect /, '')}: ${cause}`;
    return anyOpen ? warn(name, `${detail}; another address answers`, fix) : fail(name, detail, fix);
  });
}

async function connectFailure(
  address: string,
  port: number,
  { clock }: DoctorHost,
): Promise<string | undefined> {
  const socket = connectTcp({ host: address, port });
  try {
    await within(TCP_LIMIT_MS, clock, new AbortController().signal, (signal) => opened(socket, signal));
    return undefined;
  } catch (error) {
    return errorWords(error);
  } finally {
    socket.destroy();
  }
}

async function proxyCheck(
  { endpoint }: Target,
  proxy: string,
  { clock }: DoctorHost,
): Promise<{ findings: Finding[]; reachable: boolean }> {
  const name = 'proxy';
  let tunnel: ReturnType<typeof openTunnel> | undefined;
  try {
    const { host, port } = parseProxy(proxy);
    tunnel = openTunnel(proxy, endpoint.host, endpoint.port, TCP_LIMIT_MS);
    const opening = tunnel;
    await within(TCP_LIMIT_MS, clock, new AbortController().signal, (signal) => opened(opening, signal));
    return {
      findings: [ok(name, `${host}:${port} opens a tunnel to ${endpoint.host}:${endpoint.port}`)],
      reachable: true,
    };
  } catch (error) {
    const words = errorWords(error);
    const timedOut = words.includes('ETIMEDOUT');
    const { cause, fix } = explain(timedOut ? 'cannot reach the proxy' : words);
    return { findings: [fail(name, `${cause}: ${words}`, fix)], reachable: false };
  } finally {
    tunnel?.on('error', () => undefined);
    tunnel?.destroy();
  }
}

/** Resolves when a stream says that it is connected. */
function opened(stream: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('connect', () => resolve());
    stream.on('error', reject);
    signal.addEventListener(
      'abort',
      () => reject(new Error(`ETIMEDOUT: no answer within ${TCP_LIMIT_MS / 1000} s`)),
      { once: true },
    );
  });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const onAbort = (): void => reject(Object.assign(new Error('no answer'), { code: 'EAI_AGAIN' }));
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
