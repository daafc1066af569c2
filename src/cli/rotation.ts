import type { Config } from '../config/config.ts';
import { systemClock } from '../host/clock.ts';
import type { Log } from '../host/log.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { Credentials } from '../provisioning/credentials.ts';
import { credentialsDirectory } from '../provisioning/given.ts';
import { createProvisioningRequests } from '../provisioning/requests.ts';
import type { Certificates } from '../steps/step.ts';
import type { Transport, TransportTls } from '../transport/port.ts';
import { parametersOf } from './certificate.ts';
import { tlsOptions } from './settings.ts';

/**
 * What a job gets another certificate with: the device asks over its own connection, as AWS has it for fleet
 * provisioning. AWS itself has no service that rotates certificates, and this way needs no code in the cloud.
 */
export async function createCertificates(
  config: Config,
  transport: Transport,
  usedTls: () => TransportTls | undefined,
  log: Log,
): Promise<Certificates | undefined> {
  const { provisioning, jobs, state, thing, connection } = config;
  const { rotationTemplate: template, keys } = provisioning;
  if (template === undefined) return undefined;
  const credentials = new Credentials(nodeDisk, credentialsDirectory(state.directory));
  await credentials.open();
  const requests = createProvisioningRequests(transport, {
    clock: systemClock,
    timeoutMs: jobs.requestTimeoutSeconds * 1000,
  });
  return {
    async obtain(name, signal) {
      const { obtain } = await import('../provisioning/obtain.ts');
      const wanted = { name, commonName: thing, template, parameters: parametersOf(config), keys, thing };
      const obtained = await obtain(wanted, { credentials, requests, clock: systemClock, log }, signal);
      return obtained.ok ? { ok: true, certificateId: obtained.credential.record.certificateId } : obtained;
    },
    async made(name) {
      const record = (await credentials.read(name))?.record;
      return (
        record && {
          certificateId: record.certificateId,
          registered: record.ownershipToken === undefined,
        }
      );
    },
    follow() {
      if (usedTls()?.certificate === tlsOptions(config).certificate) return;
      log.info({}, 'connecting with the certificate that is in use again');
      transport.renew(connection.connectTimeoutSeconds * 1000).catch(() => undefined);
    },
    prune: () => credentials.prune(),
  };
}
