import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../src/host/clock.ts';
import { type GivenCredential, givenCredential } from '../../src/provisioning/given.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { createDevice, type Device } from './device.ts';

/** A fleet provisioning template: things are named boat-SERIAL. */
export const BOAT_TEMPLATE = {
  Parameters: {
    SerialNumber: { Type: 'String' },
    'AWS::IoT::Certificate::Id': { Type: 'String' },
  },
  Resources: {
    thing: {
      Type: 'AWS::IoT::Thing',
      Properties: { ThingName: { 'Fn::Join': ['-', ['boat', { Ref: 'SerialNumber' }]] } },
    },
    certificate: {
      Type: 'AWS::IoT::Certificate',
      Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' }, Status: 'Active' },
    },
    policy: { Type: 'AWS::IoT::Policy', Properties: { PolicyName: 'boats' } },
  },
  DeviceConfiguration: { harbour: 'Kiel' },
};

/** The same, with certificates that nobody lets in. */
export const IDLE_TEMPLATE = {
  ...BOAT_TEMPLATE,
  Resources: {
    ...BOAT_TEMPLATE.Resources,
    certificate: {
      Type: 'AWS::IoT::Certificate',
      Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' }, Status: 'Inactive' },
    },
  },
};

/** A cloud with mutual TLS and the template `boats`. */
export async function startHarbour(): Promise<Simulator> {
  const cloud = await startSimulator({ clock: systemClock, tls: true });
  cloud.provisioning.putTemplate('boats', BOAT_TEMPLATE);
  return cloud;
}

export interface Boat {
  device: Device;
  serial: string;
  thing: string;
  given(): GivenCredential | undefined;
  /** Connected as an agent under its own name, with the certificate that it holds. */
  isConnected(): Promise<boolean>;
}

let boats = 0;

/** A device that has a claim, and nothing else. */
export async function createBoat(
  cloud: Simulator,
  settings: Record<string, object> = {},
  claim?: { cert: string; key: string },
): Promise<Boat> {
  boats += 1;
  const serial = `${process.pid}-${boats}`;
  const { cert, key } = claim ?? (await cloud.provisioning.issueClaim('boats'));
  const device = await createDevice('unnamed', cloud.mqttsUrl ?? '', {
    jobs: { requestTimeoutSeconds: 3, queueRetrySeconds: 1 },
    ...settings,
    connection: { ca: cloud.caFile, spreadSeconds: 0, ...settings['connection'] },
  });
  const path = (name: string): string => join(device.root, name);
  await writeFile(path('claim.crt'), cert);
  await writeFile(path('claim.key'), key);
  await writeFile(path('serial'), `${serial}\n`);
  const provisioning = {
    template: 'boats',
    claimCertificate: path('claim.crt'),
    claimPrivateKey: path('claim.key'),
    parameters: { SerialNumber: `file:${path('serial')}` },
    ...settings['provisioning'],
  };
  await device.configure({ provisioning });
  const given = (): GivenCredential | undefined => givenCredential(path('state'));
  const thing = `boat-${serial}`;
  return {
    device,
    serial,
    thing,
    given,
    async isConnected() {
      const response = await fetch(`${cloud.httpUrl}/_simulator/clients`);
      const { clients } = (await response.json()) as {
        clients: { client: string; certificateId?: string; subscriptions: string[] }[];
      };
      const id = given()?.certificateId;
      return clients.some(
        ({ client, certificateId, subscriptions }) =>
          client === thing && certificateId === id && subscriptions.length > 0,
      );
    },
  };
}
