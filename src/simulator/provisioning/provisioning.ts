import { X509Certificate } from 'node:crypto';
import type { Authority, Certificate } from '../certificates.ts';
import type { Answer, Answering, DeviceRequest } from '../device/device-plane.ts';
import { isProvisioning, type ProvisioningOperation } from '../device/topics.ts';
import type { Policy, PolicyAction, Principal } from '../mqtt/policy.ts';
import { Refusal, type SimulatorClock } from '../service/types.ts';
import { CertificateBook, type CertificateStatus, type KnownCertificate } from './certificate-book.ts';
import { fillIn, type ProvisioningTemplate, parseProvisioningTemplate } from './template.ts';

/**
 * Fleet provisioning by claim (developer guide, "Device provisioning MQTT API"): what devices ask for on
 * `$aws/certificates/…` and `$aws/provisioning-templates/…`, and what a certificate may do by its state.
 */

/** What the guide leaves open. */
export const PROVISIONING_SWITCHES = {
  ownershipToken: {
    values: ['untilItExpires', 'once'],
    default: 'untilItExpires',
    meaning: 'a certificateOwnershipToken serves RegisterThing until it expires, or for one accepted request',
  },
} as const;

export interface ProvisioningSwitches {
  ownershipToken: 'untilItExpires' | 'once';
}

export interface ProvisioningDeps {
  /** Without TLS nobody could use a certificate: there is none then. */
  authority: Authority | undefined;
  clock: SimulatorClock;
  switches: Readonly<ProvisioningSwitches>;
  createThing(thing: string): void;
  /** Ends the connections that were made with a certificate. */
  disconnect(certificateId: string): void;
}

const RSA_BITS_MIN = 2048;
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];

/** statusCode of an errorCode; the guide has the members and no list, and 400 is what was seen most. */
const STATUS_CODES: Partial<Record<string, number>> = {
  AccessDenied: 403,
  ResourceNotFound: 404,
  Throttled: 429,
  RequestThrottled: 429,
  InternalError: 500,
  ServiceUnavailable: 503,
};

export class Provisioning implements Answering<ProvisioningOperation>, Policy {
  readonly #deps: ProvisioningDeps;
  readonly #book: CertificateBook;
  readonly #templates = new Map<string, ProvisioningTemplate>();

  constructor(deps: ProvisioningDeps) {
    this.#deps = deps;
    this.#book = new CertificateBook(deps.clock);
  }

  /** Makes a template, or replaces it. */
  putTemplate(name: string, body: unknown): void {
    if (!/^[0-9A-Za-z_-]{1,36}$/.test(name)) throw new Error(`"${name}" is no name of a template`);
    this.#templates.set(name, parseProvisioningTemplate(body));
  }

