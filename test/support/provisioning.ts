import { X509Certificate } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../src/host/clock.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { CLAIMED, Credentials } from '../../src/provisioning/credentials.ts';
import { credentialsDirectory, type GivenCredential, givenCredential } from '../../src/provisioning/given.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import { certificateIdOf } from '../../src/simulator/provisioning/certificate-book.ts';
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

/** As its first life would have left it, with a certificate that was accepted. */
export async function provisionByHand(cloud: Simulator, { device, thing }: Boat): Promise<void> {
  const { cert, key } = await cloud.issueCertificate(thing);
  cloud.service.createThing(thing);
  await mkdir(join(device.root, 'state'), { mode: 0o700 });
  const credentials = new Credentials(nodeDisk, credentialsDirectory(join(device.root, 'state')));
  await credentials.open();
  await credentials.writeKey(CLAIMED, key);
  const certificateId = certificateIdOf(new X509Certificate(cert));
  await credentials.writeCertificate(CLAIMED, cert, {
    format: 1,
    certificateId,
    thingName: thing,
    proven: true,
  });
  await credentials.use(CLAIMED);
}

/** Boats beside each other: each mostly waits for its processes. */
const LANES = 6;

/**
 * Plays a boat for each change on its disk, several at once: `play` tells whether its agent died behind that change, or
 * never came as far. Resolves to the changes that there were.
 */
export async function atEveryWrite(
  writesMax: number,
  play: (write: number) => Promise<boolean>,
): Promise<number> {
  let next = 1;
  const died: number[] = [];
  let end = writesMax;
  await Promise.all(
    Array.from({ length: LANES }, async () => {
      while (next <= end) {
        const write = next;
        next += 1;
        if (await play(write)) died.push(write);
        else end = Math.min(end, write);
      }
    }),
  );
  return died.length;
}
