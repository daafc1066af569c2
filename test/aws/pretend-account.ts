import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { dirname } from 'node:path';
import { openAuthority } from '../../src/simulator/certificates.ts';
import type { Simulator } from '../../src/simulator/index.ts';

/**
 * The simulator with the certificates and policies that it does not have, kept in memory: what the measurement makes
 * of them, and must remove again. Certificates are real ones, of the simulator's own authority.
 */
export interface PretendAccount {
  url: string;
  /** Names of policies, certificates (with their status), attachments: all that there is. */
  remains(): string[];
  /** A certificate with that subject, as somebody else has made it. */
  addCertificate(subject: string, status: CertificateStatus): Promise<void>;
  /** Nobody is heard from the n-th request on: that one is done and its answer lost, or it never arrives. */
  cutAt(request: number, when: 'before' | 'after'): void;
  /** Everybody is heard again; how many were not. */
  mend(): number;
  close(): Promise<void>;
}

export type CertificateStatus = 'ACTIVE' | 'INACTIVE';

const ACCOUNT = 'arn:aws:iot:us-east-1:123456789012';

export async function pretendAccount(simulator: Simulator): Promise<PretendAccount> {
  const policies = new Set<string>();
  const certificates = new Map<string, { status: CertificateStatus; certificatePem: string }>();
  const attached = new Set<string>();
  const held = new Set<string>();
  let made = 0;
  let cut = { request: Number.POSITIVE_INFINITY, when: 'before' };
  let requests = 0;
  const directory = dirname(simulator.caFile ?? '');
  const authority = await openAuthority(directory, { hosts: [], wallMs: Date.now() });
  const keep = (certificatePem: string, status: CertificateStatus) => {
    made += 1;
    const certificateId = `c${made}`;
    certificates.set(certificateId, { status, certificatePem });
    return { certificateArn: `${ACCOUNT}:cert/${certificateId}`, certificateId, certificatePem };
  };

  const conflict = (message: string): Answer => ({
    status: 409,
    type: 'DeleteConflictException',
    body: { message },
  });

  const routes: [RegExp, (call: Call) => Answer | Promise<Answer>][] = [
    [/^GET \/endpoint/, () => ({ body: { endpointAddress: new URL(simulator.mqttsUrl ?? '').host } })],
    [
      /^POST \/certificates\?setAsActive=(\w+)/,
      async ({ match, body }) => {
        const certificatePem = await authority.sign(String(body['certificateSigningRequest']));
        return { body: keep(certificatePem, match[1] === 'true' ? 'ACTIVE' : 'INACTIVE') };
      },
    ],
    [
      /^GET \/certificates\/(\w+)/,
      ({ match }) => {
        const certificateId = match[1] ?? '';
        return { body: { certificateDescription: { certificateId, ...certificates.get(certificateId) } } };
      },
    ],
    [
      /^GET \/certificates/,
      () => {
        const listed = [...certificates].map(([certificateId, { status }]) => {
          return { certificateId, certificateArn: `${ACCOUNT}:cert/${certificateId}`, status };
        });
        return { body: { certificates: listed } };
      },
    ],
    [
      /^PUT \/certificates\/(\w+)\?newStatus=(\w+)/,
      ({ match }) => {
        const known = certificates.get(match[1] ?? '');
        if (known) known.status = match[2] as CertificateStatus;
        return {};
      },
    ],
    [
      /^DELETE \/certificates\/(\w+)/,
      ({ match }) => {
        const arn = `${ACCOUNT}:cert/${match[1]}`;
        if (certificates.get(match[1] ?? '')?.status === 'ACTIVE') return conflict('it is active');
        if ([...attached, ...held].some((one) => one.endsWith(arn))) return conflict('it is attached');
        certificates.delete(match[1] ?? '');
        return {};
      },
    ],
    [
      /^POST \/policies\/([\w-]+)/,
      ({ match }) => {
        policies.add(match[1] ?? '');
        return {};
      },
    ],
    [/^GET \/policies/, () => ({ body: { policies: [...policies].map((policyName) => ({ policyName })) } })],
    [
      /^DELETE \/policies\/([\w-]+)/,
      ({ match }) => {
        if ([...attached].some((one) => one.startsWith(`${match[1]} `))) return conflict('it is attached');
        policies.delete(match[1] ?? '');
        return {};
      },
    ],
    [
      /^PUT \/target-policies\/([\w-]+)/,
      ({ match, body }) => {
        attached.add(`${match[1]} ${String(body['target'])}`);
        return {};
      },
    ],
    [
      /^POST \/target-policies\/([\w-]+)/,
      ({ match, body }) => {
        attached.delete(`${match[1]} ${String(body['target'])}`);
        return {};
      },
    ],
    [/^POST \/policy-targets\/([\w-]+)/, ({ match }) => ({ body: { targets: of(attached, match[1]) } })],
    [
      /^PUT \/things\/([\w-]+)\/principals/,
      ({ match, principal }) => {
        held.add(`${match[1]} ${principal}`);
        return {};
      },
    ],
    [
      /^DELETE \/things\/([\w-]+)\/principals/,
      ({ match, principal }) => {
        held.delete(`${match[1]} ${principal}`);
        return {};
      },
    ],
    [/^GET \/things\/([\w-]+)\/principals/, ({ match }) => ({ body: { principals: of(held, match[1]) } })],
    [
      /^GET \/principals\/things/,
      ({ principal }) => ({
        body: { things: [...held].filter((one) => one.endsWith(principal)).map((one) => one.split(' ')[0]) },
      }),
    ],
  ];

  const server = createServer((request, response) => {
    void (async () => {
      requests += 1;
      const lost = (): void => void request.socket.destroy();
      if (requests > cut.request || (requests === cut.request && cut.when === 'before')) return lost();
      const isLast = requests === cut.request;
      const text = await textOf(request);
      const line = `${request.method} ${request.url}`;
      const route = routes.find(([pattern]) => pattern.test(line));
      if (!route) {
        const passed = await fetch(`${simulator.httpUrl}${request.url}`, {
          method: request.method ?? 'GET',
          headers: { 'content-type': 'application/json', authorization: request.headers.authorization ?? '' },
          ...(text === '' ? {} : { body: text }),
        });
        const answer = await passed.text();
        if (isLast) return lost();
        const type = passed.headers.get('x-amzn-errortype');
        response.writeHead(passed.status, type === null ? {} : { 'x-amzn-errortype': type });
        response.end(answer);
        return;
      }
      const {
        status = 200,
        type,
        body = {},
      } = await route[1]({
        match: route[0].exec(line) ?? ([] as unknown as RegExpExecArray),
        body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
        principal: String(
          request.headers['x-amzn-principal'] ?? request.headers['x-amzn-iot-principal'] ?? '',
        ),
      });
      if (isLast) return lost();
      response.writeHead(status, type === undefined ? {} : { 'x-amzn-errortype': type });
      response.end(JSON.stringify(body));
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async addCertificate(subject, status) {
      keep((await authority.make(subject)).cert, status);
    },
    cutAt(request, when) {
      requests = 0;
      cut = { request, when };
    },
    mend() {
      const missed = Math.max(0, requests - cut.request + 1);
      cut = { request: Number.POSITIVE_INFINITY, when: 'before' };
      return missed;
    },
    remains: () => [...policies, ...certificates.keys(), ...attached, ...held],
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Call {
  match: RegExpExecArray;
  body: Record<string, unknown>;
  principal: string;
}

interface Answer {
  status?: number;
  type?: string;
  body?: object;
}

const of = (pairs: ReadonlySet<string>, name: string | undefined): string[] =>
  [...pairs].filter((pair) => pair.startsWith(`${name} `)).map((pair) => pair.slice((name?.length ?? 0) + 1));

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
