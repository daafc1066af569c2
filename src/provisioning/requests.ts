import type { Clock } from '../host/clock.ts';
import { type Transport, TransportError } from '../transport/port.ts';

/**
 * The MQTT API of fleet provisioning (AWS IoT developer guide, "Device provisioning MQTT API"). Its requests have no
 * client token: one of a kind is under way at a time, and an answer is that of the last one asked. What it says is
 * checked against our own key, so that an answer that comes late does no harm.
 */

const CSR = '$aws/certificates/create-from-csr/json';
const KEYS = '$aws/certificates/create/json';
const provisionTopic = (template: string): string => `$aws/provisioning-templates/${template}/provision/json`;

/** Many devices have one claim: their client ids are nobody's, or they would push each other out (L26). */
export const CLAIM_CLIENT = 'evenkeel-claim-';

export type KeysFrom = 'device' | 'cloud';

/** What is published to, for a policy. */
export function provisioningTopics(template: string, keys: KeysFrom): string[] {
  return [keys === 'device' ? CSR : KEYS, provisionTopic(template)];
}

/** What is listened to. */
export function provisioningFilters(template: string, keys: KeysFrom): string[] {
  return provisioningTopics(template, keys).map((topic) => `${topic}/+`);
}

export type Reply<T> =
  | { kind: 'accepted'; value: T }
  | { kind: 'rejected'; statusCode: number; errorCode: string; message: string }
  | { kind: 'noAnswer'; reason: string };

export interface CreatedCertificate {
  certificateId: string;
  certificate: string;
  ownershipToken: string;
  /** Of CreateKeysAndCertificate. */
  privateKey?: string;
}

export interface ProvisioningRequests {
  createFromCsr(request: string): Promise<Reply<CreatedCertificate>>;
  createKeys(): Promise<Reply<CreatedCertificate>>;
  registerThing(
    template: string,
    ownershipToken: string,
    parameters: Readonly<Record<string, string>>,
  ): Promise<Reply<{ thingName?: string }>>;
}

export interface RequestsDeps {
  clock: Pick<Clock, 'sleep'>;
  timeoutMs: number;
}

type Body = Readonly<Record<string, unknown>>;

export function createProvisioningRequests(
  transport: Pick<Transport, 'publish' | 'subscribe'>,
  { clock, timeoutMs }: RequestsDeps,
): ProvisioningRequests {
  async function ask<T>(
    topic: string,
    body: object | undefined,
    read: (body: Body) => T | undefined,
  ): Promise<Reply<T>> {
    const over = new AbortController();
    let unsubscribe: () => void = () => undefined;
    const answered = new Promise<Reply<T>>((resolve) => {
      unsubscribe = transport.subscribe({
        onMessage({ topic: from, payload }) {
          if (from === `${topic}/accepted`) resolve(acceptedOf(payload, read));
          if (from === `${topic}/rejected`) resolve(rejectedOf(payload));
        },
        // Answers come on the connection that asked.
        onDown: (reason) => resolve({ kind: 'noAnswer', reason: `the link ended: ${reason}` }),
      });
    });
    const late = clock.sleep(timeoutMs, over.signal).then(
      (): Reply<T> => ({ kind: 'noAnswer', reason: `no answer within ${timeoutMs} ms` }),
      (): Reply<T> => ({ kind: 'noAnswer', reason: 'answered' }),
    );
    const payload = Buffer.from(body === undefined ? '' : JSON.stringify(body));
    const sent = transport.publish(topic, payload, timeoutMs).then(
      () => answered,
      (error: unknown): Reply<T> => {
        if (!(error instanceof TransportError)) throw error;
        return { kind: 'noAnswer', reason: error.message };
      },
    );
    try {
      return await Promise.race([answered, sent, late]);
    } finally {
      unsubscribe();
      over.abort(new Error('answered'));
    }
  }

  return {
    createFromCsr: (certificateSigningRequest) => ask(CSR, { certificateSigningRequest }, createdOf),
    createKeys: () => ask(KEYS, undefined, createdOf),
    registerThing: (template, certificateOwnershipToken, parameters) =>
      ask(provisionTopic(template), { certificateOwnershipToken, parameters }, ({ thingName }) =>
        typeof thingName === 'string' ? { thingName } : {},
      ),
  };
}

function bodyOf(payload: Uint8Array): Body | undefined {
  try {
    const value = JSON.parse(Buffer.from(payload).toString('utf8')) as unknown;
    return typeof value === 'object' && value !== null ? (value as Body) : undefined;
  } catch {
    return undefined;
  }
}

function acceptedOf<T>(payload: Uint8Array, read: (body: Body) => T | undefined): Reply<T> {
  const body = bodyOf(payload);
  const value = body && read(body);
  return value === undefined
    ? { kind: 'noAnswer', reason: 'the answer cannot be read' }
    : { kind: 'accepted', value };
}

function rejectedOf(payload: Uint8Array): Reply<never> {
  const { statusCode, errorCode, errorMessage } = bodyOf(payload) ?? {};
  return {
    kind: 'rejected',
    statusCode: typeof statusCode === 'number' ? statusCode : 0,
    errorCode: typeof errorCode === 'string' ? errorCode : 'unknown',
    message: typeof errorMessage === 'string' ? errorMessage : '',
  };
}

function createdOf(body: Body): CreatedCertificate | undefined {
  const { certificateId, certificatePem, certificateOwnershipToken, privateKey } = body;
  if (
    typeof certificateId !== 'string' ||
    typeof certificatePem !== 'string' ||
    typeof certificateOwnershipToken !== 'string'
  )
    return undefined;
  return {
    certificateId,
    certificate: certificatePem,
    ownershipToken: certificateOwnershipToken,
    ...(typeof privateKey === 'string' && { privateKey }),
  };
}
