import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createPatient, finding, type Patient } from './patient.ts';

/** A device that has no certificate of its own yet, as doctor tells of it. */

let patient: Patient;
beforeEach(async () => {
  patient = await createPatient();
});
afterEach(() => patient.remove());

const configured = (more: object): Promise<void> =>
  patient.configure({
    connection: { url: 'mqtts://127.0.0.1:1' },
    provisioning: { template: 'boats', ...more },
  });

test('an unprovisioned device is told of in words, with what its claim must be allowed', async () => {
  const claim = join(patient.root, 'claim.pem');
  await writeFile(claim, 'pem');
  await configured({ claimCertificate: claim, claimPrivateKey: claim });
  const report = await patient.examined();
  expect(finding(report, 'provisioning')).toEqual({
    name: 'provisioning',
    result: 'warn',
    detail: expect.stringMatching(/^not provisioned yet.*template boats$/) as string,
    fix: expect.stringContaining('$aws/provisioning-templates/boats/provision/json') as string,
  });
  expect(finding(report, 'client certificate')).toBeUndefined();
});

test('a claim that cannot be read is the cause', async () => {
  const claim = join(patient.root, 'nothing.pem');
  await configured({ claimCertificate: claim, claimPrivateKey: claim });
  const { cause } = await patient.examined();
  expect(cause).toMatchObject({
    name: 'provisioning',
    detail: `provisioning.claimCertificate: cannot read ${claim}`,
  });
});
