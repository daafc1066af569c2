import type { Clock } from '../host/clock.ts';
import type { Log } from '../host/log.ts';
import { within } from '../host/within.ts';
import type { Transport } from '../transport/port.ts';
import { CLAIMED, type Credential, type Credentials } from './credentials.ts';
import { obtain, type Wanted } from './obtain.ts';
import { CLAIM_CLIENT, createProvisioningRequests, provisioningFilters } from './requests.ts';

export interface ProvisionSettings extends Pick<Wanted, 'template' | 'parameters' | 'keys'> {
  /** PEM texts: what whole fleets share, good for nothing but asking. */
  claim: { certificate: string; privateKey: string };
  /** Of the device, while nobody has named its thing. */
  commonName: string;
  /** Of connections with a credential. */
  clientIdOf(credential: Credential): string;
  requestTimeoutMs: number;
  /** How long a link is tried before the other credential is. */
  connectWaitMs: number;
}

export interface ProvisionDeps {
  credentials: Credentials;
  clock: Clock;
  log: Log;
  /** A transport, not started yet. */
  connect(how: {
    certificate: string;
    privateKey: string;
    clientId: string;
    filters: readonly string[];
  }): Promise<Transport>;
}

const PAUSE_MAX_MS = 3_600_000;

/**
 * Gives a device that has no certificate its own: fleet provisioning by claim. Resolves when a connection with the new
 * one was accepted; until then the claim is there to fall back on. A new certificate that is not let in while the claim
 * is, is taken away and asked for anew: where neither is let in, nothing is known, and both are tried again.
 */
export async function provision(settings: ProvisionSettings, deps: ProvisionDeps): Promise<Credential> {
  const { credentials, clock, log } = deps;
  await credentials.open();
  for (let failures = 0; ; ) {
    const found = await credentials.current();
    if (found?.record.proven) return found;
    if (found && (await isLetIn(found, settings, deps))) {
      const record = { ...found.record, proven: true as const };
      await credentials.writeRecord(found.name, record);
      await credentials.prune();
      log.info({ certificateId: record.certificateId, thingName: record.thingName }, 'provisioned');
      return { ...found, record };
    }
    if (found) failures += 1;
    // Each round may leave a certificate behind in the cloud.
    if (failures > 0) await clock.sleep(clock.random() * pauseMs(settings, failures));
    if ((await askByClaim(found, settings, deps)) === 'refused') failures += 1;
  }
}

function pauseMs({ connectWaitMs }: ProvisionSettings, failures: number): number {
  return Math.min(connectWaitMs * 2 ** Math.min(failures - 1, 20), PAUSE_MAX_MS);
}

/** True when a connection with this credential was accepted within the time for it. */
async function isLetIn(
  credential: Credential,
  settings: ProvisionSettings,
  deps: ProvisionDeps,
): Promise<boolean> {
  const { certificate, privateKey } = credential;
  const clientId = settings.clientIdOf(credential);
  const link = await deps.connect({ certificate, privateKey, clientId, filters: [] });
  try {
    const up = await isUp(link, settings.connectWaitMs, deps.clock);
    if (!up) deps.log.warn({ reason: link.lastFailure }, 'the new certificate is not let in');
    return up;
  } finally {
    await link.close();
  }
}

/** One round with the claim; `unproven` is a credential of an earlier round that was not let in. */
async function askByClaim(
  unproven: Credential | undefined,
  settings: ProvisionSettings,
  { credentials, clock, log, connect }: ProvisionDeps,
): Promise<'provisioned' | 'refused' | 'noLink'> {
  const { template, keys, parameters, commonName, connectWaitMs, requestTimeoutMs } = settings;
  const clientId = `${CLAIM_CLIENT}${clock.uuid()}`;
  const filters = provisioningFilters(template, keys);
  const link = await connect({ ...settings.claim, clientId, filters });
  try {
    if (!(await isUp(link, connectWaitMs, clock))) {
      log.warn({ reason: link.lastFailure }, 'no link with the claim certificate');
      return 'noLink';
    }
    if (unproven) {
      log.warn(
        { certificateId: unproven.record.certificateId },
        'the claim is let in, and the new one is not',
      );
      await credentials.discard(unproven.name);
    }
    const requests = createProvisioningRequests(link, { clock, timeoutMs: requestTimeoutMs });
    const wanted: Wanted = { name: CLAIMED, commonName, template, parameters, keys };
    const deps = { credentials, requests, clock, log };
    const obtained = await within(connectWaitMs, clock, new AbortController().signal, (signal) =>
      obtain(wanted, deps, signal),
    );
    if (!obtained.ok) {
      log.error({ reason: obtained.reason }, 'not provisioned yet');
      return 'refused';
    }
    await credentials.use(CLAIMED);
    return 'provisioned';
  } finally {
    await link.close();
  }
}

async function isUp(link: Transport, waitMs: number, clock: Pick<Clock, 'sleep'>): Promise<boolean> {
  const up = new AbortController();
  const unsubscribe = link.subscribe({ onUp: () => up.abort(new Error('up')) });
  link.start();
  await clock.sleep(waitMs, up.signal).catch(() => undefined);
  unsubscribe();
  return link.up;
}
