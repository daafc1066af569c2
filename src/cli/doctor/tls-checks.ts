import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';
import { within } from '../../host/within.ts';
import { serverNameOf, tlsOptions } from '../../transport/endpoint.ts';
import { errorWords } from '../../transport/reasons.ts';
import { openTunnel } from '../../transport/tunnel.ts';
import { EXPIRY_WARN_DAYS } from './certificate-checks.ts';
import { explain } from './explain.ts';
import { type Finding, fail, ok, skipped, warn } from './finding.ts';
import type { DoctorHost } from './host.ts';
import { TCP_LIMIT_MS } from './network-checks.ts';
import type { Target } from './target.ts';

/** The handshake: who the server says it is, who vouches for it, for how long, and which protocol it agrees to. */

const DAY_MS = 86_400_000;
const HANDSHAKE_LIMIT_MS = 15_000;
const CHAIN_LENGTH_MAX = 10;
const HANG_UP = /ECONNRESET|EPIPE|socket disconnected|hung up/;
const WANTS_CERTIFICATE = /certificate[ _]required|handshake failure/i;
const HUNG_UP = {
  cause:
    'the server hung up in the handshake: the port does not speak TLS, or something between does not let it through',
  fix: 'compare with: openssl s_client -connect HOST:PORT; use mqtt:// for a broker without TLS',
};

export async function tlsChecks(target: Target, host: DoctorHost): Promise<Finding[]> {
  let socket: TLSSocket | undefined;
  try {
    socket = open(target);
    const opening = socket;
    await within(HANDSHAKE_LIMIT_MS, host.clock, new AbortController().signal, (signal) =>
      shaken(opening, signal),
    );
    return [chainCheck(socket, target, host), alpnCheck(socket, target)];
  } catch (error) {
    const words = errorWords(error);
    if (target.tls.pkcs11 !== undefined && WANTS_CERTIFICATE.test(words))
      return [
        skipped(
          'TLS',
          'the broker shows nothing before a certificate, whose key is in the token: see CONNECT',
        ),
      ];
    const { cause, fix } = HANG_UP.test(words) ? HUNG_UP : explain(words);
    return [fail('TLS', cause === words ? words : `${cause}: ${words}`, fix)];
  } finally {
    socket?.on('error', () => undefined);
    socket?.destroy();
  }
}

/** Not verified here: what is wrong is read from the connection, which says more than an error does. */
function open({ endpoint, tls, proxy }: Target): TLSSocket {
  // Of no use here without its key.
  const { certificate, ...others } = tls;
  const shown = tls.pkcs11 === undefined && certificate !== undefined ? { certificate } : {};
  const options = { ...tlsOptions(endpoint, { ...others, ...shown }), rejectUnauthorized: false };
  const { host, port } = endpoint;
  if (proxy === undefined) return connectTls({ host, port, ...options });
  const tunnel = openTunnel(proxy, host, port, TCP_LIMIT_MS);
  const socket = connectTls({ socket: tunnel, host, ...options });
  tunnel.once('error', (error) => socket.destroy(error));
  return socket;
}

function shaken(socket: TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('the server hung up in the handshake')));
    const late = `no answer to the handshake within ${HANDSHAKE_LIMIT_MS / 1000} s: a captive portal or a firewall that lets TCP through and nothing else, or a broker that hangs`;
    signal.addEventListener('abort', () => reject(new Error(late)), { once: true });
  });
}

function chainCheck(socket: TLSSocket, { endpoint, tls, config }: Target, { clock }: DoctorHost): Finding {
  const name = 'TLS';
  const chain = chainOf(socket.getPeerCertificate(true));
  const [leaf] = chain;
  const nowMs = clock.wallMs();
  // Node's types say that it is an Error; it is the code.
  const code = (socket.authorizationError as unknown as string | null | undefined) ?? '';
  switch (code) {
    case '':
      return daysLeft(name, chain, nowMs, socket.getProtocol());
    case 'CERT_HAS_EXPIRED': {
      const old = chain.find(({ valid_to }) => Date.parse(valid_to) < nowMs) ?? leaf;
      return fail(
        name,
        `the certificate of the broker (${named(old)}) has expired on ${day(old?.valid_to)}, and the clock says ${day(nowMs)}`,
        explain('certificate has expired').fix,
      );
    }
    case 'CERT_NOT_YET_VALID': {
      const early = chain.find(({ valid_from }) => Date.parse(valid_from) > nowMs) ?? leaf;
      return fail(
        name,
        `the certificate of the broker (${named(early)}) is not valid before ${day(early?.valid_from)}, and the clock says ${day(nowMs)}: the clock is behind`,
        explain('not yet valid').fix,
      );
    }
    case 'ERR_TLS_CERT_ALTNAME_INVALID': {
      const wanted = serverNameOf(endpoint, tls) ?? endpoint.host;
      return fail(
        name,
        `the broker is not ${wanted}: its certificate is for ${leaf?.subjectaltname?.replaceAll(/\b(DNS|IP Address):/g, '') ?? named(leaf)}`,
        explain('altnames').fix,
      );
    }
    default: {
      const root = chain.at(-1);
      const trusted =
        config.connection.ca ?? (tls.ca === undefined ? 'the authorities of Node.js' : 'the credential ca');
      return fail(
        name,
        `the certificate of the broker (${named(leaf)}) was signed by ${named(root, 'issuer')}, which is not in ${trusted} (${code})`,
        explain('unable to verify').fix,
      );
    }
  }
}

function daysLeft(
  name: string,
  chain: readonly PeerCertificate[],
  nowMs: number,
  protocol: string | null,
): Finding {
  const first = [...chain].sort((a, b) => Date.parse(a.valid_to) - Date.parse(b.valid_to))[0];
  const days = Math.floor((Date.parse(first?.valid_to ?? '') - nowMs) / DAY_MS);
  if (days < EXPIRY_WARN_DAYS) {
    return warn(
      name,
      `the certificate of the broker (${named(first)}) expires in ${days} days`,
      'renew it on the broker',
    );
  }
  return ok(
    name,
    `${protocol ?? 'TLS'}, ${named(chain[0])} by ${named(chain[0], 'issuer')}, until ${day(first?.valid_to)}`,
  );
}

function alpnCheck(socket: TLSSocket, { alpn }: Target): Finding {
  const name = 'ALPN';
  if (alpn.length === 0) return skipped(name, 'nothing is offered, and nothing need be');
  const agreed = socket.alpnProtocol;
  if (typeof agreed === 'string') return ok(name, agreed);
  return warn(
    name,
    `the broker ignores what is offered (${alpn.join(', ')})`,
    'at AWS that does not happen: something between opens TLS, or this is another broker (connection.alpn: [])',
  );
}

function chainOf(leaf: PeerCertificate): PeerCertificate[] {
  const chain: PeerCertificate[] = [];
  let one: PeerCertificate | undefined = leaf;
  while (one && Object.keys(one).length > 0 && chain.length < CHAIN_LENGTH_MAX) {
    if (chain.includes(one)) break;
    chain.push(one);
    one = (one as { issuerCertificate?: PeerCertificate }).issuerCertificate;
  }
  return chain;
}

function named(certificate: PeerCertificate | undefined, of: 'subject' | 'issuer' = 'subject'): string {
  const { CN, OU, O } = (certificate?.[of] ?? {}) as { CN?: string; OU?: string; O?: string };
  return CN ?? OU ?? O ?? 'a certificate without a name';
}

function day(date: string | number | undefined): string {
  return date === undefined ? 'an unknown day' : new Date(date).toISOString().slice(0, 10);
}
