import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { Simulator } from '../../src/simulator/index.ts';

/**
 * The simulator with the certificates and policies that it does not have, kept in memory: what the measurement makes
 * of them, and must remove again. Certificates are real ones, of the simulator's own authority.
 */
export interface PretendAccount {
  url: string;
  /** Names of policies, certificates (with their status), attachments: all that there is. */
  remains(): string[];
  close(): Promise<void>;
}

const ACCOUNT = 'arn:aws:iot:us-east-1:123456789012';

export async function pretendAccount(simulator: Simulator): Promise<PretendAccount> {
  const policies = new Set<string>();
  const certificates = new Map<string, 'ACTIVE' | 'INACTIVE'>();
  const attached = new Set<string>();
  const held = new Set<string>();
  let made = 0;

  const conflict = (message: string): Answer => ({
    status: 409,
    type: 'DeleteConflictException',
    body: { message },
  });

  const routes: [RegExp, (call: Call) => Answer | Promise<Answer>][] = [
    [/^GET \/endpoint/, () => ({ body: { endpointAddress: new URL(simulator.mqttsUrl ?? '').host } })],
    [
      /^POST \/keys-and-certificate/,
      async () => {
        made += 1;
        const id = `c${made}`;
        // The common name is what the simulator knows a device by.
        const thing = [...policies][0] ?? '';
        const { cert, key } = await simulator.issueCertificate(thing);
        certificates.set(id, 'ACTIVE');
        const keyPair = { PrivateKey: key };
        return {
          body: { certificateArn: `${ACCOUNT}:cert/${id}`, certificateId: id, certificatePem: cert, keyPair },
        };
      },
    ],
    [
      /^PUT \/certificates\/(\w+)\?newStatus=(\w+)/,
      ({ match }) => {
        certificates.set(match[1] ?? '', match[2] as 'INACTIVE');
        return {};
      },
    ],
    [
      /^DELETE \/certificates\/(\w+)/,
      ({ match }) => {
        const arn = `${ACCOUNT}:cert/${match[1]}`;
        if (certificates.get(match[1] ?? '') === 'ACTIVE') return conflict('it is active');
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
      const text = await textOf(request);
      const line = `${request.method} ${request.url}`;
      const route = routes.find(([pattern]) => pattern.test(line));
      if (!route) {
        const passed = await fetch(`${simulator.httpUrl}${request.url}`, {
          method: request.method ?? 'GET',
          headers: { 'content-type': 'application/json', authorization: request.headers.authorization ?? '' },
          ...(text === '' ? {} : { body: text }),
        });
        const type = passed.headers.get('x-amzn-errortype');
        response.writeHead(passed.status, type === null ? {} : { 'x-amzn-errortype': type });
        response.end(await passed.text());
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
      response.writeHead(status, type === undefined ? {} : { 'x-amzn-errortype': type });
      response.end(JSON.stringify(body));
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
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
