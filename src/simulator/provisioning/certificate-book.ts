import { randomBytes, X509Certificate } from 'node:crypto';
import type { SimulatorClock } from '../service/types.ts';

export const CERTIFICATE_STATES = ['PENDING_ACTIVATION', 'ACTIVE', 'INACTIVE', 'REVOKED'] as const;
export type CertificateStatus = (typeof CERTIFICATE_STATES)[number];

/** A certificate that the service knows. */
export interface KnownCertificate {
  certificateId: string;
  certificatePem: string;
  status: CertificateStatus;
  /** What it is attached to. */
  thing?: string;
  /** The template that it may claim a certificate by, and do nothing else. */
  claims?: string;
}

interface Owned {
  certificateId: string;
  expiresMs: number;
}

/** "For security, the certificateOwnershipToken expires after one hour" (developer guide). */
export const TOKEN_MINUTES = 60;

/**
 * Certificates by their id, which is the SHA-256 of the certificate, and the tokens that prove who had one made. One
 * that is signed by our authority and is not in here was made by hand, and counts as active.
 */
export class CertificateBook {
  readonly #certificates = new Map<string, KnownCertificate>();
  readonly #tokens = new Map<string, Owned>();
  readonly #clock: Pick<SimulatorClock, 'monotonicMs'>;

  constructor(clock: Pick<SimulatorClock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  add(
    certificatePem: string,
    status: CertificateStatus,
    more: Pick<KnownCertificate, 'thing' | 'claims'> = {},
  ) {
    const certificateId = certificateIdOf(new X509Certificate(certificatePem));
    const known: KnownCertificate = { certificateId, certificatePem, status, ...more };
    this.#certificates.set(certificateId, known);
    return known;
  }

  get(certificateId: string): KnownCertificate | undefined {
    return this.#certificates.get(certificateId);
  }

  list(): KnownCertificate[] {
    return [...this.#certificates.values()];
  }

  /** A token for a certificate that has just been made. */
  tokenFor(certificateId: string): string {
    const token = randomBytes(48).toString('base64url');
    this.#tokens.set(token, { certificateId, expiresMs: this.#clock.monotonicMs() + TOKEN_MINUTES * 60_000 });
    return token;
  }

  /** The certificate that a token is for; one that was not activated in its time is deleted. */
  ownedBy(token: string): KnownCertificate | undefined {
    const owned = this.#tokens.get(token);
    if (!owned) return undefined;
    const known = this.#certificates.get(owned.certificateId);
    if (this.#clock.monotonicMs() < owned.expiresMs) return known;
    this.#tokens.delete(token);
    if (known?.status === 'PENDING_ACTIVATION') this.#certificates.delete(owned.certificateId);
    return undefined;
  }

  spend(token: string): void {
    this.#tokens.delete(token);
  }

  clear(): void {
    this.#certificates.clear();
    this.#tokens.clear();
  }
}

export function certificateIdOf({ fingerprint256 }: Pick<X509Certificate, 'fingerprint256'>): string {
  return fingerprint256.replaceAll(':', '').toLowerCase();
}
