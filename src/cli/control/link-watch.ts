import type { Clock } from '../../host/clock.ts';
import type { Transport } from '../../transport/port.ts';

/** The link as a person wants to know it. */
export interface LinkStatus {
  up: boolean;
  /** ISO time of the last change. */
  since: string;
  url: string;
  clientId: string;
  filters: readonly string[];
  mqttVersion?: number;
  /** Of the last refusal or loss; it may be long over. */
  lastFailure?: string;
  lastFailureAt?: string;
}

/** Remembers when the link changed, and what the transport said of it. */
export class LinkWatch {
  readonly #clock: Pick<Clock, 'wallMs'>;
  #changedAt: number;
  #failedAt: number | undefined;
  #mqttVersion: number | undefined;

  constructor(clock: Pick<Clock, 'wallMs'>) {
    this.#clock = clock;
    this.#changedAt = clock.wallMs();
  }

  /** To be called with everything that the transport logs. */
  heard(event: string, fields: object): void {
    const { mqttVersion } = fields as { mqttVersion?: unknown };
    if (event === 'transport.up' || event === 'transport.down') this.#changedAt = this.#clock.wallMs();
    if (event === 'transport.failed') this.#failedAt = this.#clock.wallMs();
    if (event === 'transport.up' && typeof mqttVersion === 'number') this.#mqttVersion = mqttVersion;
  }

  status(
    { up, lastFailure }: Pick<Transport, 'up' | 'lastFailure'>,
    options: { url: string; clientId: string; filters: readonly string[] },
  ): LinkStatus {
    const { url, clientId, filters } = options;
    return {
      up,
      since: iso(this.#changedAt),
      url,
      clientId,
      filters,
      ...(up && this.#mqttVersion !== undefined && { mqttVersion: this.#mqttVersion }),
      ...(lastFailure !== undefined && { lastFailure }),
      ...(lastFailure !== undefined &&
        this.#failedAt !== undefined && { lastFailureAt: iso(this.#failedAt) }),
    };
  }
}

function iso(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
