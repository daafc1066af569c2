import type { Config } from '../../config/config.ts';
import { CLAIMED } from '../../provisioning/credentials.ts';
import { givenCredential } from '../../provisioning/given.ts';
import { provisioningTopics } from '../../provisioning/requests.ts';
import { wantsCertificate } from '../certificate.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import type { DoctorHost } from './host.ts';

/** Whether the device has its own certificate, where it is to ask for one; nothing where it is not. */
export async function provisioningCheck(config: Config, host: DoctorHost): Promise<Finding[]> {
  const name = 'provisioning';
  const given = givenCredential(config.state.directory);
  if (given && (given.name !== CLAIMED || given.proven))
    return [ok(name, `certificate ${given.certificateId}, of the thing ${given.thingName ?? config.thing}`)];
  if (given) {
    return [
      warn(
        name,
        `the certificate ${given.certificateId} was made, and no connection with it was accepted yet`,
        'evenkeel run goes on; whether it is ACTIVE and has a policy: aws iot describe-certificate --certificate-id …',
      ),
    ];
  }
  if (!wantsCertificate(config)) return [];
  const { template = '', keys, claimCertificate, claimPrivateKey } = config.provisioning;
  for (const [key, path] of Object.entries({ claimCertificate, claimPrivateKey })) {
    if (path === undefined)
      return [fail(name, `provisioning.${key} is not set, and the device has no certificate`, `set it`)];
    if (path.startsWith('/') && (await host.readText(path)) === undefined)
      return [fail(name, `provisioning.${key}: cannot read ${path}`, `put it there, readable by the agent`)];
  }
  return [
    warn(
      name,
      `not provisioned yet: the device has no certificate of its own, and a claim for the template ${template}`,
      `evenkeel run asks for one; the policy of the claim must allow ${provisioningTopics(template, keys).join(' and ')}`,
    ),
  ];
}

/** True where nothing can be asked of the broker under the device's own name. */
export function isUnprovisioned(config: Config): boolean {
  return givenCredential(config.state.directory) === undefined && wantsCertificate(config);
}