  /** A certificate that may do nothing but ask for another one by this template. */
  async issueClaim(template: string): Promise<Pick<Certificate, 'cert' | 'key'> & { certificateId: string }> {
    if (!this.#templates.has(template)) throw new Error(`there is no template "${template}"`);
    const made = await this.#authority().make(`claim of ${template}`);
    return { ...made, ...this.#book.add(made.cert, 'ACTIVE', { claims: template }) };
  }

  certificates(): KnownCertificate[] {
    return this.#book.list();
  }

  /** Whoever is connected with a certificate that is not active any more is disconnected. */
  setStatus(certificateId: string, status: CertificateStatus): boolean {
    const known = this.#book.get(certificateId);
    if (!known) return false;
    known.status = status;
    if (status !== 'ACTIVE') this.#deps.disconnect(certificateId);
    return true;
  }

  clear(): void {
    this.#book.clear();
    this.#templates.clear();
  }

  async handle(request: DeviceRequest<ProvisioningOperation>): Promise<Answer> {
    try {
      return { verdict: 'accepted', body: await this.#act(request) };
    } catch (error) {
      if (error instanceof Refusal) return this.refuse(request, error);
      throw error;
    }
  }

  /** Neither a timestamp nor a client token: these requests know none. */
  refuse(_request: unknown, { code, message }: Refusal): Answer {
    const statusCode = STATUS_CODES[code] ?? 400;
    return { verdict: 'rejected', body: { statusCode, errorCode: code, errorMessage: message } };
  }

  denies(action: PolicyAction, { certificateId }: Principal, topic = ''): boolean {
    const known = certificateId === undefined ? undefined : this.#book.get(certificateId);
    if (!known) return false;
    if (known.status !== 'ACTIVE') return true;
    if (known.claims === undefined || action === 'connect') return false;
    return ![
      '$aws/certificates/create/',
      '$aws/certificates/create-from-csr/',
      `$aws/provisioning-templates/${known.claims}/provision/`,
    ].some((prefix) => isProvisioning(topic) && topic.startsWith(prefix));
  }

  async #act({
    operation,
    target,
    body,
  }: DeviceRequest<ProvisioningOperation>): Promise<Record<string, unknown>> {
    switch (operation) {
      case 'createCertificateFromCsr':
        return await this.#signed(body['certificateSigningRequest']);
      case 'createKeysAndCertificate': {
        const { cert, key } = await this.#authority().make('AWS IoT Certificate');
        return { ...this.#owned(cert), privateKey: key };
      }
      case 'registerThing':
        return this.#register(target, body);
    }
  }

  async #signed(request: unknown): Promise<Record<string, unknown>> {
    if (typeof request !== 'string' || !request.includes('-----BEGIN CERTIFICATE REQUEST-----'))
      throw new Refusal(
        'InvalidCertificateSigningRequest',
        'certificateSigningRequest: must be a CSR in PEM',
      );
    let certificate: string;
    try {
      certificate = await this.#authority().sign(request);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw new Refusal('InvalidCertificateSigningRequest', (error as Error).message);
    }
    const { asymmetricKeyDetails } = new X509Certificate(certificate).publicKey;
    const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails ?? {};
    if (modulusLength < RSA_BITS_MIN && !CURVES.includes(namedCurve))
      throw new Refusal(
        'InvalidCertificateSigningRequest',
        'the key must be RSA of 2048 bits, or of a NIST curve',
      );
    return this.#owned(certificate);
  }

  #owned(certificatePem: string): Record<string, unknown> {
    const { certificateId } = this.#book.add(certificatePem, 'PENDING_ACTIVATION');
    return { certificateId, certificatePem, certificateOwnershipToken: this.#book.tokenFor(certificateId) };
  }

  #register(name: string, body: Record<string, unknown>): Record<string, unknown> {
    const { certificateOwnershipToken: token, parameters = {} } = body;
    if (typeof token !== 'string' || token === '')
      throw new Refusal('InvalidCertificateOwnershipToken', 'Certificate ownership token cannot be empty.');
    const template = this.#templates.get(name);
    if (!template) throw new Refusal('ResourceNotFound', `there is no template ${name}`);
    if (!isTexts(parameters)) throw new Refusal('InvalidParameters', 'parameters: must be texts by name');
    const known = this.#book.ownedBy(token);
    if (!known) throw new Refusal('InvalidCertificateOwnershipToken', 'the token is unknown, or has expired');
    const { thing, status, deviceConfiguration } = fillIn(template, parameters, known.certificateId);
    if (this.#deps.switches.ownershipToken === 'once') this.#book.spend(token);
    if (known.status === 'PENDING_ACTIVATION') known.status = status;
    if (thing !== undefined) {
      known.thing = thing;
      this.#deps.createThing(thing);
    }
    return { deviceConfiguration, ...(thing !== undefined && { thingName: thing }) };
  }

  #authority(): Authority {
    const { authority } = this.#deps;
    if (!authority) throw new Refusal('InternalError', 'the simulator was started without tls');
    return authority;
  }
}

function isTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((one) => typeof one === 'string')
  );
}
